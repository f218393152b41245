r"""What the rows of neither side vary in: constant and collinear columns.

Where all rows of both sides satisfy the same linear equations, but for their right-hand
sides, the optimal map is that between their planes, which this module keeps exactly: a
row is put on the source's plane, mapped, put on the target's plane, and gets back its
own distance from the plane. For the squared Euclidean cost and separable ones that is
the optimal map. For any other cost it holds that an optimal map leads into the plane,
so that only an error of the network is taken off.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Plane", "common_plane"]

NO_VARIANCE = 1e-10  # of a direction, in units of the columns' own variances
NO_DISTANCE = 1e-4  # of most rows from the plane, next to their typical deviation
LOOKED_AT = 4096  # rows of a side


@dataclass(frozen=True)
class Plane:
    r"""Parallel planes of both sides, :math:`\{x : (x - p) N = 0\}`.

    Attributes
    ----------
    source, target : ndarray of shape (d,)
        A point p of either plane: a row.
    projector : ndarray of shape (d, d)
        N. For a constant column that is the unit vector, exactly.
    """

    source: np.ndarray
    target: np.ndarray
    projector: np.ndarray

    def enter(self, X, side):
        """Rows (n, d), each moved into the plane of its side."""
        return X - (X - getattr(self, side)) @ self.projector

    def leave(self, mapped, X, enter, leave):
        """Mapped rows in the plane they belong to, as far from it as the rows X were."""
        start, end = getattr(self, enter), getattr(self, leave)
        along = np.eye(len(end)) - self.projector
        return (end + (X - start) @ self.projector) + (mapped - end) @ along

    def directions(self, matrix):
        """Orthogonal projector (d, d) on the plane's directions times `matrix`."""
        along = np.eye(len(matrix)) - self.projector
        rows = np.linalg.svd(along @ matrix)[2][: round(np.trace(along))]
        return rows.T @ rows


def common_plane(source, target):
    """The planes of two samples, None if their rows vary in all directions.

    Rows that are not more than the dimensions they span say nothing of a plane; a
    column is constant whatever their number.

    Parameters
    ----------
    source, target : Sample
    """
    covs = [side.moments[1] for side in (source, target)]
    varies = np.diag(sum(covs)) > 0
    projector = np.diag((~varies).astype(float))
    if varies.any():
        block = np.ix_(varies, varies)
        sides = [_deviations(side, varies) for side in (source, target)]
        n_rows = max(source.n_rows, target.n_rows)
        projector[block] = _collinear(sum(covs)[block], sides, n_rows)
    if not projector.any():
        return None
    points = (_middle(side) for side in (source, target))
    return Plane(*points, projector)


def _collinear(cov, sides, n_rows):
    """Projector of the collinear columns, from their covariance and some deviations."""
    unit = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(unit, unit))
    normals = vectors[:, values <= NO_VARIANCE]
    rank = len(cov) - normals.shape[1]
    if rank == len(cov) or rank >= n_rows - 1:
        return 0.0
    if not all(_lies_in_plane(z / unit, normals) for z in sides):
        return 0.0
    return (normals @ normals.T) * np.outer(1 / unit, unit)


def _middle(sample):
    return np.array(sample.X[len(sample) // 2], dtype=np.float64)


def _deviations(sample, columns):
    """Some rows less the one in the middle, which is no outlier."""
    n = len(sample)
    some = np.unique(np.linspace(0, n - 1, min(n, LOOKED_AT)).astype(int))
    return (sample.X[some] - _middle(sample))[:, columns]


def _lies_in_plane(z, normals):
    """Whether it is not a few far rows that make all other variance look like nothing."""
    distance = np.linalg.norm(z @ normals, axis=1)
    typical = np.median(np.linalg.norm(z, axis=1))
    return np.quantile(distance, 0.9) <= NO_DISTANCE * typical
