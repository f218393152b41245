"""The rules of training, each one skorch callback."""

import math
from functools import partial

import torch
from skorch.callbacks import Callback
from tqdm.auto import tqdm

from sk_ncf.devices import objective_of
from sk_ncf.graphs import Recording

__all__ = [
    "ClipPerPotential",
    "HeldOutRisk",
    "PlateauCosine",
    "ProgressBar",
    "Stop",
    "TaskEvents",
    "WeightAverage",
]


RETURNS = 6  # to what is kept, where training has gone astray


class PlateauCosine(Callback):
    """Learning rate: a warm-up, constant until the plateau, then a cosine to zero.

    The plateau is declared by :class:`HeldOutRisk`, or here when a share of the budget
    is spent; the cosine takes the rest of the budget, at most two thirds of the steps
    so far.

    Parameters
    ----------
    max_steps : int or None
        The budget; None never leaves the plateau (a stream has no end).
    warmup : int, default=100
    constant_share : float, default=0.6
        Share of the budget after which the decay begins in any case.
    """

    def __init__(self, max_steps, warmup=100, constant_share=0.6):
        self.max_steps = max_steps
        self.warmup = warmup
        self.constant_share = constant_share

    def initialize(self):
        """Back to step 0."""
        self.step, self.turn, self.base = 0, None, None
        self.end = math.inf if self.max_steps is None else self.max_steps
        return self

    def start_decay(self):
        """Leave the plateau, unless that was done before."""
        if self.turn is None:
            self.turn = self.step
            self.end = min(self.end, self.step + max(1, 2 * self.step // 3))

    def factor(self):
        """Learning rate of the coming step, relative to the initial one."""
        if self.turn is None:
            return min(1.0, (self.step + 1) / self.warmup)
        share = (self.step - self.turn) / max(1, self.end - self.turn)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def slow_down(self, factor):
        """Multiply all learning rates to come."""
        self.base = [factor * base for base in self.base]

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Set the learning rate."""
        groups = net.optimizer_.param_groups
        if self.base is None:
            self.base = [group["lr"] for group in groups]
        if self.step >= self.constant_share * self.end:
            self.start_decay()
        factor = self.factor()
        for group, base in zip(groups, self.base, strict=True):
            group["lr"] = base * factor
        self.step += 1


class WeightAverage(Callback):
    """Moving average of the weights: what is judged and kept.

    Over the last tenth of the steps so far, and at most the last 1 / (1 - decay).

    Parameters
    ----------
    decay : float, default=0.997
    """

    placed = ("average",)

    def __init__(self, decay=0.997):
        self.decay = decay

    def initialize(self):
        """Forget the average."""
        self.average, self.step = None, 0
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Start at the initial weights."""
        self.parameters = list(net.module_.parameters())
        if self.average is None:
            self.average = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        """Move the average towards the weights."""
        self.step += 1
        share = max(1 - self.decay, 10 / (self.step + 10))
        torch._foreach_lerp_(self.average, self.parameters, share)

    @torch.no_grad()
    def restart(self):
        """Begin again at the present weights."""
        self.step = 0
        torch._foreach_copy_(self.average, self.parameters)

    @torch.no_grad()
    def swap(self):
        """Exchange the weights and their average."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)

    def __getstate__(self):
        # The parameters are the module's, of which a copy would be another.
        return {k: v for k, v in vars(self).items() if k != "parameters"}


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

    placed = ("start_weights", "kept_weights")

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
        self.best = self.kept = self.measure()
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
        net.history.record("criterion", risk.criterion().mean().item())
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
            self.stop_reason = "start"
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


class ClipPerPotential(Callback):
    """Clips the gradient of every potential by its own norm; what is no number is 0.

    The loss is the mean over potentials, so that the gradient of each is its own
    loss's gradient over their number.

    Parameters
    ----------
    max_norm : float, default=1.0
        Of the gradient of a potential's own loss.
    """

    def __init__(self, max_norm=1.0):
        self.max_norm = max_norm

    _recording = None  # on a GPU

    def on_grad_computed(self, net, named_parameters, **kwargs):
        """Scale the gradients in place."""
        grads = [p.grad for _, p in named_parameters if p.grad is not None]
        n_potentials = objective_of(net).flow.potential.n_classes
        self._recording = self._recording or Recording()
        clip = partial(self._clip, grads, n_potentials)
        self._recording(clip, grads, self.max_norm, n_potentials)

    def _clip(self, grads, n_potentials):
        # Without classes a gradient may have any shape: that of a user's own module.
        lead = 1 if n_potentials > 1 else 0
        square = sum(g.square().flatten(lead).sum(-1) for g in grads)
        scale = (self.max_norm / (n_potentials * square.sqrt())).clamp_max(1.0)
        for g in grads:
            factor = scale.nan_to_num(0.0).reshape(-1, *[1] * (g.dim() - 1))
            g.nan_to_num_(0.0, 0.0, 0.0).mul_(factor if lead else factor.squeeze())

    def __getstate__(self):
        return {k: v for k, v in vars(self).items() if k != "_recording"}


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


class ProgressBar(Callback):
    """A bar with loss, held-out risk and time left, on fits that take a while.

    Parameters
    ----------
    schedule : PlateauCosine
    delay : float, default=2.0
        Seconds before the bar appears.
    """

    def __init__(self, schedule, delay=2.0):
        self.schedule, self.delay = schedule, delay

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the bar; it shows itself after `delay` seconds."""
        done = self.schedule.step if self.schedule.max_steps else 0  # of a checkpoint
        self.bar = tqdm(
            total=self.schedule.max_steps,
            initial=done,
            delay=self.delay,
            unit="step",
            desc="NCF",
        )

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Advance by one epoch."""
        row = net.history[-1]
        self.bar.total = self.schedule.end if self.schedule.max_steps else None
        self.bar.set_postfix(
            loss=f"{row['train_loss']:.3g}", risk=f"{row['risk']:.4g}", refresh=False
        )
        self.bar.update(row["train_batch_count"])

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Close the bar."""
        self.bar.close()
        del self.bar


class TaskEvents(Callback):
    """Tells scikit-learn's own callbacks of the fit and of every epoch.

    Parameters
    ----------
    estimator : estimator
        With scikit-learn's callback support.
    context : sklearn.callback.CallbackContext
    """

    def __init__(self, estimator, context):
        self.estimator, self.context = estimator, context

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the task of the whole fit."""
        self.context.call_on_fit_task_begin(estimator=self.estimator)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Close it."""
        self.context.call_on_fit_task_end(estimator=self.estimator)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Open a task."""
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Close it, and stop where a callback asks to."""
        if self.task.call_on_fit_task_end(estimator=self.estimator):
            raise KeyboardInterrupt
