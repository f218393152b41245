"""The kind of the initial map: the Gaussian map, the mean shift or the identity.

The Gaussian map of a small sample has the sampling error of its covariances, and can be
worse than the identity. The candidates are compared by cross-fitting: on every fold of
the rows, with the moments of the other folds. The criteria are those by which trained
weights are selected: the semi-dual risk, with winsorised differences so that no single
row decides, and the energy distance of mapped rows in both directions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._flow.preconditioner import QUADRATIC, Preconditioner
from sk_ncf._samples.paired_comparison import (
    energy_contributions,
    variance_of_mean,
    weighted_mean,
    winsorised,
)
from sk_ncf._samples.sample import Sample
from sk_ncf.costs import Cost

__all__ = ["initial_map"]

N_FOLDS = 4
FEW_FEATURES = 64  # with more, a Gaussian map takes seconds, and one fold is used
MAX_ROWS = 2048  # of a sample
MIN_ROWS = 16  # of a sample; with fewer nothing is compared
ROWS_PER_PARAMETER = 20  # of the Gaussian map, from which N_ERRORS_MANY is used
N_ERRORS_FEW = 0.5  # standard errors of the risk by which a simpler map must be better
N_ERRORS_MANY = 2.0
N_ERRORS_ENERGY = 2.0  # of the energy distance, from which it matters

WeightedArray = tuple[np.ndarray, np.ndarray]  # rows (n, d), weights (n,)
Pair = tuple[np.ndarray, np.ndarray]  # of source rows (n,), of target rows (m,)


def initial_map(
    source: Sample, target: Sample, cost: Cost, careful: bool = False
) -> str:
    """The kind of the initial map: "gaussian", "mean_shift" or "identity".

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
        return kinds[0]
    variances = [np.diag(weighted_moments(*side)[1]) for side in (x, y)]
    unit = np.sqrt((variances[0] + variances[1]) / 2)
    if not unit.any():
        return kinds[0]
    unit = np.where(unit > 0, unit, unit.max())
    criteria = {kind: _cross_fitted(x, y, cost, kind, careful, unit) for kind in kinds}
    d, n_rows = len(unit), min(source.effective_size, target.effective_size)
    many = n_rows >= ROWS_PER_PARAMETER * d * (d + 3) / 2
    best = kinds[0]
    for kind in kinds[1:]:
        n_errors = N_ERRORS_MANY if many else N_ERRORS_FEW
        if _is_better(criteria[kind], criteria[best], n_errors):
            best = kind
    return best


class _Criteria(NamedTuple):
    """Contributions of the rows to both criteria, and their weights."""

    risk: Pair
    energy: Pair
    weight: Pair


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
    unit: np.ndarray,
) -> _Criteria:
    """The criteria of a kind of map on the held-out rows of all folds."""
    folds = _fold_numbers(len(source[0])), _fold_numbers(len(target[0]))
    found = []
    for f in range(N_FOLDS if source[0].shape[1] <= FEW_FEATURES else 1):
        x_train, x_test = _split(source, folds[0] == f)
        y_train, y_test = _split(target, folds[1] == f)
        moments = weighted_moments(*x_train), weighted_moments(*y_train)
        sizes = effective_size(x_train[1]), effective_size(y_train[1])
        frame = Preconditioner.of_moments(cost, moments, sizes, careful, kind)
        found.append(_criteria(frame, x_test, y_test, unit))

    def join(pairs: Sequence[Pair]) -> Pair:
        x, y = zip(*pairs, strict=True)
        return np.concatenate(x), np.concatenate(y)

    return _Criteria(
        join([c.risk for c in found]),
        join([c.energy for c in found]),
        join([c.weight for c in found]),
    )


def _fold_numbers(n: int) -> np.ndarray:
    return np.random.RandomState(0).permutation(n) % N_FOLDS


def _split(
    rows: WeightedArray, test: np.ndarray
) -> tuple[WeightedArray, WeightedArray]:
    X, weight = rows
    return (X[~test], weight[~test]), (X[test], weight[test])


def _criteria(
    frame: Preconditioner,
    source: WeightedArray,
    target: WeightedArray,
    unit: np.ndarray,
) -> _Criteria:
    r"""The criteria of the initial map u = 0 of a change of variables.

    Its risk is :math:`E u(x, 0) - E u(y, 1)`, since u = 0 is exact in the new variables.
    """
    (X, weight_x), (Y, weight_y) = source, target
    risk = (
        frame.source_potential(X, np.zeros(len(X))),
        -frame.target_potential(Y, np.zeros(len(Y))),
    )
    mapped = frame.initial_map(X) / unit
    back = frame.initial_inverse(Y) / unit
    share_x, share_y = weight_x / weight_x.sum(), weight_y / weight_y.sum()
    weights = _tensors(share_x, share_y)
    of_x, from_y = energy_contributions(*_tensors(mapped, Y / unit), *weights)
    of_y, from_x = energy_contributions(*_tensors(back, X / unit), *weights[::-1])
    energy = (of_x + from_x)[0].numpy(), (of_y + from_y)[0].numpy()
    return _Criteria(risk, energy, (weight_x, weight_y))


def _is_better(candidate: _Criteria, other: _Criteria, n_errors: float) -> bool:
    """Whether a simpler map is better, by the rule that selects trained weights."""
    weight_x, weight_y = candidate.weight
    weight = weight_x / weight_x.sum(), weight_y / weight_y.sum()
    energy, energy_error = _gain(other.energy, candidate.energy, weight)
    if energy > N_ERRORS_ENERGY * energy_error:
        n_errors = 0.0
    if energy < -N_ERRORS_ENERGY * energy_error:
        n_errors = N_ERRORS_ENERGY
    gain, error = _gain(other.risk, candidate.risk, weight, winsorise=True)
    return gain > n_errors * error


def _gain(
    values: Pair, others: Pair, weights: Pair, winsorise: bool = False
) -> tuple[float, float]:
    """The decrease from `values` to `others`, and its standard error."""
    weight_x, weight_y = _tensors(*weights)
    x, y = _tensors(values[0] - others[0], others[1] - values[1])
    if winsorise:
        x, y = winsorised(x, y, weight_x, weight_y)
    difference = weighted_mean(x, weight_x) - weighted_mean(y, weight_y)
    variance = variance_of_mean(x, weight_x) + variance_of_mean(y, weight_y)
    return difference.item(), variance.sqrt().item()


def _tensors(*arrays: np.ndarray) -> list[Tensor]:
    """The arrays with a leading axis of one potential."""
    return [torch.from_numpy(array[None]) for array in arrays]
