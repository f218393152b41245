r"""The characteristic flow of a potential: the map T, its inverse, the interpolation."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_ncf._flow.potential import BasePotential
from sk_ncf.costs import Cost

__all__ = [
    "INVERSE_STEPS",
    "Characteristic",
    "CharacteristicFlow",
    "HopfLaxMinimum",
    "HopfLaxPoint",
]

# Steps of descent from the foot: of the inverse map, and to the minimum in the
# Hopf-Lax formula.
INVERSE_STEPS, MINIMUM_STEPS = 3, 12


@dataclass(frozen=True)
class Characteristic:
    r"""Characteristics through points given at one end, with u and p at both ends.

    The line through (x, 0) has velocity :math:`v = \nabla H(\nabla u(x, 0))` and ends
    in (x + v, 1). The line through (y, 1) has :math:`v = \nabla H(\nabla u(y, 1))` and
    starts in (y - v, 0).

    Attributes
    ----------
    u : Tensor of shape [K, n]
        Value at the given end.
    p : Tensor of shape [K, n, d]
        Momentum at the given end.
    v : Tensor of shape [K, n, d]
        Velocity.
    action : Tensor of shape [K, n]
        L(v), the cost of the displacement v.
    end : Tensor of shape [K, n, d]
        The other end: head(x) or foot(y).
    u_end : Tensor of shape [K, n]
        Value at the other end.
    p_end : Tensor of shape [K, n, d]
        Momentum at the other end.
    """

    u: Tensor
    p: Tensor
    v: Tensor
    action: Tensor
    end: Tensor
    u_end: Tensor
    p_end: Tensor


class HopfLaxPoint(NamedTuple):
    """A point x, and u(x, 0) + c(x, y) there."""

    x: Tensor  # [K, n, d]
    value: Tensor  # [K, n]


class HopfLaxMinimum(NamedTuple):
    """u(x, 0) + c(x, y) at the foot of y, and its minimum over x."""

    at_foot: Tensor  # [K, n]
    minimum: Tensor  # [K, n]


class CharacteristicFlow(nn.Module):
    r"""Closed-form maps of a potential u that solves :math:`u_t + H(\nabla u) = 0`.

    .. math:: T(x) = x + \nabla H(\nabla u(x, 0)), \quad
              T^{-1}(y) = y - \nabla H(\nabla u(y, 1)), \quad
              T_t(x) = x + t \nabla H(\nabla u(x, 0)).

    Parameters
    ----------
    potential : BasePotential
        The K potentials u.
    cost : Cost
        Defines H and L.
    """

    def __init__(self, potential: BasePotential, cost: Cost) -> None:
        super().__init__()
        self.potential = potential
        self.cost = cost

    def select_class(self, k: int) -> "CharacteristicFlow":
        """The flow of class k alone."""
        return CharacteristicFlow(
            self.potential.select_class(k), self.cost.select_class(k)
        )

    def velocity(self, x: Tensor, t: float) -> Tensor:
        r"""v(x, t) = grad H(grad u(x, t)), shape [K, n, d].

        Parameters
        ----------
        x : Tensor of shape [K, n, d]
        t : float
        """
        times = torch.full(x.shape[:-1], float(t), dtype=x.dtype, device=x.device)
        return self.cost.velocity(self.potential.value_and_gradient(x, times)[1])

    def head(self, x: Tensor) -> Tensor:
        """T(x) = x + v(x, 0), the end of the characteristic from x, shape [K, n, d]."""
        return x + self.velocity(x, 0)

    def foot(self, y: Tensor) -> Tensor:
        """T^-1(y) = y - v(y, 1), the start of the characteristic to y, [K, n, d]."""
        return y - self.velocity(y, 1)

    def interpolate(self, x: Tensor, t: float) -> Tensor:
        """T_t(x) = x + t v(x, 0), McCann's displacement interpolation, [K, n, d]."""
        return x + t * self.velocity(x, 0)

    def inverse(self, y: Tensor, refinements: int = 0) -> Tensor:
        """T^-1(y): the foot of y after some steps of :meth:`hopf_lax_descent`.

        Parameters
        ----------
        y : Tensor of shape [K, n, d]
        refinements : int, default=0
            Number of steps. Potentials with an exact inverse take none.
        """
        foot = self.foot(y)
        if getattr(self.potential, "exact_inverse", False):
            return foot
        return self.hopf_lax_descent(foot, y, refinements).x if refinements else foot

    def hopf_lax_minimum(self, y: Tensor) -> HopfLaxMinimum:
        r"""The Hopf-Lax formula :math:`u(y, 1) = \min_x u(x, 0) + c(x, y)`.

        The search (:meth:`hopf_lax_descent`) starts from the foot of y, or from y itself
        if the value is lower there. A foot far from the minimum could otherwise be taken
        for it.

        Parameters
        ----------
        y : Tensor of shape [K, n, d]
        """
        foot = self.hopf_lax_descent(self.foot(y), y, 0)
        same = self.hopf_lax_descent(y, y, 0)
        lower = (foot.value <= same.value).unsqueeze(-1)
        start = torch.where(lower, foot.x, y)
        found = self.hopf_lax_descent(start, y, MINIMUM_STEPS)
        return HopfLaxMinimum(foot.value, found.value)

    def characteristics(
        self, x: Tensor, y: Tensor
    ) -> tuple[Characteristic, Characteristic]:
        """The lines from x at t = 0 and those to y at t = 1, in two network passes.

        Parameters
        ----------
        x, y : Tensor of shape [K, n, d] and [K, m, d]
        """
        n, m = x.shape[-2], y.shape[-2]
        t = torch.cat([x.new_zeros(n), y.new_ones(m)])
        u, p = self.potential.value_and_gradient(torch.cat([x, y], -2), t)
        v = self.cost.velocity(p)
        action = self.cost.lagrangian(v)
        sign = 1 - 2 * t.unsqueeze(-1)  # head = x + v, foot = y - v
        end = torch.cat([x, y], -2) + sign * v
        u_end, p_end = self.potential.value_and_gradient(end, 1 - t)
        parts = [part.split([n, m], 1) for part in (u, p, v, action, end, u_end, p_end)]
        from_x, from_y = zip(*parts, strict=True)
        return Characteristic(*from_x), Characteristic(*from_y)

    @torch.no_grad()
    def hopf_lax_descent(self, x: Tensor, y: Tensor, n_iter: int) -> HopfLaxPoint:
        r"""Minimise u(x, 0) + c(x, y) over x, for each row, starting from `x`.

        The step :math:`x \leftarrow y - \nabla H(\nabla u(x, 0))` is the fixed-point
        iteration of the optimality condition :math:`\nabla u(x, 0) = \nabla L(y - x)`.
        Because :math:`\nabla H` is monotone, it is a descent direction for every convex
        L. Steps that would increase the value are not taken but halved, for each row.

        Parameters
        ----------
        x, y : Tensor of shape [K, n, d]
        n_iter : int
            Number of steps; 0 evaluates the value at `x`.
        """
        zero = x.new_zeros(x.shape[:-1])
        u, p = self.potential.value_and_gradient(x, zero)
        value = u + self.cost(x, y)
        damping = torch.ones_like(value)
        for _ in range(n_iter):
            step = y - self.cost.velocity(p) - x
            trial = x + damping.unsqueeze(-1) * step
            u, p_trial = self.potential.value_and_gradient(trial, zero)
            trial_value = u + self.cost(trial, y)
            better = trial_value < value
            mask = better.unsqueeze(-1)
            x, p = torch.where(mask, trial, x), torch.where(mask, p_trial, p)
            value = torch.where(better, trial_value, value)
            damping = torch.where(better, (damping * 1.5).clamp_max(1), damping / 2)
        return HopfLaxPoint(x, value)
