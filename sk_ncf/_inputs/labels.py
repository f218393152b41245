"""Validation of class labels."""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from sk_ncf._inputs.errors import as_array

__all__ = ["checked_labels"]


def checked_labels(name: str, labels: Any, n: int) -> np.ndarray:
    """Labels as an array of objects of shape (n,), None where one is missing.

    Missing labels are -1, NaN, None and pandas' NA. Integers, strings, booleans and
    pandas categoricals are labels. Numbers that are not whole raise an error.
    """
    values = _one_dimensional(name, labels, n)
    is_label = np.array([not _is_missing(value) for value in values], dtype=bool)
    given = values[is_label]
    _check_kind(name, given)
    out = np.full(n, None, dtype=object)
    out[is_label] = given
    return out


def _one_dimensional(name: str, labels: Any, n: int) -> np.ndarray:
    mixed = isinstance(labels, list | tuple)  # NumPy makes a NaN among strings "nan"
    values = as_array(name, labels, object if mixed else None)
    if values.ndim == 0:
        raise ValueError(f"{name} must have shape ({n},), got {labels!r}.")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {values.shape}.")
    return np.array([_python_value(value) for value in values], dtype=object)


def _python_value(value: Any) -> Any:
    """A plain Python value; a whole float becomes an integer, as in y = [0., 1.]."""
    value = value.item() if isinstance(value, np.generic) else value
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _is_missing(value: Any) -> bool:
    if value is None or isinstance(value, str | bytes):
        return value is None
    try:
        return bool(value != value) or (value == -1 and value is not True)
    except TypeError:  # pandas' NA has no truth value
        return True


def _kind(value: Any) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (str, "string"),
        (bool, "boolean"),
        (Real, "number"),
    )
    for kind, name in kinds:
        if isinstance(value, kind):
            return name
    return type(value).__name__


def _check_kind(name: str, given: Iterable[Any]) -> None:
    given = list(given)
    kinds = sorted({_kind(value) for value in given})
    if len(kinds) > 1:
        raise ValueError(
            f"{name} must hold labels of one kind, got a mixture of {kinds}."
        )
    if not {*kinds} <= {"string", "boolean", "number"}:
        raise ValueError(
            f"{name} must hold integers, strings or booleans, got {given[0]!r}."
        )
    if kinds == ["number"] and not all(isinstance(v, Integral) for v in given):
        raise ValueError(
            f"{name} must hold class labels, got "
            "continuous values. Unknown label type: bin a regression target first, "
            "with sklearn.preprocessing.KBinsDiscretizer or numpy.digitize."
        )
