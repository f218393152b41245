"""What training reads of the estimator."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Literal, Protocol

from numpy.typing import ArrayLike
from skorch import NeuralNet

from sk_ncf._inputs.types import Device, Seed
from sk_ncf.costs import Cost
from sk_ncf.objectives import Objective

__all__ = ["Auto", "TransportParameters"]

Auto = Literal["auto"]


class TransportParameters(Protocol):
    """The parameters of an estimator that a fit reads, all of them validated.

    They are those of :class:`~sk_ncf.NCFTransport`, with the fitted `cost_` and
    `n_features_in_`.
    """

    objective: Literal["semi_dual", "mmd"] | Objective
    class_conditional: bool | Literal["per_class", "shared"]
    output_distribution: Literal["normal", "uniform"] | Callable[..., ArrayLike]
    potential: Literal["auto", "network", "discrete"]
    max_potential_rows: int
    ensemble_size: int | Auto
    hidden_layer_sizes: Sequence[int] | Auto
    batch_size: int | Auto
    learning_rate_init: float | Auto
    max_iter: int | Auto
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int | Auto
    tol: float
    skorch_net: NeuralNet | None
    callbacks: Sequence[Any] | None
    device: Device
    n_jobs: int | None
    checkpoint_dir: str | PathLike | None
    verbose: int
    random_state: Seed
    cost_: Cost
    n_features_in_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name."""
        ...
