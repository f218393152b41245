"""Pseudo-labels for target rows of which none, or few, have a label.

The source labels are known. A classifier of the source rows, and of the source rows
under the Gaussian map of all rows, predicts the class of the target rows. Every class of
source rows is then mapped to the target rows of that prediction, the classifier is
fitted again to the source rows and the mapped ones, and predicts again.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sk_ncf._classes.gaussian_maps import map_all_rows, map_by_class
from sk_ncf._classes.pooling import PooledSample

__all__ = [
    "MAX_LABEL_WEIGHT",
    "MAX_SOURCE_ROWS",
    "MAX_TARGET_ROWS",
    "Rounds",
    "pseudo_label_rounds",
    "some_rows",
    "take",
    "training_rows",
]

MAX_ROUNDS = 5
MAX_SOURCE_ROWS = 2000  # that the classifier of a round is fitted to
MAX_TARGET_ROWS = 5000  # that it predicts; the last one predicts all
MAX_LABEL_WEIGHT = 10  # of a labelled target row, if a source row has weight 1

TrainingRows = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, codes, weights
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]  # of training rows


class Rounds(NamedTuple):
    """The result of the last round."""

    codes: np.ndarray  # (m,), class of every target row
    mapped: np.ndarray  # (n, d), source rows mapped class by class
    n_rounds: int
    agreement: (
        float  # fraction of the target rows of equal class in the last two rounds
    )


def pseudo_label_rounds(
    fit: Fit,
    source: PooledSample,
    target: PooledSample,
    n_classes: int,
    rng: np.random.RandomState,
    max_label_weight: int = MAX_LABEL_WEIGHT,
) -> Rounds:
    """Predict the class of the target rows whose code is -1.

    There are at most five rounds. They end if the predictions no longer change.

    Parameters
    ----------
    fit : callable
        Returns a classifier fitted to rows, codes and weights.
    source, target : PooledSample
        Codes of the target are -1 for an unlabelled row. A labelled row keeps its label
        and is a training row, too.
    n_classes : int
    rng : RandomState
        Draws the rows of large samples: 2,000 of the source, 5,000 of the target.
    max_label_weight : int, default=10
        As in :func:`training_rows`.
    """
    x = take(source, some_rows(source.codes, MAX_SOURCE_ROWS, rng))
    y = take(target, some_rows(target.codes, MAX_TARGET_ROWS, rng))
    labelled = take(y, np.flatnonzero(y.codes != -1)[:MAX_SOURCE_ROWS])
    unlabelled = y.codes == -1
    codes, agreement, n_rounds = y.codes.copy(), 1.0, 0
    mapped = map_all_rows(x.X, y.X, x.weight, y.weight)
    for n_rounds in range(MAX_ROUNDS + 1):
        before = codes.copy()
        model = fit(*training_rows(x, [mapped], labelled, max_label_weight))
        if unlabelled.any():
            codes[unlabelled] = model.predict(y.X[unlabelled])
        agreement = float((codes == before).mean())
        if n_rounds and agreement == 1:
            break
        mapped = map_by_class(
            x, y._replace(codes=codes, labelled=~unlabelled), n_classes
        )
    everything, missing = target.codes.copy(), target.codes == -1
    if missing.any():
        everything[missing] = model.predict(target.X[missing])
    named = target._replace(codes=everything, labelled=~missing)
    return Rounds(
        everything, map_by_class(source, named, n_classes), n_rounds, agreement
    )


def training_rows(
    source: PooledSample,
    mapped: Sequence[np.ndarray],
    labelled: PooledSample,
    max_label_weight: int = MAX_LABEL_WEIGHT,
) -> TrainingRows:
    """Source rows, the same rows mapped, and labelled target rows: X, codes, weights.

    A labelled target row has the weight of `max_label_weight` source rows, or less, so
    that all of them do not weigh more than the source rows.
    """
    times = 1 + len(mapped)
    X, codes = [source.X, *mapped], np.tile(source.codes, times)
    weight = np.tile(source.weight, times)
    if not len(labelled.X):
        return np.concatenate(X), codes, weight
    ratio = source.weight.sum() // labelled.weight.sum()
    factor = np.clip(ratio, 1, max_label_weight)  # a whole number
    return (
        np.concatenate([*X, labelled.X]),
        np.concatenate([codes, labelled.codes]),
        np.concatenate([weight, factor * labelled.weight]),
    )


def some_rows(
    codes: np.ndarray, at_most: int, rng: np.random.RandomState
) -> np.ndarray:
    """Sorted indices of random rows: one of every class, then other labelled ones."""
    if len(codes) <= at_most:
        return np.arange(len(codes))
    order = rng.permutation(len(codes))
    priority = (codes[order] == -1).astype(int) + 1
    priority[np.unique(codes[order], return_index=True)[1]] = 0
    return np.sort(order[np.argsort(priority, kind="stable")[:at_most]])


def take(sample: PooledSample, index: np.ndarray) -> PooledSample:
    """Some rows of a sample."""
    labelled = None if sample.labelled is None else sample.labelled[index]
    rows = sample.X[index], sample.weight[index], sample.codes[index]
    return PooledSample(*rows, labelled)
