"""Checks of single values, with error messages that name the argument."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

__all__ = [
    "LARGEST",
    "LARGEST_SETTING",
    "as_array",
    "as_generator",
    "check_finite",
    "check_size",
    "errors_mention",
    "is_number",
]

LARGEST_SETTING = 1e30  # weights, rates, tolerances: finite in float32 when squared
LARGEST = 1e100  # of values: their squares, summed up, are floating-point numbers too

FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)


@contextmanager
def errors_mention(name: str) -> Iterator[None]:
    """Turn errors of other libraries into errors that mention the argument `name`.

    They become ValueError or TypeError. NumPy's floating-point warnings are silenced.

    Yields
    ------
    None
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        text = str(error)
        documented = isinstance(error, TypeError | ValueError)
        if documented and re.search(rf"\b{name}\b", text.partition("\n")[0]):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {text}") from error


def as_array(name: str, value: Any, dtype: DTypeLike | None = None) -> np.ndarray:
    """`value` as an array, or an error that mentions `name`."""
    with errors_mention(name):
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            raise ValueError("must have no masked values, got a masked array.")
        # As objects, because NumPy turns a NaN among strings into the string "nan".
        array = np.asarray(value, dtype=object if dtype is object else None)
        if dtype is not None and array.dtype.kind == "c":
            raise ValueError("must be real numbers, got complex ones.")
        return array.astype(dtype or array.dtype, copy=False)


def as_generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    """NumPy's generator for a seed.

    The seed is checked first, because NumPy crashes the interpreter on some values.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None or (
        isinstance(random_state, Integral) and random_state >= 0
    ):
        return np.random.default_rng(random_state)
    raise ValueError(
        "random_state must be an integer >= 0, a numpy.random.Generator or None, got "
        f"{random_state!r}."
    )


def is_number(value: Any, low: float, high: float) -> bool:
    """Whether `value` is a real number in [low, high]."""
    try:
        return isinstance(value, Real) and low <= float(value) <= high
    except OverflowError:
        return False


def check_size(name: str, rows: np.ndarray) -> None:
    """Raise if any absolute value is above LARGEST; no rows are fine."""
    most = max(float(rows.max()), -float(rows.min())) if rows.size else 0.0
    if most > LARGEST:
        raise ValueError(
            f"{name} must hold values of at most {LARGEST:g} in size, got {most:g}: the "
            "cost is a power of their differences."
        )


def check_finite(values: FloatOrArray, what: str) -> FloatOrArray:
    """The values; an error if any of them has overflowed."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} overflows for some rows: they are too far from the rows of the "
            "fit, or from each other, for this cost and data type."
        )
    return values
