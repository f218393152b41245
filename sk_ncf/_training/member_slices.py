"""Training steps of an ensemble, or of the maps of classes, in several processes.

No potential depends on another during the steps between two evaluations of the held-out
risk. Each process takes these steps for a slice of them, and draws the minibatches of all,
so that every potential sees the rows that it would see in one process.
"""

import copy
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._training.callbacks.gradient_clipping import ClipPerPotential
from sk_ncf._training.callbacks.learning_rate import LinearDecay
from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.callbacks.weight_average import WeightAverage
from sk_ncf._training.cuda_graphs import runs_package_code_only
from sk_ncf._training.forked import forked_map
from sk_ncf._training.net import NCFNet, TermSum
from sk_ncf._training.objective import MinibatchLoss
from sk_ncf._training.soap import SOAP
from sk_ncf.costs._affine import AffineCost

if TYPE_CHECKING:
    from sk_ncf._training.minibatches import PairSampler

__all__ = ["SlicedSteps", "sliced_steps"]

LEAST = 2  # potentials of a process: products of a single one may be rounded otherwise
OWN = ClipPerPotential, LinearDecay, WeightAverage  # callbacks of a step
STEP_METHODS = "on_batch_begin", "on_grad_computed", "on_batch_end"


class _Slice(NamedTuple):
    """What the steps of some potentials have changed."""

    weights: list[Tensor]
    average: list[Tensor]
    optimizer: list[dict[str, Any]]  # the state of every parameter
    terms: dict[str, Tensor]  # [k, steps] each


def sliced_steps(
    net: NeuralNet, risk: ModelSelection, sampler: "PairSampler", n_jobs: int
) -> "SlicedSteps | None":
    """The steps in `n_jobs` processes; None where only one process can take them.

    That is so if there are fewer than four potentials, and if code that is not the
    package's may need all potentials at once: another net, objective or optimizer, a
    callback that is called for every minibatch.

    Parameters
    ----------
    net : NeuralNet
        Initialised.
    risk : ModelSelection
    sampler : PairSampler
    n_jobs : int
    """
    usable = (
        n_jobs > 1
        and sampler.device.type == "cpu"
        and bool(sampler.present.all())
        and type(net) is NCFNet
        and type(net.criterion_) is TermSum
        and type(net.optimizer_) is SOAP
        and not getattr(net, "iterator_train__num_workers", 0)
        and runs_package_code_only(net)
        and net.module_.flow.potential.n_potentials >= 2 * LEAST
        and _is_divisible(net.module_.flow.cost)
        and not any(_is_called_for_steps(callback) for _, callback in net.callbacks_)
    )
    return SlicedSteps(cast(NCFNet, net), risk, n_jobs) if usable else None


def _is_divisible(cost: Any) -> bool:
    """Whether a slice of the potentials computes the cost as all of them do."""
    return not isinstance(cost, AffineCost) or cost.has_one_dtype()


def _is_called_for_steps(callback: Callback) -> bool:
    """Whether a callback of the user's is called for every minibatch."""
    own = type(callback)
    return own not in OWN and any(
        getattr(own, name) is not getattr(Callback, name) for name in STEP_METHODS
    )


