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

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtri

from sk_ncf._flow.moments import effective_size, evenly_spaced, weighted_moments
from sk_ncf._samples.sample import RowView, equal_weights, is_equal

__all__ = ["OutlierWarning", "far_rows", "weighted_quantile"]

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
CHUNK = 2**20  # values of rows that are looked at together


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
    weight = equal_weights(n) if is_equal(weight) else weight / np.sum(weight)
    n_rows = effective_size(weight) if n_rows is None else n_rows
    z = -ndtri(min(0.1 / n_rows, MAX_TAIL_PROBABILITY))  # z_p, by symmetry
    most = max(MAX_WEIGHT, 1.5 / n_rows if n_rows > MIN_ROWS else 0.0)
    some = evenly_spaced(n, MAX_ROWS)
    share = weight[some] / weight[some].sum()
    subsample = np.asarray(X[some])
    tails = _Tails.of(subsample, share)
    far = _of_rows(X, lambda rows: tails.are_beyond(rows, z), bool)
    if weight[far].sum() > most:
        far = _beyond(_of_rows(X, lambda rows: tails.reach(rows, z)), weight, most)
    if d > 1:
        tamed = tails.tamed(np.asarray(subsample, dtype=np.float64))
        distance, largest = _joint_distance(tamed, share, ~far[some], z)
        if len(tamed) == n:
            reach = distance(tamed)
        else:
            reach = _of_rows(X, lambda rows: distance(tails.tamed(rows)))
        reach /= largest
        reach[far] = 0.0
        either = far | _beyond(reach, weight, most)
        far = either if weight[either].sum() <= most else far
    return far


