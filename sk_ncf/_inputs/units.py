"""Source and target rows in units that do not go together."""

from typing import Any

import numpy as np

from sk_ncf._inputs.warn import warn

__all__ = ["warn_of_units"]

MAX_ROWS = 65536  # that are looked at
MIN_ROWS = 16  # with fewer nothing is compared
EXACT = 1e-4  # deviation of means from 0 and standard deviations from 1, if scaled
FAR = 10.0  # ratio of a deviation to 1, if that of all features is far from 1
FAR_MEDIAN = 30.0  # of a feature, in standard deviations
ORDERS = 1000.0  # ratio of the spreads of every feature

ADVICE = (
    "Scale both alike: in a pipeline by transform_input=['X_target'] (with metadata "
    "routing), or before the pipeline."
)


def warn_of_units(source: np.ndarray, target: np.ndarray) -> None:
    """Warn if only one of the samples has been scaled, or their units differ.

    Parameters
    ----------
    source, target : ndarray of shape (n, d) and (m, d)
        No rows for a distribution.
    """
    if min(len(source), len(target)) < MIN_ROWS:
        return
    source, target = _some_rows(source), _some_rows(target)
    for name, other, X, Y in (
        ("source", "target", source, target),
        ("target", "source", target, source),
    ):
        if _is_standardized(X) and not _is_near_standardized(Y):
            warn(
                f"Every feature of the {name} rows has mean 0 and standard deviation 1, "
                f"but the {other} rows are far from that: it seems that only one of them "
                f"was scaled. {ADVICE}"
            )
            return
    low, high = (_spread_ratio(source, target, f) for f in (np.min, np.max))
    if low > ORDERS or high < 1 / ORDERS:
        warn(
            "Every feature of the source rows and of the target rows differs in scale by "
            f"more than a factor of {ORDERS:g}: their units seem to differ. {ADVICE}"
        )


def _some_rows(X: np.ndarray) -> np.ndarray:
    """All rows if they are not too many; they are copied, in float64."""
    return np.asarray(X[:MAX_ROWS], dtype=np.float64)


def _is_standardized(X: np.ndarray) -> bool:
    if len(X) == MAX_ROWS:  # not all rows
        return False
    mean, deviation = X.mean(axis=0), X.std(axis=0)
    return bool((np.abs(mean) < EXACT).all() and (np.abs(deviation - 1) < EXACT).all())


def _is_near_standardized(X: np.ndarray) -> bool:
    """Also if it was scaled like the other sample, and its distribution has shifted."""
    median, deviation = np.median(X, axis=0), X.std(axis=0)
    far = (deviation > FAR) | (deviation < 1 / FAR)
    return not (far.all() or (np.abs(median) > FAR_MEDIAN).any())


def _spread_ratio(X: np.ndarray, Y: np.ndarray, extreme: Any) -> float:
    """Largest or smallest ratio of the spreads of a feature; 1 if a feature has none."""
    spreads = [np.ptp(np.quantile(Z, [0.05, 0.95], axis=0), axis=0) for Z in (X, Y)]
    if not min(spread.min() for spread in spreads) > 0:
        return 1.0
    return float(extreme(spreads[1] / spreads[0]))
