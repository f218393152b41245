"""Training, hosted by skorch: the objective as a module, the rules as callbacks."""

import math
from dataclasses import dataclass

import torch
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    EpochTimer,
    GradientNormClipping,
    PassthroughScoring,
)
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from tqdm.auto import tqdm

from sk_ncf import losses
from sk_ncf.flow import CharacteristicFlow
from sk_ncf.potential import ModulePotential, Potential

__all__ = [
    "HeldOutRisk",
    "NCFNet",
    "Objective",
    "PlateauCosine",
    "ProgressBar",
    "WeightAverage",
    "held_out_risk",
]


class Objective(nn.Module):
    """The weighted terms of the loss of one minibatch pair.

    Parameters
    ----------
    flow : CharacteristicFlow
    objective : {"dual", "mmd"}
    weights : dict
        Weight of each term: hj, momentum, dual, hopf_lax, mmd. A term of weight 0 is
        not computed.
    kernel : {"energy", "gaussian", "laplace"}
        Kernel of the mmd term.
    max_pairs : int
        Source rows that enter the pair matrix at most.
    """

    def __init__(self, flow, objective, weights, kernel="energy", max_pairs=512):
        super().__init__()
        self.flow = flow
        self.objective = objective
        self.weights = weights
        self.kernel = kernel
        self.max_pairs = max_pairs

    def forward(self, x: Tensor, y: Tensor, t: Tensor) -> dict[str, Tensor]:
        """The weighted terms, each of shape [K], by name."""
        terms = self.dual(x, y) if self.objective == "dual" else self.mmd(x, y, t)
        return {name: self.weights[name] * term for name, term in terms.items()}

    def dual(self, x, y):
        """The four terms read off the characteristics, and the matching term if any."""
        from_x, from_y = self.flow.characteristics(x, y)
        rows = slice(self.max_pairs)
        pairs = self.flow.cost.pairwise(x[:, rows], y)
        pairs = from_x.u[:, rows].unsqueeze(-1) + pairs  # u(x_i, 0) + c(x_i, y_j)
        terms = {
            "hj": losses.hj_residual(from_x, from_y),
            "momentum": losses.momentum_residual(from_x, from_y),
            "dual": losses.semi_dual(from_x, from_y, pairs),
            "hopf_lax": losses.hopf_lax_violation(pairs, from_y.u),
        }
        if self.weights["mmd"]:
            terms["mmd"] = self.matching(x, y, from_x.end, from_y.end)
        return terms

    def mmd(self, x, y, t):
        """The paper's two terms: implicit residual between the samples, and matching."""
        between = x + t.unsqueeze(-1) * (y - x)
        residual = losses.implicit_residual(self.flow, between, t)
        return {
            "hj": residual.square().mean(-1),
            "mmd": self.matching(x, y, self.flow.head(x), self.flow.foot(y)),
        }

    def matching(self, x, y, heads, feet):
        """Distance of the mapped rows to the rows they should look like, both ways."""
        forward = losses.mmd(heads, y, self.kernel, unbiased=True)
        return forward + losses.mmd(feet, x, self.kernel, unbiased=True)


class TermSum(nn.Module):
    """The criterion: the terms added up over names and classes."""

    def forward(self, terms, _):
        """Scalar loss."""
        return sum(term.sum() for term in terms.values())


class NCFNet(NeuralNet):
    """The skorch net that hosts the training; give one as ``net=`` to change it.

    Everything skorch offers can be set on it: ``optimizer``, ``optimizer__*``,
    ``callbacks``, ``module`` (your own potential, a ``torch.nn.Module`` mapping (x, t)
    of shapes (n, d) and (n,) to (n,)) and ``module__*``. Learning rate, steps, batch
    size, device and seed are those of the estimator.
    """

    def __init__(self, module=None, criterion=TermSum, **kwargs):
        kwargs.setdefault("optimizer", torch.optim.Adam)
        if kwargs["optimizer"] is torch.optim.Adam:
            kwargs.setdefault("optimizer__betas", (0.9, 0.99))
            kwargs.setdefault("optimizer__fused", True)
        kwargs.setdefault("train_split", None)
        kwargs.setdefault("verbose", 0)
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        loss = PassthroughScoring(name="train_loss", on_train=True)
        return [("epoch_timer", EpochTimer()), ("train_loss", loss)]

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        """The sum of the objective's terms."""
        return self.criterion_(y_pred, y_true)


