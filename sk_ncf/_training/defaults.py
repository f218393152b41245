"""Values of the parameters that are "auto"."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

from sk_ncf._flow.potential import default_sharpness
from sk_ncf._training.budget import auto_max_iter, auto_patience
from sk_ncf._training.parameters import TransportParameters

__all__ = [
    "FEW_ROWS",
    "SURE_ROWS",
    "FitSettings",
    "auto_learning_rate",
    "auto_settings",
    "check_layer_sizes",
    "resolve_ensemble_size",
    "resolve_settings",
]


MANY_ROWS = 30_000  # too many for `max_iter` steps to overfit
FEW_ROWS = 1_024  # with fewer rows, the initial map is inaccurate
SURE_ROWS = 3_000  # from these on, what improves the initial map does so clearly
VERY_MANY_ROWS = 1_000_000  # an ensemble would store an index of them per member
FEW_FEATURES = 4  # narrow potentials are wide enough for so many
MAX_WIDTH = 2**16  # of a layer
ROWS_ALIGNED = 8  # of a minibatch, for the same rounding in one process and in several


class FitSettings(NamedTuple):
    """Parameters of a fit, none of them "auto"."""

    hidden_layer_sizes: Sequence[int]
    learning_rate_init: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int


def resolve_settings(
    estimator: TransportParameters, n_samples: float, ensemble_size: int, n_classes: int
) -> FitSettings:
    """The parameters of the estimator, "auto" replaced by :func:`auto_settings`.

    Parameters
    ----------
    estimator : NCFTransport
    n_samples : float
        Distinct rows of each sample (:func:`~sk_ncf._training.budget.balanced_size`).
    ensemble_size : int
    n_classes : int
    """
    shared = estimator.class_conditional == "shared"
    auto = auto_settings(
        n_samples, estimator.n_features_in_, ensemble_size, n_classes, shared
    )
    given = {name: getattr(estimator, name) for name in FitSettings._fields}
    values = {
        name: value
        for name, value in given.items()
        if not (isinstance(value, str) and value == "auto")
    }
    max_iter = values.get("max_iter", auto.max_iter)
    return auto._replace(**{"n_iter_no_change": auto_patience(max_iter), **values})


def auto_settings(
    n_samples: float, n_features: int, ensemble_size: int, n_classes: int, shared: bool
) -> FitSettings:
    """The settings of a fit whose parameters are all "auto".

    With more classes, each potential has less to learn and fewer rows to learn it from:
    the potentials are narrower and the minibatch of each is smaller.
    """
    width = 96 if n_features <= 16 else 128
    depth, batch_size = 4, 256
    if shared:
        width, batch_size = 192, max(32, 512 // n_classes)
    elif n_classes > 1:
        width, depth = (64 if n_classes <= 4 else 48), 3
        batch_size = max(24, batch_size // n_classes // ROWS_ALIGNED * ROWS_ALIGNED)
    elif ensemble_size > 1:
        width, depth, batch_size = (64 if n_features <= FEW_FEATURES else width), 3, 128
    max_iter = auto_max_iter(n_samples)
    patience = auto_patience(max_iter)
    rate = auto_learning_rate(n_features)
    return FitSettings((width,) * depth, rate, batch_size, max_iter, patience)


def auto_learning_rate(n_features: int) -> float:
    r"""0.008 from 8 features on; smaller for fewer.

    The activations are sharper in few dimensions
    (:func:`~sk_ncf._flow.potential.default_sharpness`),
    and so is the loss. The rate is proportional to :math:`1 / \sqrt{4 + 12 / d}`.
    """
    return 8e-3 * min(
        1.0, math.sqrt(default_sharpness(8) / default_sharpness(n_features))
    )


def resolve_ensemble_size(
    estimator: TransportParameters, n_samples: int, n_potentials: int, stream: bool
) -> int:
    """The number of ensemble members.

    Parameters
    ----------
    estimator : NCFTransport
    n_samples : int
        Rows of the larger side; equal rows count once unless they are an atom.
    n_potentials : int
        Number of maps: that of the classes, or 1.
    stream : bool
        Whether the fit is a :meth:`~sk_ncf.NCFTransport.partial_fit`.

    Raises
    ------
    ValueError
        If an ensemble or several maps are asked for that cannot be trained.
    """
    if estimator.potential == "discrete":
        return 1  # no network is trained
    wanted, net = estimator.ensemble_size, estimator.skorch_net
    own_module = net is not None and net.module is not None
    if own_module and n_potentials > 1:
        assert net is not None
        raise ValueError(
            "class_conditional='per_class' needs one potential per class, but skorch_net "
            f"has its own module: {net.module!r}."
        )
    if isinstance(wanted, str):
        single = stream or own_module or estimator.class_conditional
        return 1 if single else _auto_ensemble_size(n_samples, estimator.n_features_in_)
    if own_module and wanted > 1:
        raise ValueError(
            "ensemble_size must be 1 or 'auto' if skorch_net has its own module, got "
            f"{wanted!r}."
        )
    if estimator.class_conditional == "shared" and wanted > 1:
        raise ValueError(
            "ensemble_size must be 1 or 'auto' for class_conditional='shared', got "
            f"{wanted!r}."
        )
    return wanted


def _auto_ensemble_size(n_samples: int, n_features: int) -> int:
    """The ensemble size for n distinct rows without classes.

    A potential overfits rows that it sees often. Members with other weights and other
    training rows overfit differently, so their mean overfits less. In few dimensions
    several narrow potentials cost no more time than one wide potential, and the result
    depends less on the seed.
    """
    limit = VERY_MANY_ROWS if n_features <= FEW_FEATURES else MANY_ROWS
    return 4 if n_samples < limit else 1


def check_layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes as a tuple.

    Raises
    ------
    ValueError
        If they are not equal positive integers.
    """
    sizes = tuple(sizes)
    valid = sizes and all(isinstance(w, Integral) and 0 < w <= MAX_WIDTH for w in sizes)
    if not valid or len(set(sizes)) > 1:
        raise ValueError(
            "hidden_layer_sizes must be 'auto' or equal positive integers (the layers "
            f"are residual), at most {MAX_WIDTH}, got {sizes!r}."
        )
    return sizes
