"""The callbacks of a fit, in the order in which skorch calls them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from skorch.callbacks import Callback, PrintLog

from sk_ncf._training.callbacks.early_choice import EarlyChoice
from sk_ncf._training.callbacks.gradient_clipping import ClipPerPotential
from sk_ncf._training.callbacks.learning_rate import LinearDecay
from sk_ncf._training.callbacks.model_selection import ModelSelection, Stop
from sk_ncf._training.callbacks.progress import ProgressBar, TaskEvents, print_line
from sk_ncf._training.callbacks.weight_average import WeightAverage
from sk_ncf._training.checkpoint.callback import Checkpoint
from sk_ncf._training.defaults import FEW_ROWS, SURE_ROWS, FitSettings
from sk_ncf._training.parameters import TransportParameters
from sk_ncf.objectives import SemiDual
from sk_ncf.objectives._registry import make_objective

__all__ = [
    "early_callbacks",
    "late_callbacks",
    "make_model_selection",
    "remove_single_fit_callbacks",
]

# Names of callbacks that are removed afterwards.
SINGLE_FIT = ("sklearn", "checkpoint", "early_choice")
# Of callbacks and of pairs of a name and one, as skorch takes them.
Callbacks = list[Any]


def make_model_selection(
    estimator: TransportParameters,
    settings: FitSettings,
    n_rows: np.ndarray,
    stream: bool,
) -> ModelSelection:
    """The callback that selects weights and ends the training, with its schedule.

    Parameters
    ----------
    estimator : NCFTransport
    settings : FitSettings
    n_rows : ndarray of int, shape (K,)
        Training rows of every class.
    stream : bool
        Whether the fit is a :meth:`~sk_ncf.NCFTransport.partial_fit`, which takes one
        pass over the rows and does not stop early.
    """
    few = n_rows.max() < FEW_ROWS
    sure = n_rows.min() >= SURE_ROWS and not stream
    # The risk is what this objective minimises.
    by_risk = isinstance(make_objective(estimator.objective), SemiDual)
    return ModelSelection(
        LinearDecay(None if stream else settings.max_iter),
        WeightAverage(),
        settings.n_iter_no_change,
        estimator.tol,
        estimator.early_stopping and not stream,
        margin=1.0,
        doubt=0.5 if few else 2.0 if sure else 1.0,
        rescale=few and estimator.early_stopping and not stream and by_risk,
    )


def early_callbacks(
    estimator: TransportParameters, risk: ModelSelection, n_epochs: int | None
) -> Callbacks:
    """The package's callbacks, then those of the user and of scikit-learn.

    Parameters
    ----------
    estimator : NCFTransport
    risk : ModelSelection
    n_epochs : int or None
        Most epochs of the fit; None for a :meth:`~sk_ncf.NCFTransport.partial_fit`, of
        which scikit-learn's callbacks are not told.

    Raises
    ------
    ValueError
        If one of the estimator's callbacks is not a skorch callback.
    """
    callbacks: Callbacks = [
        ("schedule", risk.schedule),
        ("clip", ClipPerPotential()),
        ("average", risk.average),
        ("held_out_risk", risk),
    ]
    if estimator.verbose:
        callbacks.append(("progress", ProgressBar(risk)))
    if estimator.verbose > 1:
        callbacks.append(("log", PrintLog(sink=print_line)))
    callbacks += _checked(estimator.callbacks or [])
    if n_epochs is not None and hasattr(estimator, "_init_callback_context"):
        context = estimator._init_callback_context(max_subtasks=n_epochs)
        callbacks.append(("sklearn", TaskEvents(estimator, context)))
    return callbacks


def late_callbacks(
    risk: ModelSelection, choice: EarlyChoice | None, checkpoint: Checkpoint | None
) -> Callbacks:
    """Callbacks that are called after all others, those of the user's net included."""
    named = ("early_choice", choice), ("checkpoint", checkpoint), ("stop", Stop(risk))
    return [(name, callback) for name, callback in named if callback is not None]


def remove_single_fit_callbacks(callbacks: Callbacks) -> None:
    """Remove in place the callbacks that hold on to the estimator or to files."""
    callbacks[:] = [c for c in callbacks if not _is_single_fit(c)]


def _is_single_fit(callback: Any) -> bool:
    return isinstance(callback, tuple) and callback[0] in SINGLE_FIT


def _checked(callbacks: Iterable[Any]) -> Callbacks:
    callbacks = list(callbacks)
    for callback in callbacks:
        bare = callback[-1] if isinstance(callback, tuple) and callback else callback
        kind = bare if isinstance(bare, type) else type(bare)
        if not issubclass(kind, Callback):
            raise ValueError(
                "callbacks must be skorch callbacks or pairs of a name and one, got "
                f"{callback!r}."
            )
    return callbacks
