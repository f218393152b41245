"""Which map to start from: none, the mean shift, or the Gaussian one.

The Gaussian map of few rows carries the noise of their covariances, and may be worse than
no map at all. The three are compared on rows that they were not fitted to (cross-fitting:
every fold is mapped by the moments of the others), by the energy distance to the rows of
the other side, both ways, on which no single row counts more than it is moved.
"""

import numpy as np
from scipy.spatial.distance import cdist

from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._flow.preconditioner import QUADRATIC, Preconditioner

__all__ = ["initial_map"]

N_FOLDS = 4
AT_MOST = 2048  # rows of a side that are looked at
FEWEST = 16  # rows of a side, below which nothing is compared
DOUBT = 0.5  # standard errors that a simpler map must be better by


def initial_map(source, target, cost, careful=False):
    """The kind of map to start from: "gaussian", "mean_shift" or "identity".

    Parameters
    ----------
    source, target : Sample
    cost : Cost
        Only a quadratic one has a Gaussian map.
    careful : bool, default=False
        As in :meth:`~sk_ncf._flow.preconditioner.Preconditioner.of_moments`.
    """
    kinds = ["mean_shift", "identity"]
    if isinstance(cost, QUADRATIC):
        kinds.insert(0, "gaussian")
    sides = [_some_rows(sample) for sample in (source, target)]
    if min(len(X) for X, _ in sides) < FEWEST:
        return kinds[0]
    unit = np.sqrt(sum(np.diag(weighted_moments(*side)[1]) for side in sides) / 2)
    if not unit.any():
        return kinds[0]
    unit = np.where(unit > 0, unit, unit.max())
    judged = {k: _cross_fitted(*sides, cost, k, careful, unit) for k in kinds}
    best = kinds[0]
    for kind in kinds[1:]:
        gain, error = _gain(judged[best], judged[kind])
        if gain > DOUBT * error:
            best = kind
    return best


def _some_rows(sample):
    """At most AT_MOST rows, evenly spread, in float64, and their weights."""
    places = np.arange(0, len(sample), -(-len(sample) // AT_MOST))
    weight = np.asarray(sample.weight)[places]
    return np.asarray(sample.X[places], dtype=np.float64), weight / weight.sum()


def _cross_fitted(source, target, cost, kind, careful, unit):
    """What rows of either side contribute to the energy distances, and their weights."""
    folds = [_folds(len(X)) for X, _ in (source, target)]
    parts = []
    for f in range(N_FOLDS):
        train, test = zip(
            *(_parted(*side, fold == f) for side, fold in zip((source, target), folds)),
            strict=True,
        )
        moments = [weighted_moments(*side) for side in train]
        sizes = [effective_size(weight) for _, weight in train]
        frame = Preconditioner.of_moments(cost, moments, sizes, careful, kind)
        parts.append(_energies(frame, *test, unit))
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _folds(n):
    return np.random.RandomState(0).permutation(n) % N_FOLDS


def _parted(X, weight, apart):
    return (X[~apart], weight[~apart]), (X[apart], weight[apart])


def _energies(frame, source, target, unit):
    """Contributions of x and of y, and the weights of both."""
    (X, weight_x), (Y, weight_y) = source, target
    mapped = frame.target.inverse(frame.source.forward(X)) / unit
    back = frame.source.inverse(frame.target.forward(Y)) / unit
    shares = weight_x / weight_x.sum(), weight_y / weight_y.sum()
    of_x, from_y = _contributions(mapped, Y / unit, *shares)
    of_y, from_x = _contributions(back, X / unit, *shares[::-1])
    return of_x + from_x, of_y + from_y, weight_x, weight_y


def _contributions(mapped, wanted, weight, weight_wanted):
    """Of the mapped rows to their energy distance, and of the wanted ones (mean zero).

    To the first order, as in :mod:`sk_ncf._training.held_out_risk`.
    """
    between, within = cdist(mapped, wanted), cdist(mapped, mapped) @ weight
    within = within / np.maximum(1 - weight, 0.5)  # no pair with itself
    to_mapped = 2 * weight @ between
    own = 2 * (between @ weight_wanted - within) + within @ weight
    return own, to_mapped - to_mapped @ weight_wanted


def _gain(judged, other):
    """How much lower the energy distance of the other is, and its standard error."""
    gain, variance = 0.0, 0.0
    for values, others, weight in zip(judged[:2], other[:2], judged[2:], strict=True):
        difference, share = values - others, weight / weight.sum()
        mean = difference @ share
        gain += mean
        variance += np.square(share * (difference - mean)).sum()
    return gain, np.sqrt(variance)
