"""The results of a fit session: with training, without, and of a discrete potential."""

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import BasePotential
from sk_ncf._flow.preconditioner import common_cost
from sk_ncf._flow.separable_potential import PotentialSum
from sk_ncf._training.callbacks.early_choice import EarlyChoice
from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.compression import (
    BATCH_SIZE,
    EVERY_ROW,
    SMOOTHING,
    compressed,
    n_compression_steps,
)
from sk_ncf._training.defaults import auto_learning_rate
from sk_ncf._training.discrete_flow import discrete_flow
from sk_ncf._training.fit_result import FitResult
from sk_ncf._training.initialization import one_of_each
from sk_ncf._training.minibatches import PairSampler
from sk_ncf._training.potential_choice import Comparison, compare_potentials
from sk_ncf._training.quantile_choice import with_quantile_maps
from sk_ncf._training.trainer import Trainer

if TYPE_CHECKING:
    from sk_ncf._training.fit_session import FitSession

__all__ = [
    "discrete_result",
    "early_choice",
    "result_without_training",
    "trained_result",
]

# Fraction of mapped rows outside the support that ends the training early. Smooth maps
# have at most half of it after a fifth of the steps, discontinuous ones 0.1 to 0.2.
EARLY_OUTSIDE = 0.06


def result_without_training(session: "FitSession") -> FitResult:
    """The initialization."""
    flow, small = session.initial_flow(), session.data.too_small(session.shared)
    flow.potential.reset()
    flow = session.ensemble_mean(flow)
    best_iter = np.zeros(session.n_potentials, dtype=int)
    kinds = _initial_kinds(session)
    return FitResult(flow, None, 0, best_iter, "too_few_rows", small, kinds)


def discrete_result(session: "FitSession") -> FitResult:
    """The discrete potential of all rows, without training."""
    none = np.zeros(session.n_potentials, dtype=int)
    kinds = np.full(session.n_potentials, "discrete")
    flow = _discrete_flow(session)
    return FitResult(flow, None, 0, none, "discrete", none > 0, kinds)


def trained_result(session: "FitSession", trainer: Trainer, n_iter: int) -> FitResult:
    """The selected weights.

    Parameters
    ----------
    session : FitSession
    trainer : Trainer
        After its training.
    n_iter : int
        Steps that it took.
    """
    reason = trainer.risk.stop_reason
    if reason is None:
        complete = session.stream and n_iter >= session.n_steps
        stopped = getattr(trainer.net, "stopped_by_callback", False)
        reason = "callback" if stopped else "interrupted"
        reason = "partial_fit" if complete else reason
    small = session.data.too_small(session.shared) & (not session.stream)
    flow, best_iter, is_initial = trainer.selected(small, session.stream)
    kinds = np.where(is_initial, _initial_kinds(session), "network")
    comparison, quantile = session.comparison, None
    if comparison is None and _compares(session) and reason != "interrupted":
        quantile = with_quantile_maps(session, flow)
        comparison = _compare(session, flow)
    is_discrete = comparison is not None and comparison.discrete_is_better
    if quantile is not None and not is_discrete:
        cast(PotentialSum, flow.potential).separable = quantile.potential
        kinds = np.where(quantile.chosen, "quantile", kinds)
        best_iter = np.where(quantile.chosen, 0, best_iter)
    flow = session.ensemble_mean(flow)
    if is_discrete:
        flow = _discrete_flow(session, flow.potential)
        kinds = np.full(len(kinds), "discrete")
    elif quantile is not None:
        if quantile.chosen.all():  # all members are equal
            flow.potential = one_of_each(flow.potential)
    elif _compresses(session, reason, is_initial):
        flow = _compressed(session, trainer, flow, n_iter)
    return FitResult(
        flow, trainer.net, n_iter, best_iter, reason, small, kinds, comparison
    )


def early_choice(session: "FitSession", risk: ModelSelection) -> EarlyChoice | None:
    """A callback that ends the training if the discrete potential is clearly better."""

    def is_discrete(flow: CharacteristicFlow) -> bool:
        found = _compare(session, flow, EARLY_OUTSIDE)
        if found.discrete_is_better and found.outside_network >= EARLY_OUTSIDE:
            session.comparison = found
        return session.comparison is not None

    return EarlyChoice(risk, is_discrete) if _compares(session) else None


def _compare(
    session: "FitSession", flow: CharacteristicFlow, at_least: float = 0.0
) -> Comparison:
    return compare_potentials(
        flow,
        session.data.held_out_tensors(torch.device("cpu")),
        cast(Any, (session.data.training_folds(0), session.data.training_folds(1))),
        session.preconditioners,
        session.parameters.max_potential_rows,
        at_least,
        session.n_jobs,
    )


def _compares(session: "FitSession") -> bool:
    """Whether the network and the discrete potential are compared."""
    parameters = session.parameters
    return (
        parameters.potential == "auto"
        and parameters.early_stopping
        and not (session.stream or session.shared)
    )


def _discrete_flow(
    session: "FitSession", network: BasePotential | None = None
) -> CharacteristicFlow:
    return discrete_flow(
        cast(Any, session.data.all_rows()),  # complete, unlike those of a stream
        session.preconditioners,
        common_cost(session.preconditioners),
        session.parameters.max_potential_rows,
        session.device(),
        network,
        session.n_jobs,
    )


def _compresses(session: "FitSession", reason: str, is_initial: np.ndarray) -> bool:
    """Whether one network may take the place of the ensemble."""
    complete = not (session.stream or reason == "interrupted")
    return session.ensemble_size > 1 and complete and not is_initial.all()


def _compressed(
    session: "FitSession", trainer: Trainer, flow: CharacteristicFlow, n_iter: int
) -> CharacteristicFlow:
    """The flow of one network, if it is as good as the ensemble.

    It is fitted to the training rows of the first members, and compared on the rows that
    are reserved for the score, on which no member was trained.
    """
    own = slice(None, None, session.ensemble_size)
    n_steps = n_compression_steps(n_iter)
    frames = session.preconditioners
    sampler = PairSampler(
        session.data.training_folds(0)[own],
        session.data.training_folds(1)[own],
        ([p.source for p in frames], [p.target for p in frames]),
        BATCH_SIZE,
        math.ceil(n_steps / EVERY_ROW),
        math.ceil(n_steps / EVERY_ROW),
        session.rng.randint(2**31),
        torch.float32,
        "cpu",
        smoothing=SMOOTHING,
        planes=[p.plane for p in frames],
    )
    held_out = [
        tuple(
            torch.from_numpy(side.forward(Z)).float()[None]
            for side, Z in zip((p.source, p.target), rows, strict=True)
        )
        for p, rows in zip(frames, session.score_rows, strict=True)
    ]
    rate = auto_learning_rate(session.n_features)
    found = compressed(flow, sampler, cast(Any, held_out), n_steps, rate)
    if found is not flow:
        trainer.replace_flow(found)
    return found


def _initial_kinds(session: "FitSession") -> np.ndarray:
    """The kind of the initial map of every potential, shape (K,)."""
    return np.array([p.kind for p in session.preconditioners[: session.n_potentials]])
