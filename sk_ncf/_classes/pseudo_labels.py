"""A class for every target row, where only some of them have a label."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.semi_supervised import SelfTrainingClassifier

from sk_ncf._classes.classifiers import fitted_classifier, new_classifier
from sk_ncf._classes.pooling import pooled_moments
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.sample import random_rows
from sk_ncf.costs import SquaredEuclidean

__all__ = ["PseudoLabels", "predict_pseudo_labels"]

ROUNDS = 5  # of self-training, each of which names a fifth of the rows, and of moving
MOST = 2000  # source rows that the naming classifier learns from
HEAVIEST = 10  # times that a label counts next to a source row


class PseudoLabels(NamedTuple):
    """Classes of all target rows, and what is known about how they were found."""

    codes: np.ndarray  # (n,), none of them -1
    share: float  # of the rows that were named
    accuracy: float  # on labels held out from the naming; nan where they are too few
    pooled: bool  # whether the source rows helped


def predict_pseudo_labels(classifier, source, source_codes, target, codes):
    """Name the target rows whose code is -1, by a self-trained classifier.

    It learns from the target rows alone or from source rows too, the labels then
    counting several times: the source is left out where the classifier itself, without
    self-training, is right more often without it, by a standard error, on labels held
    out.

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
    unknown = codes == -1
    if not unknown.any():
        return PseudoLabels(codes, 0.0, 1.0, False)
    some = np.sort(random_rows(len(source), MOST, np.random.RandomState(0)))
    source, source_codes = source[some], source_codes[some]
    sides = [(None, None), (source, source_codes)]
    alone, pooled = (_accuracy(classifier, *s, target, codes, 0) for s in sides)
    # With the source, naming goes on to learn more: alone must be better beyond doubt.
    doubt = np.sqrt(alone * (1 - alone) / (~unknown).sum())
    use_source = bool(alone - pooled <= doubt)
    if np.isnan(alone):
        use_source = _source_knows(classifier, source, source_codes, target, codes)
    side = sides[use_source]
    out = _codes(classifier, *side, target, codes)
    accuracy = _accuracy(classifier, *side, target, codes, ROUNDS)
    return PseudoLabels(out, float(unknown.mean()), float(accuracy), use_source)


def _codes(classifier, source, source_codes, target, codes):
    """Classes of all target rows, as the classifier names them in the end.

    Where it learns from the source, the source rows are moved to the rows that were
    named, class by class, to learn and to name again.
    """
    out, unknown = codes.copy(), codes == -1
    model = _trained(classifier, source, source_codes, target, codes, ROUNDS)
    out[unknown] = model.predict(target[unknown])
    for _ in range(0 if source is None else ROUNDS):
        moved = _moved(source, source_codes, target, out, ~unknown)
        model = _trained(classifier, moved, source_codes, target, codes, 0)
        out[unknown] = model.predict(target[unknown])
    return out


def _moved(source, source_codes, target, codes, known):
    """Source rows, each moved by the Gaussian map of its class, where the target has it."""
    moved, ones = source.astype(np.float64), np.ones(len(source) + len(target))
    from_side = source, ones[: len(source)], source_codes
    to_side = target, ones[: len(target)], codes, known
    pooled = pooled_moments(
        from_side, to_side, max(source_codes.max(), codes.max()) + 1
    )
    for k in np.intersect1d(source_codes, codes):
        x, y = source[source_codes == k], target[codes == k]
        if k in pooled:
            frame = Preconditioner.of_moments(SquaredEuclidean(), pooled[k])
        else:
            weights = ones[: len(x)], ones[: len(y)]
            frame = Preconditioner.fit(x, y, SquaredEuclidean(), *weights)
        moved[source_codes == k] = frame.target.inverse(frame.source.forward(x))
    return moved


def _accuracy(classifier, source, source_codes, target, codes, rounds):
    """On known labels that were hidden, in turn; nan where a class has but one.

    Of the classifier alone (no rounds), or of the naming as a whole.
    """
    known = np.flatnonzero(codes != -1)
    least = np.unique(codes[known], return_counts=True)[1].min()
    if least < 2:
        return np.nan
    folds = StratifiedKFold(min(3, least), shuffle=True, random_state=0)
    right = []
    for _, hidden in folds.split(known, codes[known]):
        part, rows = codes.copy(), known[hidden]
        part[rows] = -1
        known_of_fold = classifier, source, source_codes, target, part
        if rounds:
            right.append(_codes(*known_of_fold)[rows] == codes[rows])
            if len(target) > MOST:  # one fold tells enough
                break
        else:
            named = _trained(*known_of_fold, 0).predict(target[rows])
            right.append(named == codes[rows])
    return np.concatenate(right).mean()


def _source_knows(classifier, source, source_codes, target, codes):
    """Whether a classifier of the source is right about the labels as often as chance."""
    known = codes != -1
    model = fitted_classifier(classifier, source, source_codes)
    right = (model.predict(target[known]) == codes[known]).mean()
    return bool(right >= 1 / len(np.unique(source_codes)))


def _trained(classifier, source, source_codes, target, codes, rounds):
    """A classifier of the labels, which names the other rows in some rounds."""
    known = codes != -1
    rows, y = target[known], codes[known]
    n_classes = len(np.unique(y))
    if source is not None:
        times = int(np.clip(len(source) // len(y), 1, HEAVIEST))
        rows = np.concatenate([source, np.repeat(rows, times, axis=0)])
        y = np.concatenate([source_codes, np.repeat(y, times)])
    n_unknown = len(target) - known.sum() if rounds else 0
    model = new_classifier(classifier, len(y) + n_unknown, n_classes)
    if not n_unknown:
        return model.fit(rows, y)
    if not hasattr(model, "predict_proba"):
        model = _ByMargin(model)
    trainer = SelfTrainingClassifier(
        model, criterion="k_best", k_best=-(-n_unknown // rounds), max_iter=rounds - 1
    )
    rows, y = [rows, target[~known]], [y, codes[~known]]
    return trainer.fit(np.concatenate(rows), np.concatenate(y))


class _ByMargin(ClassifierMixin, BaseEstimator):
    """A classifier without probabilities, its margins in the place of them."""

    def __init__(self, classifier):
        self.classifier = classifier

    def fit(self, X, y):
        self.classifier_ = clone(self.classifier).fit(X, y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict(self, X):
        return self.classifier_.predict(X)

    def predict_proba(self, X):
        margin = self.classifier_.decision_function(X)
        if margin.ndim == 1:
            margin = np.stack([-margin, margin], axis=1) / 2
        return softmax(margin, axis=1)
