"""Clones of any classifier, fitted to class indices and weights."""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from sk_ncf._classes.pseudo_label_rounds import MAX_LABEL_WEIGHT
from sk_ncf._inputs.types import Classifier
from sk_ncf._inputs.validation import checked_weight

__all__ = ["CodeFitter", "fit_with_weights"]


def fit_with_weights(
    estimator: Classifier, X: np.ndarray, y: np.ndarray, weight: Any
) -> Any:
    """A clone of `estimator` fitted to rows (n, d), classes (n,) and weights (n,).

    If it takes no weights, they must be whole numbers, and rows are repeated.
    """
    unfitted = clone(estimator)
    if weight is None or has_fit_parameter(unfitted, "sample_weight"):
        weights = {} if weight is None else {"sample_weight": weight}
        return unfitted.fit(X, y, **weights)
    times = checked_weight("sample_weight", weight, len(X))
    if (times != np.floor(times)).any():
        raise ValueError(
            "sample_weight must hold whole numbers, because the estimator takes no "
            f"weights and its rows are repeated, got {times[times % 1 > 0][0]} for "
            f"{estimator!r}."
        )
    return unfitted.fit(*(np.repeat(a, times.astype(int), axis=0) for a in (X, y)))


class CodeFitter:
    """Fits clones of a classifier to rows, class indices and weights.

    Attributes
    ----------
    max_label_weight : int
        Weight of a labelled target row, if a source row has weight 1: more than 1 only
        if the classifier, or the last step of a pipeline, takes weights. To neighbours,
        for example, a repeated row would be several of them.
    """

    def __init__(self, estimator: Classifier, classes: np.ndarray) -> None:
        self.estimator, self.classes = estimator, classes
        last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
        weighs = has_fit_parameter(last, "sample_weight")
        self.max_label_weight = MAX_LABEL_WEIGHT if weighs else 1

    def fitted(self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> Any:
        """The classifier, which predicts classes; equal weights are not passed."""
        equal = np.ptp(weight) == 0
        y = self.classes[codes]
        return fit_with_weights(self.estimator, X, y, None if equal else weight)

    def __call__(
        self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray
    ) -> "_PredictsCodes":
        return _PredictsCodes(self.fitted(X, codes, weight), self.classes)


class _PredictsCodes:
    """A fitted classifier that predicts indices of the classes."""

    def __init__(self, classifier: Any, classes: np.ndarray) -> None:
        self.classifier, self.classes = classifier, classes

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes, self.classifier.predict(X))