class SlicedSteps:
    """Takes the steps of an epoch in several processes.

    Parameters
    ----------
    net : NCFNet
    risk : ModelSelection
    n_jobs : int
    """

    def __init__(self, net: NCFNet, risk: ModelSelection, n_jobs: int) -> None:
        self.net, self.schedule, self.average = net, risk.schedule, risk.average
        self.clip = next(c for _, c in net.callbacks_ if type(c) is ClipPerPotential)
        self.flow: CharacteristicFlow = net.module_.flow
        self.n_potentials = self.flow.potential.n_potentials
        n_slices = min(n_jobs, self.n_potentials // LEAST)
        bounds = [k * self.n_potentials // n_slices for k in range(n_slices + 1)]
        self.slices = list(map(slice, bounds[:-1], bounds[1:]))

    def __call__(self, batches: Iterable[Any]) -> list[Tensor]:
        """Take a step for every minibatch, and return the losses.

        Weights, their average and the state of the optimizer are those of the last
        epoch until all processes have ended.

        Parameters
        ----------
        batches : iterable of pairs of dict and Tensor
            Drawn by every process on its own.
        """
        parts = forked_map(partial(self._steps, batches), self.slices, len(self.slices))
        columns = list(zip(*parts, strict=True))
        weights, average, states, terms = (_joined(column) for column in columns)
        parameters = list(self.net.module_.parameters())
        with torch.no_grad():
            for parameter, values in zip(parameters, weights, strict=True):
                parameter.copy_(values)
        self.average.average = average
        for parameter, state in zip(parameters, states, strict=True):
            self.net.optimizer_.state[parameter] = state
        rows = zip(*(values.unbind(1) for values in terms.values()), strict=True)
        steps = [dict(zip(terms, row, strict=True)) for row in rows]
        self.average.step += len(steps)
        return [self.net.criterion_(step, None) for step in steps]

    def _steps(self, batches: Iterable[Any], which: slice) -> _Slice:
        """The steps of some potentials, of which the net learns nothing."""
        module = self._module(which)
        parameters = list(module.parameters())
        optimizer = self._optimizer(parameters, which)
        average = copy.copy(self.average)
        average.parameters = cast(list[Tensor], parameters)
        average.average = _sliced(self.average.average, which)
        rows: list[dict[str, Tensor]] = []
        for inputs, _ in batches:
            self.schedule.on_batch_begin(self.net)  # the same in every process
            groups = self.net.optimizer_.param_groups
            for own, group in zip(optimizer.param_groups, groups, strict=True):
                own["lr"] = group["lr"]
            x, y, t = (inputs[name][which] for name in ("x", "y", "t"))
            optimizer.zero_grad()
            terms = module(x, y, t)
            # The loss, a mean over all potentials, has this gradient by every term.
            trained = [term for term in terms.values() if term.requires_grad]
            shares = [torch.full_like(term, 1 / self.n_potentials) for term in trained]
            torch.autograd.backward(trained, shares)
            gradients = [p.grad for p in parameters if p.grad is not None]
            self.clip.scale(gradients, self.n_potentials)
            optimizer.step()
            average.on_batch_end(self.net)
            rows.append({name: term.detach() for name, term in terms.items()})
        states = [dict(optimizer.state[parameter]) for parameter in parameters]
        weights = [parameter.detach() for parameter in parameters]
        terms = {name: torch.stack([row[name] for row in rows], 1) for name in rows[0]}
        assert average.average is not None
        return _Slice(weights, average.average, states, terms)

    def _module(self, which: slice) -> MinibatchLoss:
        potential = copy.deepcopy(self.flow.potential.select(which)).requires_grad_()
        potential.n_together = self.n_potentials
        flow = CharacteristicFlow(potential, self.flow.cost.select_class(which))
        return MinibatchLoss(flow, self.net.module_.objective)

    def _optimizer(self, parameters: list[nn.Parameter], which: slice) -> SOAP:
        """The net's optimizer, for a slice of its parameters."""
        whole = self.net.optimizer_
        own = dict(zip(self.net.module_.parameters(), parameters, strict=True))
        groups = [
            {**group, "params": [own[p] for p in group["params"]]}
            for group in whole.param_groups
        ]
        optimizer = SOAP(groups)
        optimizer.n_before = which.start
        for parameter, state in whole.state.items():
            optimizer.state[own[parameter]] = _sliced(state, which)
        return optimizer


def _sliced(value: Any, which: slice) -> Any:
    """A copy of some entries of the first axis of tensors, in nested collections."""
    if isinstance(value, Tensor):
        return (value[which] if value.dim() else value).clone()
    if isinstance(value, dict):
        return {key: _sliced(item, which) for key, item in value.items()}
    if isinstance(value, list):
        return [_sliced(item, which) for item in value]
    return value


def _joined(values: Any) -> Any:
    """The collections of slices as one: the inverse of :func:`_sliced`."""
    first = values[0]
    if isinstance(first, Tensor):
        if first.dim() < 2 or first.is_contiguous():
            return torch.cat(values) if first.dim() else first
        # Eigenvectors are stored by columns; another order would be rounded otherwise.
        return torch.cat([value.mT for value in values]).mT
    if isinstance(first, dict):
        return {key: _joined([value[key] for value in values]) for key in first}
    if isinstance(first, list):
        return [_joined(items) for items in zip(*values, strict=True)]
    return first
