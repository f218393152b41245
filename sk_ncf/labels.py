"""Class labels: what is known, what is missing, and a class for every row."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter

from sk_ncf.errors import as_array

__all__ = [
    "checked_labels",
    "common_classes",
    "encoded",
    "fitted_classifier",
    "known_labels",
    "new_classifier",
]

MANY = 20_000  # rows beyond which a support vector machine takes minutes
MANY_CLASSES = 50  # beyond which one for each pair of classes does


def checked_labels(name, labels, n):
    """Labels as an array of objects of shape (n,), None where they are missing.

    Missing is -1, NaN, None or pandas' NA. Integers, strings, booleans and pandas
    categoricals are labels; numbers that are no integers are not.
    """
    values = _one_dimensional(name, labels, n)
    kept = np.array([not _is_missing(value) for value in values], dtype=bool)
    known = values[kept]
    _check_kind(name, known)
    out = np.full(n, None, dtype=object)
    out[kept] = known
    return out


def _one_dimensional(name, labels, n):
    mixed = isinstance(labels, list | tuple)  # or a NaN among strings becomes "nan"
    values = as_array(name, labels, object if mixed else None)
    if values.ndim == 0:
        raise ValueError(f"{name} must have shape ({n},), got {labels!r}.")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {values.shape}.")
    return np.array([_plain(value) for value in values], dtype=object)


def _plain(value):
    """Python's own type; a whole number is that integer, as in y = [0., 1.]."""
    value = value.item() if isinstance(value, np.generic) else value
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _is_missing(value):
    if value is None or isinstance(value, str | bytes):
        return value is None
    try:
        return bool(value != value) or (value == -1 and value is not True)
    except TypeError:  # pandas' NA has no truth value
        return True


def _kind(value):
    for kind, name in ((str, "string"), (bool, "boolean"), (Real, "number")):
        if isinstance(value, kind):
            return name
    return type(value).__name__


def _check_kind(name, known):
    kinds = sorted({_kind(value) for value in known})
    if len(kinds) > 1:
        raise ValueError(
            f"{name} must hold labels of one kind, got a mixture of {kinds}."
        )
    if not {*kinds} <= {"string", "boolean", "number"}:
        raise ValueError(
            f"{name} must hold integers, strings or booleans, got {known[0]!r}."
        )
    if kinds == ["number"] and not all(isinstance(v, Integral) for v in known):
        raise ValueError(
            f"{name} must hold class labels where class_conditional is set, got "
            "continuous values. Unknown label type: bin a regression target first, "
            "with sklearn.preprocessing.KBinsDiscretizer or numpy.digitize."
        )


def common_classes(source, target):
    """The classes, sorted, of shape (K,): the same on both sides.

    Parameters
    ----------
    source, target : ndarray of object
        Checked labels; None for the side that is a distribution.
    """
    side, labels = ("target", target) if source is None else ("source", source)
    n_missing = int(np.equal(labels, None).sum())
    if n_missing:
        raise ValueError(
            f"y has {n_missing} missing labels (-1, NaN or None) among the {side} rows: "
            f"class_conditional needs the class of every {side} row."
        )
    classes = np.unique(labels.tolist())
    if source is None or target is None:
        return classes
    there = set(classes.tolist()), set(known_labels(target))
    if there[0] != there[1]:
        only = [sorted(a - b, key=str) for a, b in (there, there[::-1])]
        raise ValueError(
            "The classes of both sides must be the same. Only in the source (y): "
            f"{_listed(only[0])}; only in the target (y_target): {_listed(only[1])}."
        )
    return classes


def known_labels(target):
    """Those of the labels of the target rows that are not missing, at least one."""
    known = target[~np.equal(target, None)].tolist()
    if not known:
        raise ValueError(
            "y_target has no known label: class_conditional needs at least one target "
            "row of every class with its label. Without any, use class_conditional="
            "False, which maps all rows alike."
        )
    return known


def _listed(values, at_most=20):
    more = f" and {len(values) - at_most} more" if len(values) > at_most else ""
    return f"{values[:at_most]}{more}"


def encoded(name, labels, classes):
    """Numbers of the classes, shape (n,), -1 where the label is missing."""
    number = {value: k for k, value in enumerate(classes.tolist())}
    codes = np.array([-1 if v is None else number.get(v, -2) for v in labels], int)
    if (codes == -2).any():
        unknown = sorted(set(labels[codes == -2]), key=str)
        raise ValueError(
            f"{name} must be among the classes of the fit, {_listed(classes.tolist())}, "
            f"got {_listed(unknown)}."
        )
    return codes


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
