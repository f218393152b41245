"""The kind of the initial map: the Gaussian map, the mean shift or the identity.

The Gaussian map of a small sample has the sampling error of its covariances, and can be
worse than the identity. The candidates are compared by cross-fitting: on every fold of
the rows, with the moments of the other folds. The criteria are those by which trained
weights are selected: the semi-dual risk, with winsorised differences so that no single
row decides, and the energy distance of mapped rows in both directions.

The quantile mapping of each column is compared too. It is not a start of the training,
which hardly improves such a steep map, but an alternative to the trained one.
"""

from typing import NamedTuple

import numpy as np

from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._flow.preconditioner import QUADRATIC, Preconditioner
from sk_ncf._samples.map_comparison import (
    Criteria,
    FeatureUnits,
    WeightedArray,
    criteria_of_initial_map,
    is_better,
    quantile_knots,
)
from sk_ncf._samples.sample import Sample
from sk_ncf.costs import Cost, SquaredEuclidean

__all__ = ["InitialMap", "initial_map"]

N_FOLDS = 4
FEW_FEATURES = 64  # with more, a Gaussian map takes seconds, and one fold is used
MAX_ROWS = 2048  # of a sample
MIN_ROWS = 16  # of a sample; with fewer nothing is compared
ROWS_PER_PARAMETER = 20  # of the Gaussian map, from which N_ERRORS_MANY is used
N_ERRORS_FEW = 0.5  # standard errors of the risk by which a simpler map must be better
N_ERRORS_MANY = 2.0


class InitialMap(NamedTuple):
    """Which maps do well without training.

    Attributes
    ----------
    kind : {"gaussian", "mean_shift", "identity"}
        The initial map of the training.
    quantile_is_better : bool, default=False
        Whether the quantile mapping of each column is better than that map.
    """

    kind: str
    quantile_is_better: bool = False


def initial_map(
    source: Sample, target: Sample, cost: Cost, careful: bool = False
) -> InitialMap:
    """The initial map of two samples.

    Parameters
    ----------
    source, target : Sample
    cost : Cost
        Only quadratic costs have a Gaussian map.
    careful : bool, default=False
        As in :meth:`~sk_ncf._flow.preconditioner.Preconditioner.of_moments`.
    """
    kinds = ["mean_shift", "identity"]
    if isinstance(cost, QUADRATIC):
        kinds.insert(0, "gaussian")
    x, y = _some_rows(source), _some_rows(target)
    if min(len(x[0]), len(y[0])) < MIN_ROWS:
        return InitialMap(kinds[0])
    variances = [np.diag(weighted_moments(*side)[1]) for side in (x, y)]
    if not np.any(variances):
        return InitialMap(kinds[0])
    units = FeatureUnits.robust(x, y)
    criteria = {kind: _cross_fitted(x, y, cost, kind, careful, units) for kind in kinds}
    d, n_rows = x[0].shape[1], min(source.effective_size, target.effective_size)
    many = n_rows >= ROWS_PER_PARAMETER * d * (d + 3) / 2
    best = kinds[0]
    for kind in kinds[1:]:
        n_errors = N_ERRORS_MANY if many else N_ERRORS_FEW
        if is_better(criteria[kind], criteria[best], n_errors):
            best = kind
    if not isinstance(cost, SquaredEuclidean):
        return InitialMap(best)
    quantile = _cross_fitted(x, y, cost, "quantile", careful, units)
    return InitialMap(best, is_better(quantile, criteria[best], N_ERRORS_MANY))


def _some_rows(sample: Sample) -> WeightedArray:
    """At most `MAX_ROWS` rows, evenly spaced, in float64, and their weights.

    Atoms are repeated, so that their copies are divided between the folds.
    """
    sample = sample.repeated()
    index = np.arange(0, len(sample), -(-len(sample) // MAX_ROWS))
    weight = np.asarray(sample.weight)[index]
    return np.asarray(sample.X[index], dtype=np.float64), weight / weight.sum()


def _cross_fitted(
    source: WeightedArray,
    target: WeightedArray,
    cost: Cost,
    kind: str,
    careful: bool,
    units: FeatureUnits,
) -> Criteria:
    """The criteria of a kind of map on the held-out rows of all folds."""
    folds = _fold_numbers(len(source[0])), _fold_numbers(len(target[0]))
    found = []
    for f in range(N_FOLDS if source[0].shape[1] <= FEW_FEATURES else 1):
        x_train, x_test = _split(source, folds[0] == f)
        y_train, y_test = _split(target, folds[1] == f)
        moments = weighted_moments(*x_train), weighted_moments(*y_train)
        sizes = effective_size(x_train[1]), effective_size(y_train[1])
        frame = Preconditioner.of_moments(cost, moments, sizes, careful, kind)
        train = x_train, y_train
        knots = None
        if kind == "quantile":
            knots = quantile_knots((frame.source, frame.target), *train)
        found.append(criteria_of_initial_map(frame, knots, x_test, y_test, units))
    return Criteria.joined(found)


def _fold_numbers(n: int) -> np.ndarray:
    return np.random.RandomState(0).permutation(n) % N_FOLDS


def _split(
    rows: WeightedArray, test: np.ndarray
) -> tuple[WeightedArray, WeightedArray]:
    X, weight = rows
    return (X[~test], weight[~test]), (X[test], weight[test])
