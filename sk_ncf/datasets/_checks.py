"""Checks of the parameters of the data sets."""

from numbers import Integral
from typing import Any

__all__ = ["check_counts"]

LARGEST_COUNT = 2**40  # rows or features


def check_counts(**counts: Any) -> None:
    """Raise if a number of rows or features is not a positive integer."""
    for name, n in counts.items():
        if not (isinstance(n, Integral) and 1 <= int(n) <= LARGEST_COUNT):
            raise ValueError(
                f"{name} must be an integer in [1, {LARGEST_COUNT}], got {n!r}."
            )
