"""Pseudo-labels for target rows of which none, or few, have a label.

The source labels are known. A classifier of the source rows, and of the source rows
under the Gaussian map of all rows, predicts the class of the target rows. Every class of
source rows is then mapped to the target rows of that prediction, the classifier is
fitted again to the source rows and the mapped ones, and predicts again.

The Gaussian map of all rows assumes that both sides have the classes in the same
proportions. So it is also fitted from source rows that are weighted to the predicted
proportions. If these are significantly different, the rounds are started by this map too,
and their result is taken if the target rows are clearly likelier in its classes.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chi2_contingency

from sk_ncf._classes.gaussian_maps import map_all_rows, map_by_class
from sk_ncf._classes.label_likelihood import MANY_CHANGES, likelihood_gain
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
MIN_GAIN = 0.25  # nats for every changed label, from which on the other start is better
SIGNIFICANCE = 0.01  # of other proportions of the classes
N_PROPORTIONS = 3  # estimates of the proportions of the classes
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

    def predict(mapped: list[np.ndarray], X: np.ndarray, codes: np.ndarray) -> Any:
        """The codes of the rows X (m, d), predicted where they are -1."""
        if not (codes == -1).any():
            return codes
        model = fit(*training_rows(x, mapped, labelled, max_label_weight))
        out = codes.copy()
        out[codes == -1] = model.predict(X[codes == -1])
        return out

    def rounds(mapped: np.ndarray) -> _Run:
        n_rounds, codes = 0, predict([mapped], y.X, y.codes)
        agreement = 0.0
        while n_rounds < MAX_ROUNDS and agreement < 1:
            before, n_rounds = codes, n_rounds + 1
            mapped = map_by_class(x, _completed(y, codes), n_classes)
            codes = predict([mapped], y.X, y.codes)
            agreement = float((codes == before).mean())
        return _Run(codes, mapped, n_rounds, agreement)

    best = rounds(map_all_rows(x.X, y.X, x.weight, y.weight))
    codes = predict([], y.X, y.codes)
    for _ in range(N_PROPORTIONS):
        mapped = map_all_rows(x.X, y.X, _reweighted(x, y, codes, n_classes), y.weight)
        codes = predict([mapped], y.X, y.codes)
    if _proportions_differ(x.codes, codes):
        other = rounds(mapped)
        n_changed, gain = likelihood_gain(y.X, best.codes, other.codes, mixture=True)
        if n_changed >= MANY_CHANGES and gain >= MIN_GAIN:
            best = other
    everything = best.codes
    if len(y.X) < len(target.X):
        everything = predict([best.mapped], target.X, target.codes)
    mapped = map_by_class(source, _completed(target, everything), n_classes)
    return Rounds(everything, mapped, best.n_rounds, best.agreement)


class _Run(NamedTuple):
    """Rounds from one start, on some of the rows."""

    codes: np.ndarray
    mapped: np.ndarray
    n_rounds: int
    agreement: float


def _completed(target: PooledSample, codes: np.ndarray) -> PooledSample:
    """The target with predicted codes."""
    return target._replace(codes=codes, labelled=target.codes != -1)


def _proportions_differ(codes: np.ndarray, other: np.ndarray) -> bool:
    """Whether a chi-squared test finds that the classes have other proportions."""
    n_classes = max(codes.max(), other.max()) + 1
    counts = np.stack([np.bincount(c, minlength=n_classes) for c in (codes, other)])
    counts = counts[:, counts.any(axis=0)]
    return bool(chi2_contingency(counts).pvalue < SIGNIFICANCE)


def _reweighted(
    x: PooledSample, y: PooledSample, codes: np.ndarray, n_classes: int
) -> np.ndarray:
    """Weights of the source rows, for the proportions of the predicted classes."""
    own = np.bincount(x.codes, x.weight, n_classes)
    wanted = np.bincount(codes, y.weight, n_classes) + 1
    return np.asarray(x.weight * (wanted / np.maximum(own, 1e-300))[x.codes])


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