def _of_rows(
    X: np.ndarray | RowView,
    function: Callable[[np.ndarray], np.ndarray],
    dtype: type = float,
) -> np.ndarray:
    """A function of the rows (m, d) in float64, shape (n,), some rows at a time."""
    n, d = X.shape
    values: np.ndarray = np.empty(n, dtype)
    step = max(1, CHUNK // d)
    for start in range(0, n, step):
        rows = np.asarray(X[start : start + step], dtype=np.float64)
        values[start : start + step] = function(rows)
    return values


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
    """The medians of the columns, and their tails below and above the median.

    Parameters
    ----------
    centre : ndarray of shape (d,)
        The medians.
    typical : ndarray of shape (2, d)
        The 0.9 quantiles of the distances from the median, below and above.
    slope : ndarray of shape (2, d)
        The sigmas of the log-normal tails.
    """

    def __init__(
        self, centre: np.ndarray, typical: np.ndarray, slope: np.ndarray
    ) -> None:
        self.centre, self.typical, self.slope = centre, typical, slope

    @classmethod
    def of(cls, rows: np.ndarray, weight: np.ndarray) -> "_Tails":
        """From rows (n, d) and weights that sum to one."""
        columns = (np.asarray(column, dtype=np.float64) for column in rows.T)
        tails = [_tails_of_column(column, weight) for column in columns]
        centre, typical, slope = zip(*tails, strict=True)
        return cls(np.array(centre), np.transpose(typical), np.transpose(slope))

    def are_beyond(self, rows: np.ndarray, z: float) -> np.ndarray:
        """Whether the reach of a row is above 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            below, above = self.typical * self._quantile(z)
            low, high = self.centre - below, self.centre + above
        return np.asarray(((rows < low) | (rows > high)).any(axis=1))

    def reach(self, rows: np.ndarray, z: float) -> np.ndarray:
        """Largest distance of a row from a median, over the z-quantile of its tail."""
        size, above = self._distances(rows)
        quantile = self._quantile(z)
        size /= np.where(above, quantile[1], quantile[0])
        return np.asarray(size.max(axis=1))

    def _quantile(self, z: float) -> np.ndarray:
        """The z-quantiles of the distances, in units of `typical`, shape (2, d)."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(self.slope * (z - Z[1])))

    def tamed(self, rows: np.ndarray) -> np.ndarray:
        """Deviations from the medians, transformed so that no tail is heavy."""
        size, above = self._distances(rows)
        power = np.minimum(1.0, NORMAL_SLOPE / self.slope)
        size **= np.where(above, power[1], power[0])
        return np.where(rows < self.centre, -1, 1) * NORMAL[1] * size

    def _distances(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances in units of `typical`, and whether they are above the median."""
        above = rows > self.centre
        with np.errstate(over="ignore"):
            size = np.abs(rows - self.centre)
            size /= np.where(above, self.typical[1], self.typical[0])
        return np.minimum(size, 1e150, out=size), above


def _tails_of_column(
    values: np.ndarray, weight: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Median, 0.9 quantiles and sigmas of values (n,), for :class:`_Tails`."""
    (centre,) = weighted_quantile(values, weight, [0.5])
    with np.errstate(over="ignore"):
        size = values - centre
    above, size = size > 0, np.minimum(np.abs(size), np.finfo(float).max)
    off = size > 0  # without the rows at the median, which can be an atom
    if not off.any():
        return centre, np.ones(2), np.full(2, np.inf)
    typical, slope = _tail(size[off], weight[off])
    both, slopes = np.full(2, typical), np.full(2, slope)
    for side, mask in enumerate((off & ~above, above)):
        if weight[mask].sum() >= MIN_TAIL_WEIGHT and mask.sum() >= MIN_TAIL_ROWS:
            own, slopes[side] = _tail(size[mask], weight[mask])
            both[side] = max(own, 0.25 * typical)
    return centre, both, slopes


def _tail(size: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The 0.9 quantile of distances > 0, and the sigma of their log-normal tail."""
    middle, typical = weighted_quantile(size, weight, LEVELS)
    with np.errstate(over="ignore"):
        slope = np.log(typical / middle) / (Z[1] - Z[0])
    return typical, max(LEAST_SLOPE, slope)


def _beyond(reach: np.ndarray, weight: np.ndarray, most: float) -> np.ndarray:
    """Mask of the rows whose reach is above 1, if their weight is at most `most`.

    If it is more, these rows are a part of the distribution. Outliers are then rows
    that are three times as far out as all rows but `most` of the weight.
    """
    if weight[reach > 1].sum() <= most:
        return np.asarray(reach > 1)
    (common,) = weighted_quantile(reach, weight, [1 - most])
    return np.asarray(reach > BEYOND_COMMON * common)


def _joint_distance(
    rows: np.ndarray, weight: np.ndarray, inlier: np.ndarray, z: float
) -> tuple["_Mahalanobis", float]:
    """Mahalanobis distance of tamed rows, and the z-quantile of its tail.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
        Sums to one.
    inlier : ndarray of bool, shape (n,)
    z : float
    """
    near = inlier
    for _ in range(N_CONCENTRATION_STEPS):
        distance = _Mahalanobis.of(rows, weight, near)(rows)
        (limit,) = weighted_quantile(distance[inlier], weight[inlier], [CORE])
        near = inlier & (distance <= limit)
    mahalanobis = _Mahalanobis.of(rows, weight, near)
    distance = mahalanobis(rows)
    off = inlier & (distance > 0)
    if not off.any():
        return mahalanobis, np.inf
    typical, slope = _tail(distance[off], weight[off])
    return mahalanobis, typical * np.exp(slope * (z - Z[1]))


class _Mahalanobis:
    """Mahalanobis distances, with the moments of some rows.

    With the columns scaled to unit variance, the covariance is shrunk towards the
    identity. Otherwise rounding errors of rows in a plane would look like outliers.
    """

    def __init__(self, mean: np.ndarray, matrix: np.ndarray) -> None:
        self.mean, self.matrix = mean, matrix

    @classmethod
    def of(
        cls, rows: np.ndarray, weight: np.ndarray, near: np.ndarray
    ) -> "_Mahalanobis":
        """With the moments of the rows of a mask."""
        share = weight[near] / weight[near].sum()
        mean, cov = weighted_moments(rows[near], share)
        std = np.sqrt(np.diag(cov))
        unit = np.where(std > 0, std, np.inf)
        cov = cov / np.outer(unit, unit) + np.diag(1.0 * (std == 0))
        intensity = min(0.5, 0.01 + 2 * len(cov) / effective_size(share))
        cov = (1 - intensity) * cov + intensity * np.eye(len(cov))
        root = np.linalg.inv(np.linalg.cholesky(cov))
        return cls(mean, root.T / unit[:, None])

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.norm((rows - self.mean) @ self.matrix, axis=1))
