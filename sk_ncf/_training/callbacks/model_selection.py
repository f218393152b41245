"""Selection of weights by the held-out risk, and early stopping."""

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._training.callbacks.learning_rate import LinearDecay
from sk_ncf._training.callbacks.weight_average import WeightAverage
from sk_ncf._training.held_out_risk import Risk

__all__ = ["ModelSelection", "Stop"]

MAX_RESTARTS = 6  # from the selected weights, after the risk has diverged
SURE = 2.0  # standard errors by which the energy distance must be worse for a veto
FAR = 10.0  # the same, for a veto against a risk that is surely lower
FACTOR_STEP = 0.3  # between tried factors; the limits are 2 steps below 1 and 1 above

Weights = dict[str, Tensor]


class ModelSelection(Callback):
    """Evaluates the averaged weights after every epoch, selects weights, and stops.

    For every class, the latest weights are selected whose held-out risk is within
    `margin` standard errors of the best and a tenth of its gain, or within two if their
    energy distance is lower than that of the weights selected before. All differences
    are paired. The selected weights are used if they are better than the initialization
    (and than the weights of a warm start); otherwise these are used. Better means one of
    two things. The risk is lower by `tol`, and by `doubt` standard errors, or together
    with the energy distance by as much. If the energy distance is worse by two of its
    standard errors, the risk must be lower by two of its own; it must not be worse by
    ten, because the risk is too low if its minimum over x is not found. Or the energy
    distance is lower by `doubt` of its standard errors (2 - `doubt` if that is more), and
    the risk not worse by two of its own.

    If the risk of a class diverges, training restarts from the selected weights with a
    third of the learning rate (more of it with many classes), at most six times.

    Parameters
    ----------
    schedule : LinearDecay
    average : WeightAverage
    patience : int
        Steps without a better risk of any class after which training is shortened.
    tol : float
        Smaller improvements of the risk do not count.
    early_stopping : bool
        Whether a risk that does not improve shortens or ends the training.
    margin : float, default=0.5
        Standard errors by which the risk of later weights may be worse than the best.
    doubt : float, default=1.0
        Standard errors by which the risk must be better than that of the initialization;
        at most 1 for a warm start.
    rescale : bool, default=False
        Whether :meth:`rescale_kept` is called at the end.
    """

    device_attributes = ("start_weights", "kept_weights")

    def __init__(
        self,
        schedule: LinearDecay,
        average: WeightAverage,
        patience: int,
        tol: float = 0.0,
        early_stopping: bool = True,
        margin: float = 0.5,
        doubt: float = 1.0,
        rescale: bool = False,
    ) -> None:
        self.schedule, self.average = schedule, average
        self.patience, self.tol = patience, tol
        self.early_stopping, self.margin, self.doubt = early_stopping, margin, doubt
        self.rescale = rescale

    def initialize(self) -> Self:
        """Forget all weights."""
        self.start_weights: Weights = {}
        self.kept_weights: Weights = {}
        self.stop_reason: str | None = None
        return self

    def on_train_begin(
        self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Training may go on."""
        self.stop_reason = None

    def begin(
        self,
        flow: CharacteristicFlow,
        measure: Callable[[], Risk],
        limit: float,
        frozen: Any = False,
    ) -> None:
        """Evaluate the initialization and the weights selected so far.

        Parameters
        ----------
        flow : CharacteristicFlow
            The flow that is trained.
        measure : callable
            Returns its held-out risk.
        limit : float
            The risk diverges if it is worse than that of the initialization by this and
            two standard errors.
        frozen : bool or array of bool, shape (K,)
            Classes that are not trained now. Their selected weights stay.
        """
        self.flow, self.measure, self.limit = flow, measure, limit
        self.frozen = torch.as_tensor(frozen)
        live, fresh = _weights(flow), not self.kept_weights
        if fresh:
            flow.potential.reset()
            self.start_weights = self.kept_weights = _weights(flow)
        flow.load_state_dict(self.start_weights)
        self.start = self.measure()
        if fresh:
            none = torch.zeros(len(self.start.value()), dtype=torch.long)
            self.kept_step, self.best_step, self.n_restarts = none, none, none
        self.earlier = [(self.start, self.start_weights, 0 * self.kept_step)]
        flow.load_state_dict(self.kept_weights)
        self.best = self.kept = self.start if fresh else self.measure()
        flow.load_state_dict(live)

    def add_warm_start(self) -> None:
        """Make the weights of a warm start a candidate, beside the initialization."""
        risk = self.measure()
        self.earlier.insert(0, (risk, _weights(self.flow), 0 * self.kept_step))
        self._keep(risk)

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Evaluate the averaged weights, select, and decide whether to stop."""
        self.average.swap()
        risk = self.measure()
        net.history.record("risk", risk.value().mean().item())
        net.history.record("valid_loss", risk.criterion().mean().item())
        self._keep(risk)
        self.average.swap()
        self._update_stop_reason(risk, net.optimizer_)

    def _keep(self, risk: Risk) -> None:
        gain, error = self.best.gain(risk)
        learning = ~self.frozen.to(gain.device)
        close = -gain <= self._may_be_behind(error)
        closer_rows = self.kept.energy_gain(risk)[0] > 0
        good = learning & ((gain > 0) | close | (closer_rows & (-gain < SURE * error)))
        self.kept = risk.where(good, self.kept)
        self.kept_weights = _of_classes(good, _weights(self.flow), self.kept_weights)
        step = torch.full_like(self.kept_step, self.schedule.step)
        self.kept_step = torch.where(good.cpu(), step, self.kept_step)
        better = learning & (gain > self.tol)
        self.best = risk.where(better, self.best)
        self.best_step = torch.where(better.cpu(), step, self.best_step)

    def _may_be_behind(self, error: Tensor) -> Tensor:
        """By how much later weights may be worse: a part of what was gained at most."""
        gained, _ = self.start.gain(self.best)
        return torch.minimum(self.margin * error, 0.1 * gained)

    def _update_stop_reason(self, risk: Risk, optimizer: torch.optim.Optimizer) -> None:
        step, schedule = self.schedule.step, self.schedule
        best_step = self.best_step.max().item()
        stalled = self.early_stopping and step - best_step >= self.patience
        # A high risk in the warm-up can still decrease.
        diverging = self._diverges(risk).cpu() & (step > schedule.warmup)
        self.n_restarts = self.n_restarts + diverging
        nothing_better = best_step == 0 and not diverging.any()
        if (self.n_restarts > MAX_RESTARTS).all():
            self.stop_reason = "diverged"
        elif step >= schedule.end:
            in_full = schedule.end == schedule.max_steps
            self.stop_reason = "max_iter" if in_full else "converged"
        elif stalled and nothing_better and not schedule.shortened:
            self.stop_reason = "initialization"
        elif stalled and not diverging.all():
            schedule.shorten()
        if diverging.any() and self.stop_reason is None:
            self._restart(diverging, optimizer)

    def expected_end(self) -> float:
        """The step at which training will probably end, for a progress bar.

        Until the decay is shortened, the number of steps left is the geometric mean of
        the fewest and of the most.
        """
        schedule, step = self.schedule, self.schedule.step
        if schedule.shortened or not self.early_stopping:
            return schedule.end
        best_step = int(self.best_step.max())
        soonest = best_step + self.patience
        if best_step > 0:  # then training ends after a shorter decay
            soonest += 2 * soonest // 3
        left = max(1, min(soonest, schedule.end) - step)
        return step + math.sqrt(left * (schedule.end - step))

    def _diverges(self, risk: Risk) -> Tensor:
        """Mask of the classes whose risk diverges, or is not a number."""
        gain, error = self.start.gain(risk)
        return ~(-gain < self.limit + 2 * error)

    def _restart(self, classes: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Restart these classes from their selected weights, with smaller steps."""
        live = _weights(self.flow)
        self.flow.load_state_dict(_of_classes(classes, self.kept_weights, live))
        optimizer.state.clear()
        self.average.restart()
        self.schedule.slow_down(3.0 ** -classes.double().mean().item())

    def rescale_kept(self) -> None:
        r"""Multiply the selected potentials by the factors that minimise the held-out risk.

        Few rows are overfitted: the potential is too large. The risk of :math:`a u` is
        convex in a (its first term is linear, and the minimum over x is concave), so the
        vertex of the parabola through a = 0.7, 1 and 1.3 estimates the best factor. It is
        used for the classes whose risk it decreases, surely if the energy distance of the
        mapped rows increases.
        """
        live = _weights(self.flow)
        less, more = (
            self.kept.gain(self._measure_kept(factor))[0]
            for factor in (1 - FACTOR_STEP, 1 + FACTOR_STEP)
        )
        curvature = -(less + more)
        shift = FACTOR_STEP * (more - less) / (2 * curvature)
        convex = (curvature > 0) & shift.isfinite() & ~self.frozen.to(shift.device)
        shift = torch.where(convex, shift, 0.0).clamp(-2 * FACTOR_STEP, FACTOR_STEP)
        risk = self._measure_kept(1 + shift)
        gain, error = self.kept.gain(risk)
        energy_gain, energy_error = self.kept.energy_gain(risk)
        as_close = energy_gain >= -self.doubt * energy_error
        better = (gain > 0) & (as_close | (gain > SURE * error))
        self.kept = risk.where(better, self.kept)
        self.kept_weights = _of_classes(better, _weights(self.flow), self.kept_weights)
        self.flow.load_state_dict(live)

    def _measure_kept(self, factor: float | Tensor) -> Risk:
        """The risk of the selected potentials times a factor, which the flow then has."""
        self.flow.load_state_dict(self.kept_weights)
        value = self.kept.value()
        factors = torch.as_tensor(factor, dtype=value.dtype, device=value.device)
        factors = factors.expand(value.shape).repeat_interleave(self.kept.ensemble_size)
        self.flow.potential.multiply_by(factors)
        return self.measure()

    def selected_weights(self, start_only: Tensor) -> tuple[Weights, Tensor, Tensor]:
        """The selected weights, or those of the initialization if these are as good.

        Parameters
        ----------
        start_only : Tensor of bool, shape (K,)
            Classes that keep their initialization in any case.

        Returns
        -------
        weights : dict
        step : Tensor of int, shape (K,)
        at_start : Tensor of bool, shape (K,)
            Classes whose map is the initialization.
        """
        if self.rescale and (self.kept_step > 0).any():
            self.rescale_kept()
        return self.weights_so_far(start_only)

    def weights_so_far(self, start_only: Tensor) -> tuple[Weights, Tensor, Tensor]:
        """The same, without a factor that minimises the held-out risk."""
        risk, weights, step = self.kept, self.kept_weights, self.kept_step
        for start in self.earlier:
            is_initial = start is self.earlier[-1]
            doubt = self.doubt if is_initial else min(self.doubt, 1.0)
            back = ~self._beats(start[0], risk, doubt)
            if is_initial:
                back = back | start_only.to(back.device)
            risk = start[0].where(back, risk)
            weights = _of_classes(back, start[1], weights)
            step = torch.where(back.cpu(), start[2], step)
        return weights, step, back.cpu()

    def _beats(self, start: Risk, risk: Risk, doubt: float) -> Tensor:
        """Whether a map is better than an initialization (see the class docstring)."""
        gain, error = start.gain(risk)
        energy_gain, energy_error = start.energy_gain(risk)
        alone = gain > doubt * error
        # The sum of two standard scores of correlation 1/2 has the variance 3.
        total = gain * energy_error + energy_gain * error
        together = total > 3**0.5 * doubt * error * energy_error
        limit = torch.where(gain < SURE * error, SURE, FAR)
        veto = energy_gain < -limit * energy_error
        by_risk = (gain > self.tol) & (alone | together) & ~veto
        by_energy = energy_gain > max(doubt, 2 - doubt) * energy_error
        return by_risk | (by_energy & (gain > self.tol - SURE * error))

    def __getstate__(self) -> dict[str, Any]:
        # Held-out rows and their values are not needed after the fit.
        return {k: v for k, v in vars(self).items() if k not in _TRANSIENT}


_TRANSIENT = {"measure", "start", "best", "kept", "earlier", "flow"}


def _weights(module: nn.Module) -> Weights:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _of_classes(mask: Tensor, weights: Weights, others: Weights) -> Weights:
    """The weights of the classes of the mask, and those of `others` for the others."""
    if mask.all() or not mask.any():
        return weights if mask.all() else others
    merged = {}
    for name, value in weights.items():
        lead = mask.repeat_interleave(len(value) // len(mask)).to(value.device)
        lead = lead.reshape(-1, *[1] * (value.dim() - 1))
        merged[name] = torch.where(lead, value, others[name])
    return merged


class Stop(Callback):
    """Ends the training if :class:`ModelSelection` says so; called after all others.

    Parameters
    ----------
    risk : ModelSelection
    """

    def __init__(self, risk: ModelSelection) -> None:
        self.risk = risk

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Stop, after every callback has seen the epoch."""
        if self.risk.stop_reason is not None:
            raise KeyboardInterrupt  # skorch's own way to end a fit
