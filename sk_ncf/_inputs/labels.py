"""Validation of class labels."""

from numbers import Integral, Real

import numpy as np

from sk_ncf._inputs.errors import as_array

__all__ = ["checked_labels"]


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
