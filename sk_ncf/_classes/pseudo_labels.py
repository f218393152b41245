"""Pseudo-labels for unlabelled target rows, by self-training."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from sk_ncf._classes.classifiers import fitted_classifier, new_classifier
from sk_ncf._classes.gaussian_maps import map_by_class
from sk_ncf._classes.pooling import PooledSample
from sk_ncf._classes.pseudo_label_rounds import MAX_LABEL_WEIGHT, MAX_SOURCE_ROWS
from sk_ncf._inputs.types import Classifier
from sk_ncf._samples.sample import random_rows

__all__ = ["PseudoLabels", "predict_pseudo_labels"]

N_ROUNDS = 5  # of self-training, which labels a fifth of the rows in each


class PseudoLabels(NamedTuple):
    """Classes of all target rows, and what is known about their quality."""

    codes: np.ndarray  # (n,), none of them -1
    fraction: float  # of the rows that got a pseudo-label
    accuracy: float  # on held-out labels; nan if a class has only one label
    uses_source: bool  # whether the classifier learns from source rows too


class _Labelled(NamedTuple):
    """Labelled source rows, if they are used, and partly labelled target rows."""

    X: np.ndarray | None  # (n, d)
    codes: np.ndarray | None  # (n,)
    target: np.ndarray  # (m, d)
    target_codes: np.ndarray  # (m,), -1 without a label


def predict_pseudo_labels(
    classifier: Classifier | None,
    source: np.ndarray,
    source_codes: np.ndarray,
    target: np.ndarray,
    codes: np.ndarray,
) -> PseudoLabels:
    """Predict a label for the target rows whose code is -1.

    A classifier is self-trained on the target rows alone, or on source rows too; then
    every target label has a larger weight. The choice is made by the accuracy of the
    classifier, without self-training, on held-out labels. The source is left out if
    that is better by a standard error.

    Parameters
    ----------
    classifier : estimator or None
    source : ndarray of shape (n, d)
    source_codes : ndarray of int, shape (n,)
    target : ndarray of shape (m, d)
    codes : ndarray of int, shape (m,)

    Returns
    -------
    PseudoLabels
    """
    unlabelled = codes == -1
    if not unlabelled.any():
        return PseudoLabels(codes, 0.0, 1.0, False)
    some = np.sort(random_rows(len(source), MAX_SOURCE_ROWS, np.random.RandomState(0)))
    without = _Labelled(None, None, target, codes)
    with_source = _Labelled(source[some], source_codes[some], target, codes)
    alone, joint = (_accuracy(classifier, s, 0) for s in (without, with_source))
    # The source rows keep helping in self-training, so they are used in case of doubt.
    doubt = np.sqrt(alone * (1 - alone) / (~unlabelled).sum())
    uses_source = bool(alone - joint <= doubt)
    if np.isnan(alone):
        uses_source = _source_beats_chance(classifier, with_source)
    chosen = with_source if uses_source else without
    predicted = _predict_codes(classifier, chosen)
    accuracy = _accuracy(classifier, chosen, N_ROUNDS)
    return PseudoLabels(predicted, float(unlabelled.mean()), accuracy, uses_source)


def _predict_codes(classifier: Classifier | None, rows: _Labelled) -> np.ndarray:
    """Classes of all target rows after the last round.

    If source rows are used, they are mapped to the target rows class by class, by the
    pseudo-labels of the last round, and the classifier is fitted to them again.
    """
    out, unlabelled = rows.target_codes.copy(), rows.target_codes == -1
    model = _self_trained(classifier, rows, N_ROUNDS)
    out[unlabelled] = model.predict(rows.target[unlabelled])
    for _ in range(0 if rows.X is None else N_ROUNDS):
        model = _self_trained(classifier, rows._replace(X=_mapped(rows, out)), 0)
        out[unlabelled] = model.predict(rows.target[unlabelled])
    return out


def _mapped(rows: _Labelled, codes: np.ndarray) -> np.ndarray:
    """Source rows under the Gaussian map of their class."""
    assert rows.X is not None and rows.codes is not None
    source = PooledSample(rows.X, np.ones(len(rows.X)), rows.codes)
    ones, labelled = np.ones(len(rows.target)), rows.target_codes != -1
    target = PooledSample(rows.target, ones, codes, labelled)
    return map_by_class(source, target, max(rows.codes.max(), codes.max()) + 1)


def _accuracy(classifier: Classifier | None, rows: _Labelled, n_rounds: int) -> float:
    """Cross-validated accuracy on the target labels; nan if a class has only one.

    Of the classifier alone for `n_rounds` = 0, else of the pseudo-labels.
    """
    from sklearn.model_selection import StratifiedKFold  # for fits with classes only

    labelled = np.flatnonzero(rows.target_codes != -1)
    smallest = np.unique(rows.target_codes[labelled], return_counts=True)[1].min()
    if smallest < 2:
        return np.nan
    folds = StratifiedKFold(min(3, smallest), shuffle=True, random_state=0)
    correct = []
    for _, fold in folds.split(labelled, rows.target_codes[labelled]):
        codes, hidden = rows.target_codes.copy(), labelled[fold]
        codes[hidden] = -1
        training = rows._replace(target_codes=codes)
        if n_rounds:
            predicted = _predict_codes(classifier, training)[hidden]
        else:
            model = _self_trained(classifier, training, 0)
            predicted = model.predict(rows.target[hidden])
        correct.append(predicted == rows.target_codes[hidden])
        if n_rounds and len(rows.target) > MAX_SOURCE_ROWS:  # one fold is enough
            break
    return float(np.concatenate(correct).mean())


def _source_beats_chance(classifier: Classifier | None, rows: _Labelled) -> bool:
    """Whether a classifier of the source predicts the target labels, or only guesses."""
    assert rows.X is not None and rows.codes is not None
    labelled = rows.target_codes != -1
    model = fitted_classifier(classifier, rows.X, rows.codes)
    correct = model.predict(rows.target[labelled]) == rows.target_codes[labelled]
    return bool(correct.mean() >= 1 / len(np.unique(rows.codes)))


def _self_trained(classifier: Classifier | None, rows: _Labelled, n_rounds: int) -> Any:
    """A classifier fitted to the labels, and self-trained in `n_rounds` rounds."""
    labelled = rows.target_codes != -1
    X, y = rows.target[labelled], rows.target_codes[labelled]
    n_classes = len(np.unique(y))
    if rows.X is not None and rows.codes is not None:
        times = int(np.clip(len(rows.X) // len(y), 1, MAX_LABEL_WEIGHT))
        X = np.concatenate([rows.X, np.repeat(X, times, axis=0)])
        y = np.concatenate([rows.codes, np.repeat(y, times)])
    n_unlabelled = len(rows.target) - labelled.sum() if n_rounds else 0
    model = new_classifier(classifier, len(y) + n_unlabelled, n_classes)
    if not n_unlabelled:
        return model.fit(X, y)
    if not hasattr(model, "predict_proba"):
        model = _MarginProbabilities(model)
    from sklearn.semi_supervised import SelfTrainingClassifier  # takes a second

    k_best = -(-n_unlabelled // n_rounds)
    trainer = SelfTrainingClassifier(
        model, criterion="k_best", k_best=k_best, max_iter=n_rounds - 1
    )
    X = np.concatenate([X, rows.target[~labelled]])
    return trainer.fit(X, np.concatenate([y, rows.target_codes[~labelled]]))


class _MarginProbabilities(ClassifierMixin, BaseEstimator):
    """Gives a classifier without probabilities the softmax of its margins."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, X: np.ndarray, y: np.ndarray) -> "_MarginProbabilities":
        self.classifier_ = clone(self.classifier).fit(X, y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        labels: np.ndarray = self.classifier_.predict(X)
        return labels

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        margin = self.classifier_.decision_function(X)
        if margin.ndim == 1:
            margin = np.stack([-margin, margin], axis=1) / 2
        probabilities: np.ndarray = softmax(margin, axis=1)
        return probabilities
