r"""Rows that lie far outside the rest: bad records, which must not decide a fit.

A row is far where it is further out than the tail of the others reaches if it is
extrapolated to the rarest row of the sample. The tail is that of a log-normal law,

.. math:: \log r_p = \log r_{0.9} + \sigma (z_p - z_{0.9}), \qquad
          \sigma = (\log r_{0.9} - \log r_{0.5}) / (z_{0.9} - z_{0.5}),

with :math:`z_p` the normal quantiles, which is heavier than that of a normal law and
adapts to columns that are skewed or heavy-tailed. Medians and 0.9 quantiles do not see up
to one bad row in ten. Columns are looked at one by one, either tail by itself, then all
of them together by their Mahalanobis distance, whose covariance is concentrated on the
nearest rows (Rousseeuw and Van Driessen, "A fast algorithm for the minimum covariance
determinant estimator", Technometrics, 1999). What is not far is left as it is, so that
moments of the rest are the usual ones.
"""

import numpy as np
from scipy.special import ndtri

from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._samples.sample import RowView

__all__ = ["OutlierWarning", "far_rows", "weighted_quantile", "without_far_rows"]

FEWEST = 16  # distinct rows, below which none of them is far
LEVELS = (0.5, 0.9)  # quantiles that tell where the tail goes
Z = ndtri(LEVELS)
NORMAL = ndtri([0.75, 0.95])  # these quantiles of |z|
NORMAL_SLOPE = np.log(NORMAL[1] / NORMAL[0]) / (Z[1] - Z[0])
LEAST_SLOPE = 0.3
AT_MOST_FAR = 0.02  # share of the weight; what is more is a part of the law
PART_OF_THE_LAW = 3.0  # times further out than such a part
ONE_SIDE = 0.2  # share of the rows, from which a tail speaks for itself
RAREST = 1e-4
CORE = 0.9  # share of the rows that the covariance is concentrated on
N_CONCENTRATIONS = 3
AT_MOST_SEEN = 65536  # rows that tails and moments are estimated from
CHUNK = 65536


class OutlierWarning(UserWarning):
    """Some rows lie far outside the rest: the fit is that of the others."""


def without_far_rows(sample, support=None):
    """The sample without the rows that lie far outside, and how many these are.

    Parameters
    ----------
    sample : Sample or None
    support : Support or None
        Of the earlier calls of a stream: rows that the sample's are seen among.
    """
    if sample is None:
        return None, 0
    X, weight, n_rows = sample.X, sample.weight, sample.effective_size
    if support is not None:
        seen = np.full(len(support.X), 1 / len(support.X))
        share = support.n_seen / (support.n_seen + len(sample))
        X = np.concatenate([X[:], support.X])
        weight, n_rows = np.concatenate([(1 - share) * weight, share * seen]), None
    far = far_rows(X, weight, n_rows)[: len(sample)]
    if far.all() or not far.any():
        return sample, 0
    return sample.take(~far), int(far.sum())


