"""Named transport problems with their exact potential and maps, in closed form.

Each solves u_t + H(grad u) = 0 for all t in [0, 1] and maps its source rows by an
optimal map. COSTS holds every cost: a new one is one more line there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf.costs import (
    Cost,
    Elastic,
    Lp,
    NormPower,
    PseudoHuber,
    QuadraticForm,
    SquaredEuclidean,
)
from sk_ncf.costs._affine import AffineCost

D = 3
MATRIX = [[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.7]]


class Quartic(Cost):
    """A user's own cost: L alone."""

    def lagrangian(self, v):
        return v.square().sum(-1) / 2 + v.square().sum(-1).square() / 4


class LogCosh(Cost):
    """A user's own cost: L and grad H."""

    def __init__(self, scale=2.0):
        self.scale = scale

    def lagrangian(self, v):
        log_cosh = torch.logaddexp(v, -v) - math.log(2)
        return (self.scale * log_cosh + v.square() / 2).sum(-1)

    def velocity(self, p):
        v = p.detach()  # above the root: Newton's method comes down to it
        for _ in range(50):
            v = v - self._excess(v, p.detach()) / self._slope(v)
        return v - self._excess(v, p) / self._slope(v)

    def _excess(self, v, p):
        return self.scale * v.tanh() + v - p

    def _slope(self, v):
        return 1 + self.scale * (1 - v.tanh().square())


class PlasticHuber(Cost):
    """A user's own cost: L and grad L."""

    def lagrangian(self, v):
        return ((1 + v.square()).sqrt() - 1 + v.square() / 4).sum(-1)

    def momentum(self, v):
        return v / (1 + v.square()).sqrt() + v / 2


def _moved(cost):
    """The cost in centred and scaled variables, with a mean shift."""
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    return AffineCost(cost, shift, scale=0.6, unit=1.7)


COSTS = {
    "sqeuclidean": SquaredEuclidean(),
    "lp 1.2": Lp(1.2),
    "lp 1.5": Lp(1.5),
    "lp 3": Lp(3.0),
    "norm_power 1.5": NormPower(1.5),
    "norm_power 3": NormPower(3.0),
    "elastic": Elastic(0.4),
    "elastic 0": Elastic(0.0),
    "pseudo_huber": PseudoHuber(0.7),
    "quadratic_form": QuadraticForm(MATRIX),
    "user's, L alone": Quartic(),
    "user's, L and grad H": LogCosh(),
    "user's, L and grad L": PlasticHuber(),
    "moved lp": _moved(Lp(1.5)),
    "moved pseudo_huber": _moved(PseudoHuber(0.7)),
    "moved elastic": _moved(Elastic(0.4)),
}


class ExactPotential(nn.Module):
    """A closed form u(x, t), its gradient by autograd; bent by `bend` if wanted."""

    n_potentials = 1

    def __init__(self, u, bend=0.0):
        super().__init__()
        self.u = u
        self.bend = nn.Parameter(torch.tensor(float(bend), dtype=torch.float64))

    def value_and_gradient(self, x: Tensor, t: Tensor):
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            wave = torch.sin(1.3 * x).sum(-1) * (1 - t / 2)
            u = self.u(x, t) + self.bend * wave
            (p,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return (u, p) if torch.is_grad_enabled() else (u.detach(), p.detach())

    def forward(self, x, t):
        return self.value_and_gradient(x, t)[0]


@dataclass(frozen=True)
class Problem:
    """A cost with rows, u(x, t), T and T^-1; tensors of shape [1, n, d]."""

    name: str
    cost: Cost
    u: Callable
    T: Callable
    T_inv: Callable
    n_features: int = D

    def sample(self, n=50, seed=0):
        generator = torch.Generator().manual_seed(seed)
        shape = (1, n, self.n_features)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def flow(self, bend=0.0):
        return CharacteristicFlow(ExactPotential(self.u, bend), self.cost)

    def __repr__(self):
        return self.name


def translation(name, cost):
    """T(x) = x + b: u = <grad L(b), x> - t H(grad L(b)), for every cost."""
    b = torch.tensor([0.8, -0.5, 0.3], dtype=torch.float64)
    p = cost.momentum(b)
    h = cost.hamiltonian(p)
    return Problem(
        f"translation, {name}",
        cost,
        lambda x, t: x @ p - t * h,
        lambda x: x + b,
        lambda y: y - b,
    )


def dilation(name, cost, a=1.6):
    r"""T(x) = a x: u = L(v) (1 + t k) / k with k = a - 1, v = k x / (1 + t k).

    Differentiating, grad u = grad L(v) and u_t = -H(grad u), for every cost.
    """
    k = a - 1

    def u(x, t):
        stretch = 1 + t * k
        v = k * x / torch.as_tensor(stretch).unsqueeze(-1)
        return cost.lagrangian(v) * stretch / k

    return Problem(f"dilation, {name}", cost, u, lambda x: a * x, lambda y: y / a)


def gaussian():
    """T(x) = A x, A > 0: u = x' S (I + t S)^-1 x / 2 with S = A - I (quadratic)."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(D, D, generator=generator, dtype=torch.float64)
    vectors = torch.linalg.qr(noise).Q
    scales = torch.tensor([0.4, 1.0, 2.5], dtype=torch.float64)
    A = (vectors * scales) @ vectors.T
    s = scales - 1

    def u(x, t):
        t = torch.as_tensor(t).unsqueeze(-1)
        return ((x @ vectors).square() * s / (1 + t * s)).sum(-1) / 2

    A_inv = torch.linalg.inv(A)
    return Problem(
        "gaussian", SquaredEuclidean(), u, lambda x: x @ A, lambda y: y @ A_inv
    )


def monotone_1d(c=0.5):
    r"""T(x) = x + c x |x| in one dimension, under L(v) = |v|^1.5 / 1.5.

    u(x, 0) = sqrt(c) x^2 / 2, and u(y, t) = u(x, 0) + t L(c x |x|) at the start x of
    the line through (y, t), the root of y = x + t c x |x|.
    """

    def start(y, t):
        return 2 * y / (1 + (1 + 4 * c * t * y.abs()).sqrt())

    def u(y, t):
        x = start(y.squeeze(-1), torch.as_tensor(t))
        return c**0.5 * x.square() / 2 + t * (c * x.square()) ** 1.5 / 1.5

    return Problem(
        "monotone 1-D",
        Lp(1.5),
        u,
        lambda x: x + c * x * x.abs(),
        lambda y: start(y, torch.ones(())),
        n_features=1,
    )


PROBLEMS = [
    *(translation(name, cost) for name, cost in COSTS.items()),
    *(dilation(name, cost) for name, cost in COSTS.items()),
    gaussian(),
    monotone_1d(),
]
