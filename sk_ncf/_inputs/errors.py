"""What leaves the package says whose value was wrong, whoever noticed."""

import re
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np

__all__ = [
    "LARGEST",
    "LARGEST_SETTING",
    "as_array",
    "as_generator",
    "check_finite",
    "check_size",
    "is_number",
    "named",
]

LARGEST_SETTING = 1e30  # weights, rates, tolerances: finite in float32 when squared
LARGEST = 1e100  # of values: their squares, summed up, are floating-point numbers too


@contextmanager
def named(name):
    """Errors of others' checks, as ValueError or TypeError that say whose value it was.

    NumPy's warnings on the way to such an error are silenced.

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


def as_array(name, value, dtype=None):
    """`value` as an array, or an error that names it."""
    with named(name):
        # By way of objects, a NaN among strings stays a NaN.
        array = np.asarray(value, dtype=object if dtype is object else None)
        if dtype is not None and array.dtype.kind == "c":
            raise ValueError("must be real numbers, got complex ones.")
        return array.astype(dtype or array.dtype, copy=False)


def as_generator(random_state):
    """NumPy's generator of a seed; NumPy itself crashes on some values."""
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


def is_number(value, low, high):
    """Whether `value` is a real number in [low, high]."""
    try:
        return isinstance(value, Real) and low <= float(value) <= high
    except OverflowError:
        return False


def check_size(name, rows):
    """Raise where rows, of at least one value, hold any above LARGEST in size."""
    most = max(float(rows.max()), -float(rows.min())) if rows.size else 0.0
    if most > LARGEST:
        raise ValueError(
            f"{name} must hold values of at most {LARGEST:g} in size, got {most:g}: the "
            "cost is a power of their differences."
        )


def check_finite(values, what):
    """The values, or an error where any of them has overflowed."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} is beyond floating-point numbers for some rows: they are too far "
            "from those of the fit, or from each other, for this cost and data type."
        )
    return values
