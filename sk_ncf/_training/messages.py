"""The warnings of a fit."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sk_ncf._samples.atoms import REPORTED_SHARE, SPLIT_MESSAGE
from sk_ncf._samples.outliers import OutlierWarning
from sk_ncf._training.fit_result import FitResult
from sk_ncf.diagnostics import MapQualityWarning

__all__ = ["fit_warnings"]

STOP_MESSAGES = {  # by stop reason
    "diverged": (
        "Training diverged after {n_iter} steps. The weights of step {best_iter} are "
        "used (step 0 is the initial map, see map_kind_). Try a smaller "
        "learning_rate_init."
    ),
    "interrupted": (
        "Training was interrupted after {n_iter} steps. The best weights until then are "
        "used, those of step {best_iter}."
    ),
}
REPORTED_VARIANCE = 0.1  # share of the outliers in the variance of a feature
KINDS = {
    "gaussian": "the Gaussian map (of the means and covariances)",
    "mean_shift": "the mean shift",
    "identity": "the identity",
}


class Session(Protocol):
    """The results of a :class:`~sk_ncf._training.fit_session.FitSession` used here."""

    stream: bool
    n_new_outliers: np.ndarray
    outlier_variance: float
    weight_to_split: float | None


def fit_warnings(
    session: Session, result: FitResult
) -> Iterator[tuple[str, type[Warning]]]:
    """Messages and categories of the warnings of a finished fit.

    Parameters
    ----------
    session : FitSession
    result : FitResult

    Yields
    ------
    message : str
    category : type of Warning
    """
    if session.outlier_variance > REPORTED_VARIANCE:
        source, target = session.n_new_outliers
        message = (
            f"{source} source and {target} target rows lie far outside the rest and "
            "were left out of the fit. Check them first: they may be errors in the "
            "data, or codes of missing values such as -9999. They are mapped like all "
            "other rows."
        )
        yield message, OutlierWarning
    if result.stop_reason in STOP_MESSAGES:
        steps = result.best_iter.tolist()
        step = steps[0] if len(steps) == 1 else steps
        message = STOP_MESSAGES[result.stop_reason]
        yield message.format(n_iter=result.n_iter, best_iter=step), ConvergenceWarning
    elif not session.stream and _keeps_initial_map(result).any():
        yield _initial_map_message(result), ConvergenceWarning
    share = session.weight_to_split or 0.0
    if share >= REPORTED_SHARE:
        message = SPLIT_MESSAGE.format(share=share, side="source", other="target")
        yield message, MapQualityWarning


def _keeps_initial_map(result: FitResult) -> np.ndarray:
    """Mask of the classes with enough rows whose map is the initial one."""
    single = len(result.map_kind) == 1
    initial = np.isin(result.map_kind, list(KINDS))
    return np.asarray(initial & (single | ~result.small))


def _initial_map_message(result: FitResult) -> str:
    kept = _keeps_initial_map(result)
    maps = " or ".join(KINDS[kind] for kind in sorted(set(result.map_kind[kept])))
    classes = "" if len(kept) == 1 else f" for {kept.sum()} of {len(kept)} classes"
    reason = f"nothing in {result.n_iter} steps of training was better on held-out rows"
    if result.stop_reason == "too_few_rows":
        reason = "there are too few rows to train on"
    return f"The fit returns {maps}{classes} (map_kind_): {reason}."