def far_rows(X, weight, n_rows=None):
    """Mask of the rows that lie far outside the rest, shape (n,).

    At most 2 % of the weight, or a single row of few. It depends on the weighted
    distribution of the rows alone.

    Parameters
    ----------
    X : ndarray or RowView of shape (n, d)
        Distinct rows.
    weight : ndarray of shape (n,)
        Positive.
    n_rows : float, default=None
        Effective number of rows; None: that of the weights.
    """
    n, d = X.shape
    if n < FEWEST:
        return np.zeros(n, dtype=bool)
    weight = np.asarray(weight) / np.sum(weight)
    n_rows = effective_size(weight) if n_rows is None else n_rows
    rarest = -ndtri(min(0.1 / n_rows, RAREST))  # z_p, by symmetry
    most = max(AT_MOST_FAR, 1.5 / n_rows if n_rows > FEWEST else 0.0)
    some = slice(None, None, -(-n // AT_MOST_SEEN))  # what tails and moments are of
    share = weight[some] / weight[some].sum()
    tails = [_Tails.of(_column(X, j)[some], share) for j in range(d)]
    reach = np.zeros(n)
    for j, tail in enumerate(tails):
        np.maximum(reach, tail.reach(_column(X, j), rarest), out=reach)
    far = _beyond(reach, weight, most)
    if d > 1:
        apart = _apart_in_all(_Tamed(X, tails), share, far, some, rarest)
        also = far | _beyond(np.where(far, 0.0, apart), weight, most)
        far = also if weight[also].sum() <= most else far
    return far


def weighted_quantile(values, weight, levels):
    """The least values below or at which lie these shares of the weight."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    # A hair less, so that sums of equal weights in another order say the same.
    wanted = np.asarray(levels) * cumulative[-1] * (1 - 1e-9)
    return values[order[np.searchsorted(cumulative, wanted)]]


class _Tails:
    """The median of a column and, below and above it, where the tail goes."""

    def __init__(self, centre, typical, slope):
        self.centre, self.typical, self.slope = centre, typical, slope

    @classmethod
    def of(cls, values, weight):
        """From values (n,) and weights that sum to one."""
        (centre,) = weighted_quantile(values, weight, [0.5])
        with np.errstate(over="ignore"):
            size = values - centre
        above, size = size > 0, np.minimum(np.abs(size), np.finfo(float).max)
        off = size > 0  # a value that half of the rows share has no tail
        if not off.any():
            return cls(centre, np.ones(2), np.full(2, np.inf))
        typical, slope = _tail(size[off], weight[off])
        both, slopes = np.full(2, typical), np.full(2, slope)
        for side, mask in enumerate((off & ~above, above)):
            if weight[mask].sum() >= ONE_SIDE and mask.sum() > 40:
                own, slopes[side] = _tail(size[mask], weight[mask])
                both[side] = max(own, 0.25 * typical)
        return cls(centre, both, slopes)

    def reach(self, values, rarest):
        """Deviations in units of where their tail ends, shape (n,)."""
        size, side = self._deviations(values)
        with np.errstate(over="ignore"):
            return size / np.exp(self.slope * (rarest - Z[1]))[side]

    def tamed(self, values):
        """Deviations in normal units, tails heavier than the normal one drawn in."""
        size, side = self._deviations(values)
        power = np.minimum(1.0, NORMAL_SLOPE / self.slope)[side]
        return np.where(values < self.centre, -1, 1) * NORMAL[1] * size**power

    def _deviations(self, values):
        side = (values > self.centre).astype(np.intp)
        with np.errstate(over="ignore"):
            size = np.abs(values - self.centre) / self.typical[side]
        return np.minimum(size, 1e150), side


def _tail(size, weight):
    """The 0.9 quantile of distances > 0, and the slope sigma of their tail."""
    middle, typical = weighted_quantile(size, weight, LEVELS)
    with np.errstate(over="ignore"):
        slope = np.log(typical / middle) / (Z[1] - Z[0])
    return typical, max(LEAST_SLOPE, slope)


def _column(X, j):
    values = X.base[X.index, j] if isinstance(X, RowView) else X[:, j]
    return np.asarray(values, dtype=np.float64)


def _beyond(reach, weight, most):
    """Mask of the rows whose reach is above 1, if they are few.

    If not, they are a part of the law, and far is what is three times as far out as
    all but the last of them.
    """
    if weight[reach > 1].sum() <= most:
        return reach > 1
    (common,) = weighted_quantile(reach, weight, [1 - most])
    return reach > PART_OF_THE_LAW * common


def _apart_in_all(rows, share, far, some, rarest):
    """Mahalanobis distances of all rows, in units of where their tail ends, shape (n,)."""
    places = np.arange(len(rows))[some]
    ours, known = rows.take(places), ~far[some]
    near = known
    for _ in range(N_CONCENTRATIONS):
        distance = _Distances.of(ours, share, near)(ours)
        (limit,) = weighted_quantile(distance[known], share[known], [CORE])
        near = known & (distance <= limit)
    distances = _Distances.of(ours, share, near)
    distance = distances(ours)
    off = known & (distance > 0)
    if not off.any():
        return np.zeros(len(rows))
    typical, slope = _tail(distance[off], share[off])
    return distances(rows) / (typical * np.exp(slope * (rarest - Z[1])))


class _Tamed:
    """Tamed rows, computed where they are looked at."""

    def __init__(self, X, tails, places=None):
        self.X, self.tails, self.places = X, tails, places
        self.shape = len(X) if places is None else len(places), len(tails)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, key):
        part = self.X[key if self.places is None else self.places[key]]
        part = np.asarray(part, dtype=np.float64)
        pairs = zip(np.moveaxis(part, -1, 0), self.tails, strict=True)
        return np.stack([tail.tamed(column) for column, tail in pairs], axis=-1)

    def take(self, places):
        """Some of the rows."""
        places = places if self.places is None else self.places[places]
        return _Tamed(self.X, self.tails, places)


class _Distances:
    """Mahalanobis distances from moments of some rows.

    In units of the columns' deviations the covariance is shrunk towards the identity:
    a plane that the rows lie in must not make far rows of what is rounded off it.
    """

    def __init__(self, mean, matrix):
        self.mean, self.matrix = mean, matrix

    @classmethod
    def of(cls, rows, weight, near):
        share = weight[near] / weight[near].sum()
        mean, cov = weighted_moments(rows.take(np.flatnonzero(near)), share)
        std = np.sqrt(np.diag(cov))
        unit = np.where(std > 0, std, np.inf)
        cov = cov / np.outer(unit, unit) + np.diag(1.0 * (std == 0))
        intensity = min(0.5, 0.01 + 2 * len(cov) / effective_size(share))
        cov = (1 - intensity) * cov + intensity * np.eye(len(cov))
        root = np.linalg.inv(np.linalg.cholesky(cov))
        return cls(mean, root.T / unit[:, None])

    def __call__(self, rows):
        parts = (rows[s : s + CHUNK] for s in range(0, len(rows), CHUNK))
        norms = [
            np.linalg.norm((part - self.mean) @ self.matrix, axis=1) for part in parts
        ]
        return np.concatenate(norms)
