"""The net of a fit, with the callback that selects its weights."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.checkpoint.callback import Checkpoint
from sk_ncf._training.devices import (
    move_to_device,
    rank_and_size,
    unwrapped_module,
)
from sk_ncf._training.fit_callbacks import remove_single_fit_callbacks
from sk_ncf._training.held_out_risk import (
    Risk,
    held_out_risk,
    matching_risk,
    of_first_process,
)
from sk_ncf._training.member_slices import sliced_steps
from sk_ncf._training.minibatches import PairSampler
from sk_ncf._training.net import train
from sk_ncf.objectives import Objective

__all__ = ["Trainer"]


@dataclass
class Trainer:
    """A net and its model selection, for one fit or for all calls of a stream.

    Attributes
    ----------
    net : NeuralNet
        Initialised.
    risk : ModelSelection
        One of its callbacks.
    """

    net: NeuralNet
    risk: ModelSelection

    @property
    def flow(self) -> CharacteristicFlow:
        """The flow that is trained."""
        return unwrapped_module(self.net).flow

    def risk_function(
        self,
        rows: tuple[Tensor, Tensor, Tensor, Tensor],
        ensemble_size: int,
        shared_objective: Objective | None,
    ) -> Callable[[], Risk]:
        """The validation risk of the flow, a function without arguments.

        Parameters
        ----------
        rows : tuple of Tensor
            x, y, weight_x and weight_y of the validation rows.
        ensemble_size : int
        shared_objective : Objective or None
            The objective of a map that is shared by classes; None for an optimal map.
        """
        x, y, weight_x, weight_y = rows
        args = self.flow, x, y, weight_x, weight_y
        risk: Callable[[], Risk]
        if shared_objective is None:
            risk = partial(held_out_risk, *args, ensemble_size)
        else:
            hj, mmd = (shared_objective.weight(name) for name in ("hj", "mmd"))
            risk = partial(matching_risk, *args, hj / mmd if mmd else 1.0)
        _, n_processes = rank_and_size(self.net)
        return risk if n_processes == 1 else of_first_process(risk)

    def begin_selection(
        self,
        risk: Callable[[], Risk],
        n_features: int,
        untrained: np.ndarray,
        warm: bool,
    ) -> None:
        """Evaluate the risk of the initialization, and of the weights of a warm start.

        Parameters
        ----------
        risk : callable
            The validation risk of the flow (:meth:`risk_function`).
        n_features : int
        untrained : ndarray of bool, shape (K,) or ()
            Classes that keep their weights in this call.
        warm : bool
            Whether the initial weights are those of an earlier fit.
        """
        # Rows have unit variance: u = 0 has risk 0 and a cost of about n_features / 2.
        self.risk.begin(self.flow, risk, n_features, untrained)
        if warm and self.risk.schedule.step == 0:
            self.risk.add_warm_start()

    def train(
        self,
        sampler: PairSampler,
        checkpoint: Checkpoint | None,
        rng: np.random.RandomState,
        n_jobs: int = 1,
    ) -> int:
        """Train on all minibatches of the sampler, or until a callback stops it.

        Parameters
        ----------
        sampler : PairSampler
        checkpoint : Checkpoint or None
        rng : RandomState
            Generator of the fit.
        n_jobs : int, default=1
            Processes that may take the steps.

        Returns
        -------
        n_iter : int
            Steps taken; those before a checkpoint that it continues from included.
        """
        step_before = self.risk.schedule.step
        if checkpoint is not None:
            checkpoint.resume(self.net, sampler, self.risk, rng)
        slices = sliced_steps(self.net, self.risk, sampler, n_jobs)
        train(self.net, sampler, slices)
        return self.risk.schedule.step - step_before

    def selected(
        self, small: np.ndarray, stream: bool
    ) -> tuple[CharacteristicFlow, np.ndarray, np.ndarray]:
        """The flow with the selected weights, on the CPU.

        Parameters
        ----------
        small : ndarray of bool, shape (K,)
            Classes that keep the initialization in any case.
        stream : bool
            Whether the net will be trained further. If not, it gets the selected
            weights too, and the state of the training is discarded.

        Returns
        -------
        flow : CharacteristicFlow
        step : ndarray of int, shape (K,)
            The steps of the selected weights.
        is_initial : ndarray of bool, shape (K,)
            Classes with the initial map.
        """
        weights, step, is_initial = self.risk.selected_weights(torch.from_numpy(small))
        fitted = copy.deepcopy(self.flow)
        fitted.load_state_dict(weights)
        fitted = fitted.cpu().requires_grad_(False)
        if not stream:
            self._finish(weights)
        self._release_resources()
        return fitted, step.numpy(), is_initial.numpy()

    def _finish(self, weights: dict[str, Tensor]) -> None:
        """Select the weights and discard the state of the training.

        The optimizer's state and the averaged and selected weights are several times as
        large as the map, and only a stream needs them. A warm start and a `partial_fit`
        after a fit start from the weights of the fitted flow.
        """
        self.flow.load_state_dict(weights)
        self.net.optimizer_.state.clear()
        self.risk.average.initialize()
        self.risk.initialize()

    def replace_flow(self, flow: CharacteristicFlow) -> None:
        """Train another flow than before, from now on: a copy of the given one.

        The net of an accelerator, which holds the weights in its own wrappers, is left
        as it is.
        """
        if getattr(self.net, "accelerator", None) is not None:
            return
        own = copy.deepcopy(flow).requires_grad_()
        self.flow.potential, self.flow.cost = own.potential, own.cost
        self.net.initialize_optimizer()

    def _release_resources(self) -> None:
        """Keep the net small and on the CPU, without a reference to the estimator."""
        move_to_device(self.net, torch.device("cpu"))
        for row in self.net.history:
            row["batches"] = []  # the losses of single minibatches
        for callbacks in (self.net.callbacks, self.net.callbacks_):
            remove_single_fit_callbacks(callbacks)
