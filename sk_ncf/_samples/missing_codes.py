"""Codes of missing values, such as -9999: single values far outside all others.

They are no measurements. They would determine the mean, the scale and the covariances of
their column, and nothing would be seen of the other values beside them. Zero is no code:
amounts and durations are zero where nothing happened, and such rows are to be mapped.
"""

import numpy as np

from sk_ncf._flow.affine_map import MISSING_DISTANCE
from sk_ncf._flow.moments import evenly_spaced
from sk_ncf._samples.sample import RowView

__all__ = ["MAX_SHARE", "coded_rows"]

WIDTH = 1e-3  # times this range: that of the codes, which may have been rounded
MIN_ROWS = 16  # distinct ones; among fewer there are no codes
MAX_SHARE = 0.5  # of the weight, which the rows with a code do not exceed
MAX_ROWS = 65536  # among which codes are searched for


def coded_rows(
    X: np.ndarray | RowView, weight: np.ndarray, most: float = MAX_SHARE
) -> np.ndarray:
    """Mask of the rows with a code in some column, shape (n,).

    Columns with more codes than `most` allows are left as they are.

    Parameters
    ----------
    X : ndarray or RowView of shape (n, d)
    weight : ndarray of shape (n,)
        Positive.
    most : float, default=0.5
        Largest share of the weight that these rows may have.
    """
    coded = np.zeros(len(weight), dtype=bool)
    if len(weight) < MIN_ROWS:
        return coded
    some = evenly_spaced(len(weight), MAX_ROWS)
    share = weight[some] / weight[some].sum()
    subsample = np.asarray(X[some])
    found = []
    for j in range(X.shape[1]):
        low, high = _limits(subsample[:, j].astype(np.float64), share)
        if np.isfinite([low, high]).any():
            column = _column(X, j)
            mask = (column < low) | (column > high)
            found.append((float(weight[mask].sum()), mask))
    for _, mask in sorted(found, key=lambda pair: pair[0]):
        if weight[coded | mask].sum() <= most * weight.sum():
            coded |= mask
    return coded


def _column(X: np.ndarray | RowView, j: int) -> np.ndarray:
    return np.asarray(X.base[X.index, j] if isinstance(X, RowView) else X[:, j])


def _limits(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Values below the first or above the second are codes.

    Parameters
    ----------
    values : ndarray of shape (n,)
    weight : ndarray of shape (n,)
        Sums to one.
    """
    order = np.argsort(values, kind="stable")
    values, below, n = values[order], np.cumsum(weight[order])[:-1], len(values)
    with np.errstate(over="ignore"):
        gaps = np.diff(values)
    if not gaps.any():
        return -np.inf, np.inf
    # The widest gaps with less than half of the weight below them, and above them.
    i = 1 + int(np.where(below < MAX_SHARE, gaps, -1.0).argmax())
    j = 1 + int(np.where(below > 1 - MAX_SHARE, gaps, -1.0).argmax())
    for start, stop in ((i, j), (i, n), (0, j)):
        codes = [part for part in (values[:start], values[stop:]) if len(part)]
        rest = values[start:stop]
        if len(rest) > 1 and codes and all(_is_code(part, rest) for part in codes):
            low = (values[start - 1] + rest[0]) / 2 if start else -np.inf
            return low, (values[stop] + rest[-1]) / 2 if stop < n else np.inf
    return -np.inf, np.inf


def _is_code(values: np.ndarray, rest: np.ndarray) -> bool:
    """Whether sorted values are almost equal, and far from all others, which are not.

    Not if they are almost zero.
    """
    width = rest[-1] - rest[0]
    distance = max(values[0] - rest[-1], rest[0] - values[-1])
    narrow = values[-1] - values[0] <= WIDTH * width
    is_zero = values[0] - WIDTH * width <= 0 <= values[-1] + WIDTH * width
    return bool(narrow and not is_zero and 0 < MISSING_DISTANCE * width <= distance)