@dataclass
class Risk:
    """Held-out semi-dual risk, row by row, so that two of them can be compared."""

    source: Tensor  # u(x, 0), shape [K, n]
    target: Tensor  # min_x u(x, 0) + c(x, y), shape [K, m]
    gap: Tensor  # value at the foot of y minus that minimum, shape [K, m]
    weight_x: Tensor
    weight_y: Tensor

    def value(self):
        """J = E u(x, 0) - E min_x [u(x, 0) + c(x, y)], averaged over classes."""
        j = (self.weight_x * self.source).sum(-1) - (self.weight_y * self.target).sum(-1)
        return j.mean().item()

    def criterion(self):
        """What selection minimises: J plus the mean gap of the amortised minimiser."""
        return self.value() + (self.weight_y * self.gap).sum(-1).mean().item()

    def standard_error(self, other):
        """Of the difference of the two criteria, the rows being the same."""
        x = self.source - other.source
        y = self.target - other.target - self.gap + other.gap
        variance = _variance_of_mean(x, self.weight_x)
        return math.sqrt(variance + _variance_of_mean(y, self.weight_y))


def _variance_of_mean(values, weight):
    mean = (weight * values).sum(-1, keepdim=True)
    n_classes = len(values)
    spread = (weight.square() * (values - mean).square()).sum(-1)
    return spread.sum().item() / n_classes**2


@torch.no_grad()
def held_out_risk(flow: CharacteristicFlow, x, y, weight_x, weight_y, n_iter=12):
    r"""Semi-dual risk of the potential on rows it was not trained on.

    .. math:: J(u) = E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]

    A proper scoring rule for transport maps, lower is better (Hutter and Rigollet,
    2021; Vacher and Vialard, 2022). The minimum is searched from the foot of y in
    `n_iter` steps; far from it J would look too good.

    Parameters
    ----------
    flow : CharacteristicFlow
    x : Tensor of shape [K, n, d]
    y : Tensor of shape [K, m, d]
    weight_x, weight_y : Tensor of shape [K, n] and [K, m]
        Row weights that sum to one.
    n_iter : int, default=12

    Returns
    -------
    Risk
    """
    foot = flow.foot(y)
    amortised = flow.minimise_pairs(foot, y, 0).value
    target = flow.minimise_pairs(foot, y, n_iter).value
    source = flow.potential(x, x.new_zeros(x.shape[:-1]))
    return Risk(source, target, amortised - target, weight_x, weight_y)


