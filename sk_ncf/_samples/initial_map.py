"""Which map to start from: none, the mean shift, or the Gaussian one.

The Gaussian map of few rows carries the noise of their covariances, and may be worse than
no map at all. The three are compared on rows that they were not fitted to (cross-fitting:
every fold is judged by the moments of the others), as trained weights are: by the
semi-dual risk, whose differences no row decides by itself, and by the energy distance of
mapped rows to those of the other side, both ways.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._flow.preconditioner import QUADRATIC, Preconditioner
from sk_ncf._samples.outliers import weighted_quantile

__all__ = ["initial_map"]

N_FOLDS = 4
FEW_FEATURES = 64  # above, a Gaussian map takes seconds: one fold is judged
AT_MOST = 2048  # rows of a side that are looked at
FEWEST = 16  # rows of a side, below which nothing is compared
DOUBT = 0.5  # standard errors of the risk that a simpler map must be better by
MANY = 20  # rows of a number in the Gaussian map, from which it must be by SURE of them
SURE = 2.0  # standard errors of the energy distance, from which its opinion counts
WIDE = 5.0  # robust standard deviations, beyond which no row counts more


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
    d, n_rows = len(unit), min(s.effective_size for s in (source, target))
    doubt = DOUBT if n_rows < MANY * d * (d + 3) / 2 else SURE
    best = kinds[0]
    for kind in kinds[1:]:
        if _beats(judged[kind], judged[best], doubt):
            best = kind
    return best


class _Judged(NamedTuple):
    """Rows' contributions to the two criteria, and weights; pairs of x and of y."""

    risk: tuple
    energy: tuple
    weight: tuple


def _some_rows(sample):
    """At most AT_MOST rows, evenly spread, in float64, and their weights.

    Atoms are repeated, so that every fold has its share of their copies.
    """
    sample = sample.repeated()
    places = np.arange(0, len(sample), -(-len(sample) // AT_MOST))
    weight = np.asarray(sample.weight)[places]
    return np.asarray(sample.X[places], dtype=np.float64), weight / weight.sum()


def _cross_fitted(source, target, cost, kind, careful, unit):
    """What the held-out rows of all folds say of a kind of map."""
    folds = [_folds(len(X)) for X, _ in (source, target)]
    parts = []
    n_features = source[0].shape[1]
    for f in range(N_FOLDS if n_features <= FEW_FEATURES else 1):
        pairs = zip((source, target), folds, strict=True)
        train, test = zip(*(_parted(*side, g == f) for side, g in pairs), strict=True)
        moments = [weighted_moments(*side) for side in train]
        sizes = [effective_size(weight) for _, weight in train]
        frame = Preconditioner.of_moments(cost, moments, sizes, careful, kind)
        parts.append(_judged(frame, *test, unit))
    return _Judged(
        *(
            tuple(map(np.concatenate, zip(*pairs, strict=True)))
            for pairs in zip(*parts, strict=True)
        )
    )


def _folds(n):
    return np.random.RandomState(0).permutation(n) % N_FOLDS


def _parted(X, weight, apart):
    return (X[~apart], weight[~apart]), (X[apart], weight[apart])


def _judged(frame, source, target, unit):
    r"""J is :math:`E u(x, 0) - E u(y, 1)`, where u = 0 in the new variables is exact."""
    (X, weight_x), (Y, weight_y) = source, target
    risk = frame.source_potential(X, 0.0), -frame.target_potential(Y, 0.0)
    mapped = frame.target.inverse(frame.source.forward(X)) / unit
    back = frame.source.inverse(frame.target.forward(Y)) / unit
    shares = weight_x / weight_x.sum(), weight_y / weight_y.sum()
    of_x, from_y = _contributions(mapped, Y / unit, *shares)
    of_y, from_x = _contributions(back, X / unit, *shares[::-1])
    return _Judged(risk, (of_x + from_x, of_y + from_y), (weight_x, weight_y))


def _contributions(mapped, wanted, weight, weight_wanted):
    """Of the mapped rows to their energy distance, and of the wanted ones (mean zero).

    To the first order, as in :mod:`sk_ncf._training.held_out_risk`.
    """
    between, within = cdist(mapped, wanted), cdist(mapped, mapped) @ weight
    within = within / np.maximum(1 - weight, 0.5)  # no pair with itself
    to_mapped = 2 * weight @ between
    own = 2 * (between @ weight_wanted - within) + within @ weight
    return own, to_mapped - to_mapped @ weight_wanted


def _beats(judged, other, doubt):
    """Whether a simpler map is better, as :class:`HeldOutRisk` would say of weights."""
    weight = [w / w.sum() for w in judged.weight]
    opinion, its_error = _gain(other.energy, judged.energy, weight)
    doubt = doubt if opinion <= SURE * its_error else 0.0
    doubt = doubt if opinion >= -SURE * its_error else SURE
    gain, error = _gain(other.risk, judged.risk, weight, drawn_in=True)
    return gain > doubt * error


def _gain(values, others, weights, drawn_in=False):
    """By how much the others are less, and the standard error of it."""
    x, y = (a - b for a, b in zip(values, others, strict=True))
    if drawn_in:
        both, weight = np.concatenate([x, -y]), np.concatenate(weights)
        (centre,) = weighted_quantile(both, weight, [0.5])
        half, most = weighted_quantile(np.abs(both - centre), weight, [0.5, 0.9])
        limit = WIDE * max(half / 0.6745, most / 1.6449)
        x = np.clip(x, centre - limit, centre + limit)
        y = np.clip(y, -centre - limit, -centre + limit)
    means = [z @ w for z, w in zip((x, y), weights, strict=True)]
    parts = zip((x, y), weights, means, strict=True)
    return sum(means), np.sqrt(sum(np.square(w * (z - m)).sum() for z, w, m in parts))
