"""Early stopping and the choice of weights by the held-out risk."""

import torch
from skorch.callbacks import Callback

__all__ = ["HeldOutRisk", "Stop"]


RETURNS = 6  # to what is kept, where training has gone astray


class HeldOutRisk(Callback):
    """Judges the averaged weights after every epoch, keeps some, says when to stop.

    Kept are, for every class, the latest weights within `margin` paired standard errors
    of its best held-out risk, if they beat the start (and the map of a warm start) by a
    whole one and by `tol`; else that. Where the risk of a class is far above the
    start's, it goes back to what is kept, at a third of the learning rate (of that, as
    far as the class is one of many); the seventh time it stays there.

    Parameters
    ----------
    schedule : PlateauCosine
    average : WeightAverage
    patience : int
        Steps without a better risk of any class after which the plateau ends.
    tol : float
        Improvements of the risk below this one do not count.
    early_stopping : bool
        Whether to end the plateau early.
    margin : float, default=0.5
        Standard errors of the risk that later weights may be behind the best.
    """

    device_attributes = ("start_weights", "kept_weights")

    def __init__(
        self, schedule, average, patience, tol=0.0, early_stopping=True, margin=0.5
    ):
        self.schedule, self.average = schedule, average
        self.patience, self.tol = patience, tol
        self.early_stopping, self.margin = early_stopping, margin

    def initialize(self):
        """Nothing is kept yet."""
        self.start_weights = self.kept_weights = self.stop_reason = None
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Nothing speaks against going on, yet."""
        self.stop_reason = None

    def judge_on(self, flow, measure, limit, resting=False):
        """Take a measure of the flow, a function that returns its Risk; judge what is kept.

        A risk is far above the start's from `limit` and two standard errors on. Of the
        classes that are `resting`, a mask, nothing new is kept.
        """
        self.flow, self.measure, self.limit = flow, measure, limit
        self.resting = torch.as_tensor(resting)
        live, fresh = _weights(flow), self.kept_weights is None
        if fresh:
            flow.potential.reset()
            self.start_weights = self.kept_weights = _weights(flow)
        flow.load_state_dict(self.start_weights)
        self.start = self.measure()
        if fresh:
            none = torch.zeros(len(self.start.value()), dtype=torch.long)
            self.kept_step, self.best_step, self.n_returns = none, none, none
        self.earlier = [(self.start, self.start_weights, 0 * self.kept_step)]
        flow.load_state_dict(self.kept_weights)
        self.best = self.kept = self.start if fresh else self.measure()
        flow.load_state_dict(live)

    def judge_initial(self):
        """Make the initial weights (of a warm start) a candidate, next to the start."""
        risk = self.measure()
        self.earlier.insert(0, (risk, _weights(self.flow), 0 * self.kept_step))
        self._keep(risk)

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Judge, keep, and see whether to go on."""
        self.average.swap()
        risk = self.measure()
        net.history.record("risk", risk.value().mean().item())
        net.history.record("valid_loss", risk.criterion().mean().item())
        self._keep(risk)
        self.average.swap()
        self._see_whether_to_go_on(risk, net.optimizer_)

    def _keep(self, risk):
        gain = self.best.criterion() - risk.criterion()
        learning = ~self.resting.to(gain.device)
        good = learning & ((gain > 0) | (-gain <= self._may_be_behind(risk)))
        self.kept = risk.where(good, self.kept)
        self.kept_weights = _of_classes(good, _weights(self.flow), self.kept_weights)
        step = torch.full_like(self.kept_step, self.schedule.step)
        self.kept_step = torch.where(good.cpu(), step, self.kept_step)
        better = learning & (gain > self.tol)
        self.best = risk.where(better, self.best)
        self.best_step = torch.where(better.cpu(), step, self.best_step)

    def _may_be_behind(self, risk):
        """Some standard errors, but not what was gained over the start."""
        gained = self.start.criterion() - self.best.criterion()
        return torch.minimum(self.margin * risk.standard_error(self.best), 0.1 * gained)

    def _see_whether_to_go_on(self, risk, optimizer):
        step, schedule = self.schedule.step, self.schedule
        best_step = self.best_step.max().item()
        stalled = self.early_stopping and step - best_step >= self.patience
        # What the warm-up does, the plateau can still mend.
        astray = self._astray(risk).cpu() & (step > schedule.warmup)
        self.n_returns = self.n_returns + astray
        if (self.n_returns > RETURNS).all():
            self.stop_reason = "diverged"
        elif step >= schedule.end:
            in_full = schedule.end == schedule.max_steps
            self.stop_reason = "max_iter" if in_full else "converged"
        elif stalled and schedule.turn is None and best_step == 0 and not astray.any():
            self.stop_reason = "initialization"
        elif stalled:
            schedule.start_decay()
        if astray.any() and self.stop_reason is None:
            self._return(astray, optimizer)

    def _astray(self, risk):
        """Whether the risk is above the start's beyond all doubt, or not a number."""
        limit = self.limit + 2 * risk.standard_error(self.start)
        return ~(risk.criterion() < self.start.criterion() + limit)

    def _return(self, classes, optimizer):
        """Go on from what is kept of these classes, with smaller steps."""
        live = _weights(self.flow)
        self.flow.load_state_dict(_of_classes(classes, self.kept_weights, live))
        optimizer.state.clear()
        self.average.restart()
        self.schedule.slow_down(3.0 ** -classes.double().mean().item())

    def chosen(self, start_only):
        """Weights and step of what is kept, or of an earlier start that is as good.

        Parameters
        ----------
        start_only : Tensor of bool, shape (K,)
            Classes that keep their start in any case.
        """
        risk, weights, step = self.kept, self.kept_weights, self.kept_step
        for start in self.earlier:
            gain = start[0].criterion() - risk.criterion()
            back = ~(gain > risk.standard_error(start[0]).clamp_min(self.tol))
            if start is self.earlier[-1]:
                back = back | start_only.to(back.device)
            risk = start[0].where(back, risk)
            weights = _of_classes(back, start[1], weights)
            step = torch.where(back.cpu(), start[2], step)
        return weights, step

    def __getstate__(self):
        # The held-out rows and their values are data, not model.
        state = self.__dict__.copy()
        return {k: v for k, v in state.items() if k not in _TRANSIENT}


_TRANSIENT = {"measure", "start", "best", "kept", "earlier", "flow"}


def _weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def _of_classes(mask, weights, others):
    """Weights of the classes of the mask, those of `others` for the rest."""
    if mask.all() or not mask.any():
        return weights if mask.all() else others
    merged = {}
    for name, value in weights.items():
        lead = mask.repeat_interleave(len(value) // len(mask)).to(value.device)
        lead = lead.reshape(-1, *[1] * (value.dim() - 1))
        merged[name] = torch.where(lead, value, others[name])
    return merged


class Stop(Callback):
    """Ends the training where :class:`HeldOutRisk` says so; comes after all others.

    Parameters
    ----------
    risk : HeldOutRisk
    """

    def __init__(self, risk):
        self.risk = risk

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Stop, once every callback has seen the epoch."""
        if self.risk.stop_reason is not None:
            raise KeyboardInterrupt  # skorch's own way to end a fit
