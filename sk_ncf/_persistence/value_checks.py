"""Checks of single values of a file."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sk_ncf._persistence.classifiers import ModelFileError

__all__ = ["checked_array", "checked_float", "checked_int"]


def checked_array(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    kind: str | DTypeLike = np.float32,
) -> np.ndarray:
    """An array of finite numbers.

    Parameters
    ----------
    name : str
        For the message.
    value : object
    shape : tuple of int or None
        None allows any positive length of that axis.
    kind : str or dtype
        The dtype, or the letter of its kind, such as "f".

    Raises
    ------
    ModelFileError
        If it is not such an array.
    """
    valid = isinstance(value, np.ndarray) and value.ndim == len(shape)
    valid = valid and all(
        n > 0 if wanted is None else n == wanted
        for n, wanted in zip(value.shape, shape, strict=True)
    )
    valid = valid and (value.dtype.kind == kind or value.dtype == kind)
    if not valid:
        got = value
        if isinstance(value, np.ndarray):
            got = f"shape {value.shape} of {value.dtype}"
        raise ModelFileError(f"{name} must be numbers of shape {shape}, got {got}")
    if not np.isfinite(value).all():
        raise ModelFileError(f"{name} must be finite, got NaN or infinity")
    return value


def checked_int(name: str, value: Any, least: int) -> int:
    """An integer of at least `least`.

    Raises
    ------
    ModelFileError
        If it is not one.
    """
    if type(value) is not int or not least <= value < 2**53:
        raise ModelFileError(f"{name} must be an integer >= {least}, got {value!r}")
    return value


def checked_float(
    name: str, value: Any, positive: bool = False, allow_nan: bool = False
) -> float:
    """A finite number, positive or NaN if the arguments say so.

    Raises
    ------
    ModelFileError
        If it is not one.
    """
    number = isinstance(value, float) and (
        np.isfinite(value) or (allow_nan and value != value)
    )
    if not number or (positive and not value > 0):
        raise ModelFileError(f"{name} must be a finite number, got {value!r}")
    return value
