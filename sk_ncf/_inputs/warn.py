"""Warnings that point to the line of the user's code."""

import inspect
import warnings
from pathlib import Path

import sklearn

__all__ = ["warn"]

# The package and what calls its methods on behalf of the user.
SKIPPED = (
    str(Path(__file__).parents[1]),
    str(Path(sklearn.__file__).parent),
    str(Path(inspect.__file__).parent / "contextlib.py"),
)


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the first line outside of this package and scikit-learn.

    Parameters
    ----------
    message : str or Warning
    category : type, default=UserWarning
        Ignored for a message that is a Warning.
    """
    frame, stacklevel = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(SKIPPED):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel if frame else 2)