class PlateauCosine(Callback):
    """Learning rate: a warm-up, constant until the plateau, then a cosine to zero.

    The plateau is declared by :class:`HeldOutRisk`, or here when 60 % of the budget is
    spent; the cosine takes the rest of the budget, at most two thirds of the steps so
    far.
    """

    def __init__(self, max_steps, warmup=100, constant_share=0.6):
        self.max_steps, self.warmup = max_steps, warmup
        self.constant_share = constant_share

    def on_train_begin(self, net, **kwargs):
        """Reset the counters."""
        self.step, self.turn, self.end = 0, None, self.max_steps
        self.base = [group["lr"] for group in net.optimizer_.param_groups]

    def start_decay(self):
        """Leave the plateau, unless that was done before."""
        if self.turn is None:
            self.turn = self.step
            self.end = min(self.max_steps, self.step + max(1, 2 * self.step // 3))

    def factor(self):
        """Learning rate of the coming step, relative to the initial one."""
        if self.turn is None:
            return min(1.0, (self.step + 1) / self.warmup)
        share = (self.step - self.turn) / max(1, self.end - self.turn)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def on_batch_begin(self, net, training=None, **kwargs):
        """Set the learning rate."""
        if self.step >= self.constant_share * self.max_steps:
            self.start_decay()
        factor = self.factor()
        for group, base in zip(net.optimizer_.param_groups, self.base, strict=True):
            group["lr"] = base * factor
        self.step += 1


class WeightAverage(Callback):
    """Exponential moving average of the weights, what is judged and kept."""

    def __init__(self, decay=0.99):
        self.decay = decay

    def on_train_begin(self, net, **kwargs):
        """Start at the initial weights."""
        self.parameters = list(net.module_.parameters())
        self.average = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def on_batch_end(self, net, training=None, **kwargs):
        """Move the average towards the weights."""
        torch._foreach_lerp_(self.average, self.parameters, 1 - self.decay)

    @torch.no_grad()
    def swap(self):
        """Exchange the weights and their average."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)


class HeldOutRisk(Callback):
    """Judges the averaged weights after every epoch, keeps some, stops the training.

    Kept are the latest weights within one paired standard error of the best held-out
    risk, if they beat the start by half of one; else the start.
    """

    def __init__(self, rows, schedule, average, patience, tol=0.0, early_stopping=True):
        self.rows, self.schedule, self.average = rows, schedule, average
        self.patience, self.tol = patience, tol
        self.early_stopping = early_stopping

    def on_train_begin(self, net, **kwargs):
        """Judge the start: the potential 0, the Gaussian or mean-shift map."""
        self.flow = net.module_.flow
        initial = _weights(self.flow)
        self.flow.potential.reset()
        self.start_risk = self.best = self.kept = self._risk()
        self.kept_weights = self.start_weights = _weights(self.flow)
        self.flow.load_state_dict(initial)
        self.kept_step = self.best_step = 0
        self.stop_reason = "max_iter"

    def _risk(self):
        return held_out_risk(self.flow, *self.rows)

    def on_epoch_end(self, net, **kwargs):
        """Judge, keep, and see whether to go on."""
        self.average.swap()
        risk, weights = self._risk(), _weights(self.flow)
        self.average.swap()
        criterion = risk.criterion()
        net.history.record("risk", risk.value())
        net.history.record("criterion", criterion)
        if not math.isfinite(criterion):
            self._stop("diverged")
        margin = self.best.criterion() - criterion
        error = risk.standard_error(self.best)
        if margin > 0 or -margin <= error:
            self.kept, self.kept_weights = risk, weights
            self.kept_step = self.schedule.step
        if margin > max(self.tol, 0.0):
            self.best, self.best_step = risk, self.schedule.step
        self._maybe_turn()

    def _maybe_turn(self):
        step, schedule = self.schedule.step, self.schedule
        if step >= schedule.end:
            self._stop("converged" if schedule.end < schedule.max_steps else "max_iter")
        stalled = self.early_stopping and step - self.best_step >= self.patience
        if stalled and schedule.turn is None:
            if self.best is self.start_risk:
                self._stop("start")
            schedule.start_decay()

    def _stop(self, reason):
        self.stop_reason = reason
        raise KeyboardInterrupt  # skorch's own way to end a fit

    def restore(self):
        """Load the kept weights, or the start where they do not beat it."""
        gain = self.start_risk.criterion() - self.kept.criterion()
        if not gain > 0.5 * self.kept.standard_error(self.start_risk):
            self.kept, self.kept_weights = self.start_risk, self.start_weights
            self.kept_step = 0
        self.flow.load_state_dict(self.kept_weights)


def _weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


class ProgressBar(Callback):
    """A bar with loss, held-out risk and time left, on fits that take a while."""

    def __init__(self, max_steps, delay=2.0):
        self.max_steps, self.delay = max_steps, delay

    def on_train_begin(self, net, **kwargs):
        """Open the bar; it shows itself after `delay` seconds."""
        self.bar = tqdm(total=self.max_steps, delay=self.delay, unit="step")

    def on_epoch_end(self, net, **kwargs):
        """Advance by one epoch."""
        row = net.history[-1]
        self.bar.set_postfix(loss=f"{row['train_loss']:.3g}", risk=f"{row['risk']:.4g}")
        self.bar.update(row["train_batch_count"])

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar.close()


def build_net(template, n_features, hidden_layer_sizes, seed):
    """A potential, and the constructor arguments of the net that will train it.

    `template` is the user's skorch net or None. Its module becomes the potential (drawn
    without touching the global generator); everything else is passed on.
    """
    template = NCFNet() if template is None else template
    if not isinstance(template, NeuralNet):
        raise ValueError(
            f"net must be a skorch NeuralNet or None, got {type(template).__name__}."
        )
    arguments = template.get_params(deep=False)
    own = {key: arguments.pop(key) for key in list(arguments) if key[:6] == "module"}
    if template.module is None:
        generator = torch.Generator().manual_seed(seed)
        potential = Potential(n_features, hidden_layer_sizes, generator=generator)
    else:
        options = {key[8:]: value for key, value in own.items() if key[:8] == "module__"}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = template.initialized_instance(template.module, options)
        potential = ModulePotential(module)
    return potential, type(template), arguments


def train(net, sampler, n_steps):
    """Run the skorch fit loop for about `n_steps` minibatches, in whole epochs.

    One thread: the matrices are small, and threads that wait for each other on a busy
    machine cost far more than they bring.
    """
    with threadpool_limits(limits=1):
        net.partial_fit(sampler, epochs=max(1, math.ceil(n_steps / len(sampler))))
