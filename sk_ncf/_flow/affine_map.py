"""Affine changes of variables of the rows of one sample."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sk_ncf._flow.moments import Moments, RowArray, WeightedRows, _chunks

__all__ = ["AffineMap"]

MAPPED_RADIUS = 1.25  # in radii of the training rows; the network is used within it
FAR_RADIUS = 1.5  # in radii of the training rows; rows outside are called far
MIN_BOX_ROWS = 16  # of the first call, from which the range of a feature is known
MISSING_DISTANCE = 5.0  # ranges of a feature, from which on a value may be a code


@dataclass(frozen=True)
class AffineMap:
    """The map x -> (x - mean) @ matrix, and its inverse."""

    mean: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse_matrix: np.ndarray  # (d, d)
    radius: float = np.inf  # of the training rows around the mean, in the new variables
    box: np.ndarray | None = None  # (2, d), range of the training rows

    def forward(self, X: RowArray) -> np.ndarray:
        """Rows in the new variables, shape (n, d), float64."""
        return (np.asarray(X, dtype=np.float64) - self.mean) @ self.matrix

    def inverse(self, X: np.ndarray) -> np.ndarray:
        """Rows in the original variables, shape (n, d), float64."""
        return np.asarray(X, dtype=np.float64) @ self.inverse_matrix + self.mean

    def moments(self, mean: np.ndarray, cov: np.ndarray) -> Moments:
        """Mean (d,) and covariance (d, d) in the new variables, from the original ones."""
        return (mean - self.mean) @ self.matrix, self.matrix.T @ cov @ self.matrix

    def followed_by(
        self, old_mean: np.ndarray, new_mean: np.ndarray, matrix: np.ndarray
    ) -> "AffineMap":
        """This map, then z -> (z - old_mean) @ matrix + new_mean."""
        inverse = np.linalg.inv(matrix)
        mean = self.mean + (old_mean - new_mean @ inverse) @ self.inverse_matrix
        return AffineMap(mean, self.matrix @ matrix, inverse @ self.inverse_matrix)

    def with_extent_of(self, samples: Iterable[WeightedRows]) -> "AffineMap":
        """This map with the radius and the box of the samples, and of earlier ones.

        If the first rows are few, or if the box of earlier rows is not known, there is no
        box.
        """
        samples = list(samples)
        radii = [self.radius if np.isfinite(self.radius) else 0.0]
        boxes = [] if self.box is None else [self.box]
        for X in (s.X[part] for s in samples for part in _chunks(s.X, 65536)):
            radii.append(_lengths(self.forward(X)).max())
            boxes.append(np.array([X.min(axis=0), X.max(axis=0)], np.float64))
        radius, box = float(max(radii)) or np.inf, self.box
        many = sum(len(sample.X) for sample in samples) >= MIN_BOX_ROWS
        if box is not None or (many and np.isinf(self.radius)):
            box = np.stack([np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1]])
            if self.box is not None and np.array_equal(box, self.box):
                box = self.box
        if radius == self.radius and box is self.box:
            return self
        return replace(self, radius=radius, box=box)

    def imputed(self, X: np.ndarray) -> np.ndarray:
        """Rows with the mean in place of values that may be codes of missing values.

        They are farther from the training rows than five times the range of the feature,
        which is not constant. If all other features are constant, they are clipped to
        this distance instead, so that the map is monotone. If there is no such value, the
        rows are returned without a copy.
        """
        if self.box is None:
            return X
        low, high = self.box
        varies = high > low
        with np.errstate(over="ignore"):
            margin = np.where(varies, MISSING_DISTANCE * (high - low), np.inf)
            low, high = low - margin, high + margin
        inside = np.clip(X, low, high)
        if np.array_equal(inside, X):
            return X
        return inside if varies.sum() == 1 else np.where(inside == X, X, self.mean)

    def is_far(self, X: np.ndarray) -> np.ndarray:
        """Mask of the rows far outside the training rows, shape (n,).

        So are rows with a value that may be a code of a missing value, even if the unit
        of its feature is so large that it is no long way.
        """
        far = np.asarray(_lengths(self.forward(X)) > FAR_RADIUS * self.radius)
        inside = self.imputed(X)
        return far if inside is X else far | (inside != X).any(axis=1)

    def clipped(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the new variables, projected onto a ball around the mean.

        Its radius is 1.25 times that of the training rows. If all rows are inside, they
        are returned without a copy.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.maximum(_lengths(rows), np.finfo(np.float64).tiny)
            factor = MAPPED_RADIUS * self.radius / lengths
        return rows * np.minimum(1.0, factor)[:, None] if (factor < 1).any() else rows


def _lengths(rows: np.ndarray) -> np.ndarray:
    """Euclidean norms, shape (n,), without overflow for large numbers."""
    largest = np.abs(rows).max(axis=1)
    unit = np.where(largest > 0, largest, 1.0)
    with np.errstate(over="ignore"):
        return np.asarray(unit * np.linalg.norm(rows / unit[:, None], axis=1))
