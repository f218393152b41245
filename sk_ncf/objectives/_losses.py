r"""The terms of the objective, each one short pure function of the characteristics.

Every function returns one value per class, shape [K]. Rows carry no weights: minibatches
are drawn in proportion to them. Squares are taken in pseudo-Huber form, equal to them
where residuals are small. References: Park, Liu, Zhou, Osher,
"Neural Hamilton-Jacobi Characteristic Flows for Optimal Transport", ICLR 2026,
https://arxiv.org/abs/2510.01153 (the implicit residual and the matching term); Makkuva
et al., "Optimal transport mapping via input convex neural networks", ICML 2020, and
Amos, "On amortizing convex conjugates for optimal transport", ICLR 2023 (the semi-dual
and its Danskin gradient).
"""

import torch
from torch import Tensor

from sk_ncf._flow.characteristics import Characteristic, CharacteristicFlow

__all__ = [
    "hj_residual",
    "hopf_lax_violation",
    "implicit_residual",
    "momentum_residual",
    "semi_dual",
]


def implicit_residual(flow: CharacteristicFlow, x: Tensor, t: Tensor) -> Tensor:
    r"""Residual of the implicit solution formula at (x, t), shape [K, n].

    .. math:: u(x, t) - t L(v) - u(x - t v, 0), \qquad v = \nabla H(\nabla u(x, t)).

    Parameters
    ----------
    flow : CharacteristicFlow
    x : Tensor of shape [K, n, d]
    t : Tensor of shape [K, n], values in [0, 1]
    """
    u, p = flow.potential.value_and_gradient(x, t)
    v = flow.cost.velocity(p)
    u_start = flow.potential(x - t.unsqueeze(-1) * v, torch.zeros_like(t))
    return u - t * flow.cost.lagrangian(v) - u_start


def hj_residual(x: Characteristic, y: Characteristic) -> Tensor:
    r"""Implicit residual along whole characteristics, from both ends, squared.

    .. math:: [u(y, 1) - L(v) - u(foot, 0)]^2 + [u(head, 1) - L(v) - u(x, 0)]^2
    """
    from_y = (y.u - y.action - y.u_end).square()
    from_x = (x.u_end - x.action - x.u).square()
    return _tamed_mean(from_y) + _tamed_mean(from_x)


def momentum_residual(x: Characteristic, y: Characteristic) -> Tensor:
    r"""Change of the momentum along its characteristic, where it must be constant.

    .. math:: |\nabla u(foot, 0) - \nabla u(y, 1)|^2 + |\nabla u(head, 1) - \nabla u(x, 0)|^2
    """
    from_y = (y.p_end - y.p).square().sum(-1)
    from_x = (x.p_end - x.p).square().sum(-1)
    return _tamed_mean(from_y) + _tamed_mean(from_x)


def semi_dual(x: Characteristic, y: Characteristic, pairs: Tensor) -> Tensor:
    r"""Semi-dual objective, differentiated at its amortised minimiser (Danskin).

    .. math:: E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]

    Each y takes whichever is lower, its foot or the best source row of the minibatch.
    At the foot the gradient is that of :math:`u(foot, 0) - \langle p, foot \rangle`
    with p held fixed: the foot's own motion does not count.

    Parameters
    ----------
    pairs : Tensor of shape [K, n, m]
        u(x_i, 0) + c(x_i, y_j).
    """
    at_foot = y.u_end - (y.p_end.detach() * (y.end - y.end.detach())).sum(-1)
    best = pairs.min(-2).values
    with torch.no_grad():
        use_foot = y.u_end + y.action <= best
    low = torch.where(use_foot, at_foot + y.action.detach(), best)
    return x.u.mean(-1) - low.mean(-1)


def hopf_lax_violation(pairs: Tensor, u_y: Tensor) -> Tensor:
    r"""Squared excess of u(y, 1) over the Hopf-Lax formula, over all pairs.

    .. math:: E_{x, y} \max(0, u(y, 1) - u(x, 0) - c(x, y))^2,
       \qquad u(y, 1) = \min_x u(x, 0) + c(x, y).
    """
    excess = torch.relu(u_y.unsqueeze(-2) - pairs)
    return _tamed_mean(excess.square(), (-2, -1))


def _tamed_mean(square: Tensor, dim=-1) -> Tensor:
    r"""Mean pseudo-Huber form :math:`2 (\sqrt{1 + r^2} - 1)` of squared residuals.

    The square where it is small, :math:`2 |r|` where it is not: rows far out, whose
    residual grows with the square of their distance, would else be all that counts.
    """
    return 2 * ((1 + square).sqrt().mean(dim) - 1)
