"""Pseudo-labels for target rows of which none, or few, have a label.

The source labels are known. A classifier of the source rows, and of the source rows
under the Gaussian map of all rows, predicts the class of the target rows. Every class of
source rows is then mapped to the target rows of that prediction, the classifier is
fitted again to the source rows and the mapped ones, and predicts again.

There are two other starts. The result of one is taken if the target rows are clearly
likelier in its classes.

- The Gaussian map of all rows assumes that both samples have the classes in the same
  proportions. If the predicted ones are significantly different, it is fitted from source
  rows that are weighted to them.
- If a classifier cannot learn source rows and mapped rows together, as a linear one whose
  target is far away, it learns from mapped rows only.
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
# Nats for every changed label, from which on another start is better: of the other
# proportions, which the mixture knows, and of mapped rows only.
MIN_MIXTURE_GAIN = 0.75
MIN_GAIN = 0.25
MAX_LOSS = 0.1  # of accuracy on source rows, if mapped rows are learnt with them
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
    agreement: float  # fraction of target rows of equal class in the last two rounds
    with_source: bool  # whether the classifier learns from unmapped source rows, too

    def samples(self, X: np.ndarray, mapped: np.ndarray) -> list[np.ndarray]:
        """Of source rows and mapped ones, those that the classifier learns from."""
        return [X, mapped] if self.with_source else [mapped]


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
    trainer = _Trainer(fit, x, y, n_classes, max_label_weight)
    mapped = map_all_rows(x.X, y.X, x.weight, y.weight)
    best = trainer.rounds(mapped, True)
    balanced, codes = trainer.balanced_map()
    if _proportions_differ(x.codes, codes):
        best = trainer.better(best, trainer.rounds(balanced, True), mixture=True)
    if trainer.cannot_learn_both(mapped):
        best = trainer.better(best, trainer.rounds(mapped, False), mixture=False)
    codes = best.codes
    if len(y.X) < len(target.X):
        codes = trainer.predict(best.samples(x.X, best.mapped), target)
    mapped = map_by_class(source, _completed(target, codes), n_classes)
    return best._replace(codes=codes, mapped=mapped)


class _Trainer:
    """Fits the classifiers of the rounds, to some of the rows."""

    def __init__(
        self,
        fit: Fit,
        x: PooledSample,
        y: PooledSample,
        n_classes: int,
        max_label_weight: int,
    ) -> None:
        self.fit, self.x, self.y, self.n_classes = fit, x, y, n_classes
        self.labelled = take(y, np.flatnonzero(y.codes != -1)[:MAX_SOURCE_ROWS])
        self.max_label_weight = max_label_weight

    def model(self, samples: Sequence[np.ndarray]) -> Any:
        """A classifier of the samples (n, d) of source rows, and of target labels."""
        return self.fit(
            *training_rows(self.x, samples, self.labelled, self.max_label_weight)
        )

    def predict(
        self, samples: Sequence[np.ndarray], target: PooledSample | None = None
    ) -> np.ndarray:
        """Codes of target rows, of those in the rounds by default."""
        y = self.y if target is None else target
        codes, missing = y.codes.copy(), y.codes == -1
        if missing.any():
            codes[missing] = self.model(samples).predict(y.X[missing])
        return codes

    def rounds(self, mapped: np.ndarray, with_source: bool) -> Rounds:
        """The rounds that start from mapped source rows (n, d)."""
        run = Rounds(self.y.codes, mapped, 0, 0.0, with_source)
        run = run._replace(codes=self.predict(run.samples(self.x.X, mapped)))
        while run.n_rounds < MAX_ROUNDS and run.agreement < 1:
            target = _completed(self.y, run.codes)
            mapped = map_by_class(self.x, target, self.n_classes)
            codes = self.predict(run.samples(self.x.X, mapped))
            agreement = float((codes == run.codes).mean())
            run = Rounds(codes, mapped, run.n_rounds + 1, agreement, with_source)
        return run

    def balanced_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Source rows under the map for the predicted proportions, and its codes."""
        x, y, mapped = self.x, self.y, self.x.X
        codes = self.predict([mapped])
        for _ in range(N_PROPORTIONS):
            weight = _reweighted(x, y, codes, self.n_classes)
            mapped = map_all_rows(x.X, y.X, weight, y.weight)
            codes = self.predict([x.X, mapped])
        return mapped, codes

    def cannot_learn_both(self, mapped: np.ndarray) -> bool:
        """Whether source rows are learnt far worse together with mapped ones."""
        x = self.x
        alone, both = self.model([x.X]), self.model([x.X, mapped])
        correct = [
            (model.predict(X) == x.codes).mean()
            for model, X in ((alone, x.X), (both, x.X), (both, mapped))
        ]
        return bool(correct[0] - (correct[1] + correct[2]) / 2 > MAX_LOSS)

    def better(self, best: Rounds, other: Rounds, mixture: bool) -> Rounds:
        """The other rounds if the target rows are clearly likelier in their classes."""
        codes = best.codes, other.codes
        n_changed, gain = likelihood_gain(self.y.X, *codes, mixture)
        wanted = MIN_MIXTURE_GAIN if mixture else MIN_GAIN
        return other if n_changed >= MANY_CHANGES and gain >= wanted else best


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
    samples: Sequence[np.ndarray],
    labelled: PooledSample,
    max_label_weight: int = MAX_LABEL_WEIGHT,
) -> TrainingRows:
    """Samples (n, d) of source rows and labelled target rows: X, codes, weights.

    The samples are the source rows as they are, or mapped. A labelled target row has the
    weight of `max_label_weight` source rows, or less, so that all of them do not weigh
    more than the source rows.
    """
    codes, weight = (np.tile(a, len(samples)) for a in (source.codes, source.weight))
    if not len(labelled.X):
        return np.concatenate(samples), codes, weight
    ratio = source.weight.sum() // labelled.weight.sum()
    factor = np.clip(ratio, 1, max_label_weight)  # a whole number
    return (
        np.concatenate([*samples, labelled.X]),
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
