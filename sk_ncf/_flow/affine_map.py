"""Affine changes of variables of the rows of one sample."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from sk_ncf._flow.moments import Moments, RowArray, WeightedRows, _chunks

__all__ = ["AffineMap"]

MAPPED_RADIUS = 1.25  # in radii of the training rows; the network is used within it
FAR_RADIUS = 1.5  # in radii of the training rows; rows outside are called far
BOX_MARGIN = 0.25  # of the range of a feature, on both sides of it


@dataclass(frozen=True)
class AffineMap:
    """The map x -> (x - mean) @ matrix, and its inverse."""

    mean: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse_matrix: np.ndarray  # (d, d)
    radius: float = np.inf  # of the training rows around the mean, in the new variables
    box: np.ndarray | None = (
        None  # (2, d), least and largest values of the training rows
    )

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
        """This map with the radius and the box of the samples, and of earlier ones."""
        radii = [self.radius if np.isfinite(self.radius) else 0.0]
        boxes = [] if self.box is None else [self.box]
        for X in (s.X[part] for s in samples for part in _chunks(s.X, 65536)):
            radii.append(_lengths(self.forward(X)).max())
            boxes.append(np.stack([X.min(axis=0), X.max(axis=0)]).astype(np.float64))
        if not boxes:
            return self
        box = np.stack([np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1]])
        radius = float(max(radii)) or np.inf
        same = self.box is not None and np.array_equal(box, self.box)
        if same and radius == self.radius:
            return self
        return replace(self, radius=radius, box=box)

    def boxed(self, X: np.ndarray) -> np.ndarray:
        """Rows with features clipped to the range of the training rows, a little widened.

        If all rows are inside, they are returned without a copy.
        """
        if self.box is None:
            return X
        low, high = self.box
        with np.errstate(over="ignore"):
            margin = BOX_MARGIN * (high - low)
        low, high = low - margin, high + margin
        if ((low <= X) & (high >= X)).all():
            return X
        return np.clip(X, low, high)

    def is_far(self, X: np.ndarray) -> np.ndarray:
        """Mask of the rows far outside the training rows, shape (n,)."""
        return np.asarray(_lengths(self.forward(X)) > FAR_RADIUS * self.radius)

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
