r"""The characteristic flow of a potential: T, its inverse and everything between."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sk_ncf.costs import Cost

__all__ = ["Characteristic", "CharacteristicFlow", "PairSearch"]


class Characteristic(NamedTuple):
    r"""Characteristics through rows given at one end, with u and p at both.

    The line through (x, 0) has velocity :math:`v = \nabla H(\nabla u(x, 0))` and ends
    in (x + v, 1); the line through (y, 1) has :math:`v = \nabla H(\nabla u(y, 1))` and
    starts in (y - v, 0).
    """

    u: Tensor  # [K, n]     value at the given end
    p: Tensor  # [K, n, d]  momentum at the given end
    v: Tensor  # [K, n, d]  velocity
    action: Tensor  # [K, n]  L(v), the cost paid along the line
    end: Tensor  # [K, n, d]  the other end: head(x) or foot(y)
    u_end: Tensor  # [K, n]
    p_end: Tensor  # [K, n, d]


class PairSearch(NamedTuple):
    """Result of a minimisation of u(x, 0) + c(x, y) over x."""

    x: Tensor  # [K, n, d]
    value: Tensor  # [K, n]


class CharacteristicFlow(nn.Module):
    r"""Closed-form maps of a potential u that solves :math:`u_t + H(\nabla u) = 0`.

    .. math:: T(x) = x + \nabla H(\nabla u(x, 0)), \quad
              T^{-1}(y) = y - \nabla H(\nabla u(y, 1)), \quad
              T_t(x) = x + t \nabla H(\nabla u(x, 0)).

    Parameters
    ----------
    potential : Module with ``value_and_gradient(x, t)``
    cost : Cost
    """

    def __init__(self, potential, cost: Cost):
        super().__init__()
        self.potential = potential
        self.cost = cost

    def of_class(self, k: int) -> "CharacteristicFlow":
        """The flow of one class."""
        return CharacteristicFlow(self.potential.of_class(k), self.cost.of_class(k))

    def velocity(self, x: Tensor, t: float) -> Tensor:
        r"""v(x, t) = grad H(grad u(x, t)), shape [K, n, d]."""
        t = torch.full(x.shape[:-1], float(t), dtype=x.dtype, device=x.device)
        return self.cost.velocity(self.potential.value_and_gradient(x, t)[1])

    def head(self, x: Tensor) -> Tensor:
        """T(x) = x + v(x, 0), the end of the characteristic that starts in x."""
        return x + self.velocity(x, 0)

    def foot(self, y: Tensor) -> Tensor:
        """T^-1(y) = y - v(y, 1), the start of the characteristic that ends in y."""
        return y - self.velocity(y, 1)

    def interpolate(self, x: Tensor, t: float) -> Tensor:
        """T_t(x) = x + t v(x, 0), McCann's displacement interpolation."""
        return x + t * self.velocity(x, 0)

    def inverse(self, y: Tensor, refinements: int = 0) -> Tensor:
        """T^-1(y): the foot of y, moved by a few steps of :meth:`minimise_pairs`."""
        foot = self.foot(y)
        return self.minimise_pairs(foot, y, refinements).x if refinements else foot

    def hopf_lax(self, y: Tensor, n_iter: int) -> tuple[Tensor, Tensor]:
        r"""u(x, 0) + c(x, y) at the foot of y, and its minimum over x after `n_iter` steps.

        Searched from the foot or, where that is lower, from y itself: a foot that lies
        far astray would otherwise be taken for a minimum. Both of shape [K, n].
        """
        foot = self.minimise_pairs(self.foot(y), y, 0)
        rest = self.minimise_pairs(y, y, 0)
        lower = (foot.value <= rest.value).unsqueeze(-1)
        start = torch.where(lower, foot.x, y)
        return foot.value, self.minimise_pairs(start, y, n_iter).value

    def characteristics(
        self, x: Tensor, y: Tensor
    ) -> tuple[Characteristic, Characteristic]:
        """The lines from rows x at t = 0 and from rows y at t = 1, two network passes."""
        n, m = x.shape[-2], y.shape[-2]
        t = torch.cat([x.new_zeros(n), y.new_ones(m)])
        u, p = self.potential.value_and_gradient(torch.cat([x, y], -2), t)
        v = self.cost.velocity(p)
        action = self.cost.lagrangian(v)
        sign = 1 - 2 * t.unsqueeze(-1)  # heads lie ahead of x, feet behind y
        end = torch.cat([x, y], -2) + sign * v
        u_end, p_end = self.potential.value_and_gradient(end, 1 - t)
        parts = [part.split([n, m], 1) for part in (u, p, v, action, end, u_end, p_end)]
        from_x, from_y = zip(*parts, strict=True)
        return Characteristic(*from_x), Characteristic(*from_y)

    @torch.no_grad()
    def minimise_pairs(self, x: Tensor, y: Tensor, n_iter: int) -> PairSearch:
        r"""Descend u(x, 0) + L(y - x) over x, each row on its own, from `x`.

        The step :math:`x \leftarrow y - \nabla H(\nabla u(x, 0))` is the fixed point of
        the optimality condition :math:`\nabla u(x, 0) = \nabla L(y - x)` and, because
        :math:`\nabla H` is monotone, a descent direction for every convex L. It is
        halved per row where the value would go up, so no row ever gets worse.
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
        return PairSearch(x, value)
