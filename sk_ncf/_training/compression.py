r"""One network in place of an ensemble.

The mean of E potentials takes E times as long to evaluate as one, and its inverse five
times as long again: the foot of y is improved by steps towards
:math:`\nabla \bar u(x, 0) = \nabla L(y - x)`. After the fit, the member that is nearest to
the mean is trained for some more steps by regression on the mean. At t = 0 it learns
:math:`\nabla \bar u`, at t = 1 the momentum of an improved inverse:

.. math:: E |\nabla u(x, 0) - \nabla \bar u(x, 0)|^2
          + E |\nabla u(y, 1) - \nabla L(y - \bar x(y))|^2
          + \omega E |u - \bar u|^2,

where :math:`\bar x(y)` is the foot of y after two such steps. So the foot of the network
needs none. (For costs that are not quadratic it learns :math:`\nabla \bar u(y, 1)`.)
Because the regression has no noise, some hundred steps with a large learning
rate are enough. The network replaces the ensemble if it agrees with it on held-out rows.
"""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import BasePotential, MeanPotential, Potential
from sk_ncf._training.held_out_risk import held_out_risk
from sk_ncf._training.minibatches import PairSampler
from sk_ncf._training.net import one_thread
from sk_ncf._training.soap import SOAP
from sk_ncf.costs import SquaredEuclidean

__all__ = [
    "BATCH_SIZE",
    "EVERY_ROW",
    "SMOOTHING",
    "Agreement",
    "compare",
    "compressed",
    "n_compression_steps",
]

BATCH_SIZE = 128  # rows of each sample, of every class
SMOOTHING = 0.2  # noise on the rows, which have unit variance: also around them
STEPS_SHARE = 0.33  # of the steps of the fit; each takes a fifth as long
LEAST_STEPS, MOST_STEPS = 60, 400
EVERY_ROW = 8  # times that every row is used; the values of the mean are computed once
RATE_FACTOR = 4.0  # of the learning rate of the fit
WARMUP = 10
BASIS_EVERY = 5  # steps, of SOAP
VALUE_WEIGHT = 0.02  # omega
# Squared distances to the ensemble's map and to its inverse, in units of those of the
# members, up to which one network is as accurate. The inverse is less certain itself.
LARGEST_DISTANCE = 0.3, 0.7
N_ERRORS = 3.0  # standard errors by which the held-out risk may be worse
INVERSE_STEPS = 2  # of the inverse that the network learns

# x and y of every class, [1, n, d] and [1, m, d].
Rows = Sequence[tuple[Tensor, Tensor]]


class Agreement(NamedTuple):
    """How well one network agrees with an ensemble on held-out rows.

    Attributes
    ----------
    distance : pair of float
        Mean squared distances of the maps of both, and of their inverses, in units of
        those of the members from their mean.
    risk_gain, risk_error : float
        How much lower the semi-dual risk of the network is, and the standard error.
    """

    distance: tuple[float, float]
    risk_gain: float
    risk_error: float

    @property
    def is_close(self) -> bool:
        """Whether the network may replace the ensemble."""
        near = all(a <= b for a, b in zip(self.distance, LARGEST_DISTANCE, strict=True))
        return near and self.risk_gain >= -N_ERRORS * self.risk_error


def n_compression_steps(n_iter: int) -> int:
    """Steps of the compression after a fit of `n_iter` steps."""
    return min(MOST_STEPS, max(LEAST_STEPS, round(STEPS_SHARE * n_iter)))


def compressed(
    flow: CharacteristicFlow,
    sampler: PairSampler,
    held_out: Rows,
    n_steps: int,
    learning_rate: float,
) -> CharacteristicFlow:
    """The flow of one network per class, or the given one if none agrees with it.

    Parameters
    ----------
    flow : CharacteristicFlow
        Of a :class:`~sk_ncf._flow.potential.MeanPotential` of K classes, on the CPU.
    sampler : PairSampler
        Minibatches of K classes. Every row is used `EVERY_ROW` times.
    held_out : sequence of pairs of Tensor
        x and y of every class, of shape [1, n, d] and [1, m, d]: rows that no member
        was trained on.
    n_steps : int
    learning_rate : float
        That of the fit.
    """
    mean = flow.potential
    assert isinstance(mean, MeanPotential)
    with one_thread():
        ends = _ends(sampler)
        wanted = _wanted(flow, ends)
        network = _nearest_members(mean, ends, wanted)
        if not _are_equal(mean):
            _regress(network, ends, wanted, n_steps, RATE_FACTOR * learning_rate)
        network.exact_inverse = True
        found = CharacteristicFlow(network.requires_grad_(False), flow.cost)
        agrees = all(
            compare(found.select_class(k), flow.select_class(k), *rows).is_close
            for k, rows in enumerate(held_out)
        )
    return found if agrees else flow


