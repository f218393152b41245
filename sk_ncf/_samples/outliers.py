r"""Outliers: rows that lie far outside the rest and must not determine a fit.

A row is an outlier if it is beyond the tail of the other rows, extrapolated to the
largest value expected in the sample. The tail is that of a log-normal distribution,

.. math:: \log r_p = \log r_{0.9} + \sigma (z_p - z_{0.9}), \qquad
          \sigma = (\log r_{0.9} - \log r_{0.5}) / (z_{0.9} - z_{0.5}),

with :math:`z_p` the normal quantiles. It is heavier than the tail of a normal
distribution, and adapts to columns that are skewed or heavy-tailed. Medians and 0.9
quantiles are robust against up to one bad row in ten.

The columns are tested one by one, each tail separately. Then all columns are tested
together by the Mahalanobis distance, with a covariance of the nearest rows (Rousseeuw
and Van Driessen, "A fast algorithm for the minimum covariance determinant estimator",
Technometrics, 1999). All other rows are not changed, so their moments are the usual
ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._samples.sample import RowView

__all__ = ["OutlierWarning", "column_values", "far_rows", "weighted_quantile"]

MIN_ROWS = 16  # distinct rows; among fewer there are no outliers
LEVELS = (0.5, 0.9)  # quantiles that determine the tail
Z = ndtri(LEVELS)
NORMAL = ndtri([0.75, 0.95])  # these quantiles of |z|
NORMAL_SLOPE = np.log(NORMAL[1] / NORMAL[0]) / (Z[1] - Z[0])
LEAST_SLOPE = 0.3
MAX_WEIGHT = 0.02  # of all outliers; more rows are a part of the distribution
BEYOND_COMMON = 3.0  # times as far out as such rows
MIN_TAIL_WEIGHT = 0.2  # of a tail that is estimated separately
MIN_TAIL_ROWS = 41  # likewise
MAX_TAIL_PROBABILITY = 1e-4  # of the quantile that tails are extrapolated to
CORE = 0.9  # fraction of the rows that the covariance is computed from
N_CONCENTRATION_STEPS = 3
MAX_ROWS = 65536  # from which tails and moments are estimated
CHUNK = 65536


class OutlierWarning(UserWarning):
    """Some rows lie far outside the rest and were left out of the fit."""


def far_rows(
    X: np.ndarray | RowView, weight: np.ndarray, n_rows: float | None = None
) -> np.ndarray:
    """Mask of the outliers, shape (n,).

    They have at most 2 % of the weight, or are a single row of a small sample. The mask
    depends only on the weighted distribution of the rows.

    Parameters
    ----------
    X : ndarray or RowView of shape (n, d)
        Distinct rows.
    weight : ndarray of shape (n,)
        Positive.
    n_rows : float, default=None
        Effective number of rows. None: that of the weights.
    """
    n, d = X.shape
    if n < MIN_ROWS:
        return np.zeros(n, dtype=bool)
    weight = np.asarray(weight) / np.sum(weight)
    n_rows = effective_size(weight) if n_rows is None else n_rows
    z = -ndtri(min(0.1 / n_rows, MAX_TAIL_PROBABILITY))  # z_p, by symmetry
    most = max(MAX_WEIGHT, 1.5 / n_rows if n_rows > MIN_ROWS else 0.0)
    some = slice(None, None, -(-n // MAX_ROWS))
    share = weight[some] / weight[some].sum()
    tails = [_Tails.of(column_values(X, j)[some], share) for j in range(d)]
    reach = np.zeros(n)
    for j, tail in enumerate(tails):
        np.maximum(reach, tail.reach(column_values(X, j), z), out=reach)
    far = _beyond(reach, weight, most)
    if d > 1:
        joint = _joint_reach(_TamedRows(X, tails), share, far, some, z)
        either = far | _beyond(np.where(far, 0.0, joint), weight, most)
        far = either if weight[either].sum() <= most else far
    return far


def weighted_quantile(
    values: np.ndarray, weight: np.ndarray, levels: Sequence[float]
) -> np.ndarray:
    """The weighted quantiles of values (n,) at some levels in [0, 1]."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    # Slightly less, so that rounding errors of the sum do not change the result.
    wanted = np.asarray(levels) * cumulative[-1] * (1 - 1e-9)
    quantiles: np.ndarray = values[order[np.searchsorted(cumulative, wanted)]]
    return quantiles


