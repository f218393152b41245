"""Classifiers that predict the class of unlabelled rows."""

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter

__all__ = ["fitted_classifier", "new_classifier"]


MANY = 20_000  # rows beyond which a support vector machine takes minutes
MANY_CLASSES = 50  # beyond which one for each pair of classes does


def fitted_classifier(classifier, X, y, weight=None):
    """A clone of `classifier`, or the default one, fitted to rows and their classes."""
    unfitted = new_classifier(classifier, len(X), len(np.unique(y)))
    if weight is not None and has_fit_parameter(unfitted, "sample_weight"):
        return unfitted.fit(X, y, sample_weight=weight * (len(X) / weight.sum()))
    return unfitted.fit(X, y)


def new_classifier(classifier, n_rows, n_classes):
    """A clone of `classifier`; None is one that takes seconds for so many rows."""
    if n_classes == 1:  # most classifiers refuse
        return DummyClassifier(strategy="most_frequent")
    if classifier is not None:
        return clone(classifier)
    if n_classes > MANY_CLASSES:
        return KNeighborsClassifier(weights="distance")
    if n_rows <= MANY:
        return SVC(C=10, random_state=0)  # or it takes a number of the global generator
    return HistGradientBoostingClassifier(random_state=0)