@torch.no_grad()
def compare(
    network: CharacteristicFlow, flow: CharacteristicFlow, x: Tensor, y: Tensor
) -> Agreement:
    """Compare a network with an ensemble, of one class.

    Parameters
    ----------
    network, flow : CharacteristicFlow
        Of one network, and of the mean of the members.
    x, y : Tensor of shape [1, n, d] and [1, m, d]
    """
    mean = flow.potential
    assert isinstance(mean, MeanPotential)
    members = CharacteristicFlow(mean.members, flow.cost)
    many = mean.ensemble_size, -1, -1
    parts = (
        (network.head(x), flow.head(x), members.head(x.expand(*many))),
        (
            network.foot(y),
            flow.inverse(y, INVERSE_STEPS),
            members.foot(y.expand(*many)),
        ),
    )
    forward, inverse = (_relative_distance(*part) for part in parts)
    weight_x, weight_y = (torch.full_like(z[..., 0], 1 / z.shape[1]) for z in (x, y))
    risk, other = (held_out_risk(f, x, y, weight_x, weight_y) for f in (flow, network))
    gain, error = risk.gain(other)
    return Agreement((forward, inverse), gain.item(), error.item())


def _relative_distance(found: Tensor, wanted: Tensor, of_members: Tensor) -> float:
    """The squared distance of two maps, in units of that of members from their mean."""
    distance = (found - wanted).square().sum(-1).mean().item()
    spread = (of_members - of_members.mean(0)).square().sum(-1).mean().item()
    return distance / spread if spread else 0.0


class _Ends(NamedTuple):
    """Rows of both ends: x at t = 0 and y at t = 1."""

    x: Tensor  # [K, n, d]
    y: Tensor  # [K, n, d]


class _Values(NamedTuple):
    """u and p there."""

    u_x: Tensor  # [K, n]
    p_x: Tensor  # [K, n, d]
    u_y: Tensor
    p_y: Tensor


def _ends(sampler: PairSampler) -> _Ends:
    """All rows of the sampler."""
    batches = [batch for batch, _ in sampler]
    return _Ends(*(torch.cat([batch[name] for batch in batches], 1) for name in "xy"))


@torch.no_grad()
def _wanted(flow: CharacteristicFlow, ends: _Ends) -> _Values:
    """The values to learn."""
    values = _values(flow.potential, ends)
    if not isinstance(flow.cost, SquaredEuclidean):
        # Where grad L jumps, the momentum of a displacement is another function of y than
        # the gradient of a smooth potential. The foot itself is near enough.
        return values
    foot = ends.y - flow.cost.velocity(values.p_y)
    inverse = flow.hopf_lax_descent(foot, ends.y, INVERSE_STEPS).x
    return values._replace(p_y=flow.cost.momentum(ends.y - inverse))


@torch.no_grad()
def _values(potential: BasePotential, ends: _Ends) -> _Values:
    x, y = ends
    of_x = potential.value_and_gradient(x, torch.zeros_like(x[..., 0]))
    of_y = potential.value_and_gradient(y, torch.ones_like(y[..., 0]))
    return _Values(*of_x, *of_y)


def _nearest_members(mean: MeanPotential, ends: _Ends, wanted: _Values) -> Potential:
    """The member of every class whose gradients are nearest to those of the mean."""
    some, size = slice(4 * BATCH_SIZE), mean.ensemble_size
    members = cast(Potential, mean.members)
    few = _Ends(*(z[:, some].repeat_interleave(size, 0) for z in ends))
    found, distance = _values(members, few), torch.zeros(members.n_potentials)
    for name in ("p_x", "p_y"):
        target = getattr(wanted, name)[:, some].repeat_interleave(size, 0)
        distance += (getattr(found, name) - target).square().sum(-1).mean(-1)
    nearest = distance.unflatten(0, (-1, size)).argmin(1)
    index = nearest + size * torch.arange(len(nearest))
    network = copy.copy(members)
    network.n_potentials = len(index)
    network._parameters = {
        name: nn.Parameter(value.detach()[index])
        for name, value in members.named_parameters()
    }
    return network


def _are_equal(mean: MeanPotential) -> bool:
    """Whether the members are copies of an earlier network, which nothing improved."""
    members = [p.unflatten(0, (-1, mean.ensemble_size)) for p in mean.parameters()]
    return all(bool((p == p[:, :1]).all()) for p in members)


def _regress(
    network: Potential,
    ends: _Ends,
    wanted: _Values,
    n_steps: int,
    learning_rate: float,
) -> None:
    """Train the network on the values, with a learning rate that decays to zero."""
    optimizer = SOAP(network.parameters(), learning_rate, basis_every=BASIS_EVERY)
    generator = torch.Generator().manual_seed(0)
    n, t = ends.x.shape[1], torch.tensor([0.0, 1.0]).repeat_interleave(BATCH_SIZE)
    order = torch.empty(0, dtype=torch.long)
    for step in range(n_steps):
        decay = (1 + math.cos(math.pi * step / n_steps)) / 2
        rate = learning_rate * min(1, (step + 1) / WARMUP) * decay
        optimizer.param_groups[0]["lr"] = rate
        if len(order) < BATCH_SIZE:
            order = torch.randperm(n, generator=generator)
        rows, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        x, y = (z[:, rows] for z in ends)
        u_x, p_x, u_y, p_y = (z[:, rows] for z in wanted)
        u, p = network.value_and_gradient(torch.cat([x, y], 1), t)
        error_p = (p - torch.cat([p_x, p_y], 1)).square().sum(-1)
        error_u = (u - torch.cat([u_x, u_y], 1)).square()
        # 2 is the number of ends; classes are independent, so their losses are added.
        loss = (2 * error_p + VALUE_WEIGHT * error_u).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