class _Tails:
    """The median of a column, and its tails below and above the median.

    Parameters
    ----------
    centre : float
        The median.
    typical : ndarray of shape (2,)
        The 0.9 quantiles of the distances from the median, below and above.
    slope : ndarray of shape (2,)
        The sigmas of the log-normal tails.
    """

    def __init__(self, centre: float, typical: np.ndarray, slope: np.ndarray) -> None:
        self.centre, self.typical, self.slope = centre, typical, slope

    @classmethod
    def of(cls, values: np.ndarray, weight: np.ndarray) -> "_Tails":
        """From values (n,) and weights that sum to one."""
        (centre,) = weighted_quantile(values, weight, [0.5])
        with np.errstate(over="ignore"):
            size = values - centre
        above, size = size > 0, np.minimum(np.abs(size), np.finfo(float).max)
        off = size > 0  # without the rows at the median, which can be an atom
        if not off.any():
            return cls(centre, np.ones(2), np.full(2, np.inf))
        typical, slope = _tail(size[off], weight[off])
        both, slopes = np.full(2, typical), np.full(2, slope)
        for side, mask in enumerate((off & ~above, above)):
            if weight[mask].sum() >= MIN_TAIL_WEIGHT and mask.sum() >= MIN_TAIL_ROWS:
                own, slopes[side] = _tail(size[mask], weight[mask])
                both[side] = max(own, 0.25 * typical)
        return cls(centre, both, slopes)

    def reach(self, values: np.ndarray, z: float) -> np.ndarray:
        """Distances from the median divided by the z-quantile of the tail, (n,)."""
        size, side = self._distances(values)
        with np.errstate(over="ignore"):
            return np.asarray(size / np.exp(self.slope * (z - Z[1]))[side])

    def tamed(self, values: np.ndarray) -> np.ndarray:
        """Deviations from the median, transformed so that no tail is heavy."""
        size, side = self._distances(values)
        power = np.minimum(1.0, NORMAL_SLOPE / self.slope)[side]
        return np.where(values < self.centre, -1, 1) * NORMAL[1] * size**power

    def _distances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances in units of `typical`, and the side of the median, 0 or 1."""
        side = (values > self.centre).astype(np.intp)
        with np.errstate(over="ignore"):
            size = np.abs(values - self.centre) / self.typical[side]
        return np.minimum(size, 1e150), side


def _tail(size: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The 0.9 quantile of distances > 0, and the sigma of their log-normal tail."""
    middle, typical = weighted_quantile(size, weight, LEVELS)
    with np.errstate(over="ignore"):
        slope = np.log(typical / middle) / (Z[1] - Z[0])
    return typical, max(LEAST_SLOPE, slope)


def column_values(X: np.ndarray | RowView, j: int) -> np.ndarray:
    """Column j of some rows, float64."""
    values = X.base[X.index, j] if isinstance(X, RowView) else X[:, j]
    return np.asarray(values, dtype=np.float64)


def _beyond(reach: np.ndarray, weight: np.ndarray, most: float) -> np.ndarray:
    """Mask of the rows whose reach is above 1, if their weight is at most `most`.

    If it is more, these rows are a part of the distribution. Outliers are then rows
    that are three times as far out as all rows but `most` of the weight.
    """
    if weight[reach > 1].sum() <= most:
        return np.asarray(reach > 1)
    (common,) = weighted_quantile(reach, weight, [1 - most])
    return np.asarray(reach > BEYOND_COMMON * common)


class _TamedRows:
    """Rows with tamed columns (:meth:`_Tails.tamed`), computed when accessed."""

    def __init__(
        self,
        X: np.ndarray | RowView,
        tails: Sequence[_Tails],
        index: np.ndarray | None = None,
    ) -> None:
        self.X, self.tails, self.index = X, tails, index
        self.shape = len(X) if index is None else len(index), len(tails)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        part = self.X[key if self.index is None else self.index[key]]
        part = np.asarray(part, dtype=np.float64)
        pairs = zip(np.moveaxis(part, -1, 0), self.tails, strict=True)
        return np.stack([tail.tamed(column) for column, tail in pairs], axis=-1)

    def take(self, index: np.ndarray) -> "_TamedRows":
        """Some of the rows."""
        index = index if self.index is None else self.index[index]
        return _TamedRows(self.X, self.tails, index)


def _joint_reach(
    rows: _TamedRows, share: np.ndarray, far: np.ndarray, some: slice, z: float
) -> np.ndarray:
    """Mahalanobis distances divided by the z-quantile of their tail, shape (n,)."""
    subsample, inlier = rows.take(np.arange(len(rows))[some]), ~far[some]
    near = inlier
    for _ in range(N_CONCENTRATION_STEPS):
        distance = _Mahalanobis.of(subsample, share, near)(subsample)
        (limit,) = weighted_quantile(distance[inlier], share[inlier], [CORE])
        near = inlier & (distance <= limit)
    mahalanobis = _Mahalanobis.of(subsample, share, near)
    distance = mahalanobis(subsample)
    off = inlier & (distance > 0)
    if not off.any():
        return np.zeros(len(rows))
    typical, slope = _tail(distance[off], share[off])
    return mahalanobis(rows) / (typical * np.exp(slope * (z - Z[1])))


class _Mahalanobis:
    """Mahalanobis distances, with the moments of some rows.

    With the columns scaled to unit variance, the covariance is shrunk towards the
    identity. Otherwise rounding errors of rows in a plane would look like outliers.
    """

    def __init__(self, mean: np.ndarray, matrix: np.ndarray) -> None:
        self.mean, self.matrix = mean, matrix

    @classmethod
    def of(
        cls, rows: _TamedRows, weight: np.ndarray, near: np.ndarray
    ) -> "_Mahalanobis":
        """With the moments of the rows of a mask."""
        share = weight[near] / weight[near].sum()
        mean, cov = weighted_moments(rows.take(np.flatnonzero(near)), share)
        std = np.sqrt(np.diag(cov))
        unit = np.where(std > 0, std, np.inf)
        cov = cov / np.outer(unit, unit) + np.diag(1.0 * (std == 0))
        intensity = min(0.5, 0.01 + 2 * len(cov) / effective_size(share))
        cov = (1 - intensity) * cov + intensity * np.eye(len(cov))
        root = np.linalg.inv(np.linalg.cholesky(cov))
        return cls(mean, root.T / unit[:, None])

    def __call__(self, rows: _TamedRows) -> np.ndarray:
        parts = (rows[s : s + CHUNK] for s in range(0, len(rows), CHUNK))
        norms = [
            np.linalg.norm((part - self.mean) @ self.matrix, axis=1) for part in parts
        ]
        return np.concatenate(norms)
