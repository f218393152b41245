"""Classifiers that predict the class of unlabelled rows."""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from sk_ncf._inputs.types import Classifier

__all__ = ["fitted_classifier", "new_classifier"]


MAX_ROWS_SVC = 20_000  # a support vector machine takes minutes above
MAX_CLASSES_SVC = 50  # it fits one machine for every pair of classes


def fitted_classifier(
    classifier: Classifier | None,
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray | None = None,
) -> Any:
    """A clone of `classifier`, or of the default one, fitted to rows and classes."""
    unfitted = new_classifier(classifier, len(X), len(np.unique(y)))
    if weight is not None and has_fit_parameter(unfitted, "sample_weight"):
        return unfitted.fit(X, y, sample_weight=weight * (len(X) / weight.sum()))
    return unfitted.fit(X, y)


def new_classifier(classifier: Classifier | None, n_rows: int, n_classes: int) -> Any:
    """A clone of `classifier`; if None, one that is fast for so many rows."""
    # Imported here: they take a second that a fit without classes need not wait for.
    if n_classes == 1:  # most classifiers raise an error
        from sklearn.dummy import DummyClassifier

        return DummyClassifier(strategy="most_frequent")
    if classifier is not None:
        return clone(classifier)
    if n_classes > MAX_CLASSES_SVC:
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(weights="distance")
    if n_rows <= MAX_ROWS_SVC:
        from sklearn.svm import SVC

        # With random_state=None it would draw from NumPy's global generator.
        return SVC(C=10, random_state=0)
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0)
