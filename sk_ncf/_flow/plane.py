r"""The plane of the rows if some columns are constant or collinear.

If the columns of both samples satisfy the same linear equations, up to their right-hand
sides, then both samples lie in parallel planes, and the optimal map transports one plane
to the other. A row is projected onto the source's plane and mapped. The result is
projected onto the target's plane, and gets the offset that the row had from its plane.

This is the optimal map for the squared Euclidean cost and for separable costs. For all
other costs the image of a row in the plane is still exact: the optimal map ends in the
target's plane, so the projection removes only an error of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sk_ncf._flow.moments import WeightedRows

__all__ = ["Plane", "common_plane"]

Side = Literal["source", "target"]

MAX_VARIANCE = 1e-10  # across the plane, with the columns scaled to unit variance
MAX_OFFSET = 1e-4  # of nine in ten rows, in units of their typical deviation
MAX_ROWS = 4096  # of a sample, to measure the offsets


@dataclass(frozen=True)
class Plane:
    r"""Parallel planes of both samples, :math:`\{x : (x - p) N = 0\}`.

    Attributes
    ----------
    source, target : ndarray of shape (d,)
        A point p of each plane, which is a row of the sample.
    projector : ndarray of shape (d, d)
        N, a projection. For a constant column it is the unit vector exactly.
    """

    source: np.ndarray
    target: np.ndarray
    projector: np.ndarray

    def project(self, X: np.ndarray, side: Side) -> np.ndarray:
        """Rows (n, d), projected onto the plane of their side."""
        projected: np.ndarray = X - (X - self._point(side)) @ self.projector
        return projected

    def restore_offset(
        self, mapped: np.ndarray, X: np.ndarray, from_side: Side, to_side: Side
    ) -> np.ndarray:
        """Mapped rows, with the offset from the plane that the rows X have.

        Parameters
        ----------
        mapped, X : ndarray of shape (n, d)
        from_side, to_side : {"source", "target"}
            The side of X, and the side of the mapped rows.
        """
        start, end = self._point(from_side), self._point(to_side)
        along = np.eye(len(end)) - self.projector
        restored: np.ndarray = (end + (X - start) @ self.projector) + (
            mapped - end
        ) @ along
        return restored

    def directions(self, matrix: np.ndarray) -> np.ndarray:
        """Orthogonal projection (d, d) onto the plane in the variables x @ matrix."""
        along = np.eye(len(matrix)) - self.projector
        rows = np.linalg.svd(along @ matrix)[2][: round(np.trace(along))]
        projection: np.ndarray = rows.T @ rows
        return projection

    def _point(self, side: Side) -> np.ndarray:
        return self.source if side == "source" else self.target


def common_plane(source: WeightedRows, target: WeightedRows) -> Plane | None:
    """The planes of two samples; None if their rows vary in all directions.

    Collinear columns are recognised only if there are more rows than dimensions of the
    plane. Constant columns are recognised for any number of rows.

    Parameters
    ----------
    source, target : WeightedRows
    """
    cov = source.moments[1] + target.moments[1]
    varies = np.diag(cov) > 0
    projector = np.diag((~varies).astype(float))
    if varies.any():
        block = np.ix_(varies, varies)
        deviations = [_deviations(side, varies) for side in (source, target)]
        n_rows = max(source.n_rows, target.n_rows)
        projector[block] = _collinear_projector(cov[block], deviations, n_rows)
    if not projector.any():
        return None
    return Plane(_middle_row(source), _middle_row(target), projector)


def _collinear_projector(
    cov: np.ndarray, deviations: Sequence[np.ndarray], n_rows: int
) -> np.ndarray:
    """The projection N of collinear columns; zeros if the columns are not collinear."""
    std = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(std, std))
    normals = vectors[:, values <= MAX_VARIANCE]
    rank = len(cov) - normals.shape[1]
    if rank == len(cov) or rank >= n_rows - 1:
        return np.zeros_like(cov)
    if not all(_lies_in_plane(z / std, normals) for z in deviations):
        return np.zeros_like(cov)
    projector: np.ndarray = (normals @ normals.T) * np.outer(1 / std, std)
    return projector


def _middle_row(sample: WeightedRows) -> np.ndarray:
    return np.array(sample.X[len(sample) // 2], dtype=np.float64)


def _deviations(sample: WeightedRows, columns: np.ndarray) -> np.ndarray:
    """Some rows minus the middle row in lexicographic order, which is no outlier."""
    n = len(sample)
    some = np.unique(np.linspace(0, n - 1, min(n, MAX_ROWS)).astype(int))
    deviations: np.ndarray = (sample.X[some] - _middle_row(sample))[:, columns]
    return deviations


def _lies_in_plane(z: np.ndarray, normals: np.ndarray) -> bool:
    """Whether most rows are in the plane.

    A few outliers can have so much variance that the variance of all other rows is
    below `MAX_VARIANCE`. This is not a plane.
    """
    offset = np.linalg.norm(z @ normals, axis=1)
    typical = np.median(np.linalg.norm(z, axis=1))
    return bool(np.quantile(offset, 0.9) <= MAX_OFFSET * typical)
