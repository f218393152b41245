r"""The terms of the objectives, each a short pure function of the characteristics.

Every function returns one value per potential, shape [K]. There are no sample weights
here: minibatches are drawn with probabilities proportional to them. Squares of
residuals are replaced by a pseudo-Huber function, which equals the square for small
residuals.

The implicit residual and the matching term are those of Park, Liu, Zhou, Osher, "Neural
Hamilton-Jacobi Characteristic Flows for Optimal Transport", ICLR 2026,
https://arxiv.org/abs/2510.01153. The semi-dual and its gradient by Danskin's theorem are
those of Makkuva et al., "Optimal transport mapping via input convex neural networks",
ICML 2020, and Amos, "On amortizing convex conjugates for optimal transport", ICLR 2023.
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
    r"""Residual of the implicit solution formula at (x, t).

    .. math:: u(x, t) - t L(v) - u(x - t v, 0), \qquad v = \nabla H(\nabla u(x, t)).

    Parameters
    ----------
    flow : CharacteristicFlow
    x : Tensor of shape [K, n, d]
    t : Tensor of shape [K, n], values in [0, 1]

    Returns
    -------
    Tensor of shape [K, n]
    """
    u, p = flow.potential.value_and_gradient(x, t)
    v = flow.cost.velocity(p)
    u_start = flow.potential(x - t.unsqueeze(-1) * v, torch.zeros_like(t))
    return u - t * flow.cost.lagrangian(v) - u_start


def hj_residual(x: Characteristic, y: Characteristic) -> Tensor:
    r"""Squared implicit residual over whole characteristics, from both ends.

    .. math:: E [u(y, 1) - L(v) - u(foot, 0)]^2 + E [u(head, 1) - L(v) - u(x, 0)]^2

    Parameters
    ----------
    x, y : Characteristic
        Through n source samples at t = 0, and through m target samples at t = 1.

    Returns
    -------
    Tensor of shape [K]
    """
    from_y = (y.u - y.action - y.u_end).square()
    from_x = (x.u_end - x.action - x.u).square()
    return _pseudo_huber_mean(from_y) + _pseudo_huber_mean(from_x)


def momentum_residual(x: Characteristic, y: Characteristic) -> Tensor:
    r"""Squared change of momentum along characteristics.

    The momentum of the exact solution is constant along them.

    .. math:: E |\nabla u(foot, 0) - \nabla u(y, 1)|^2
              + E |\nabla u(head, 1) - \nabla u(x, 0)|^2

    Parameters
    ----------
    x, y : Characteristic
        Through n source samples at t = 0, and through m target samples at t = 1.

    Returns
    -------
    Tensor of shape [K]
    """
    from_y = (y.p_end - y.p).square().sum(-1)
    from_x = (x.p_end - x.p).square().sum(-1)
    return _pseudo_huber_mean(from_y) + _pseudo_huber_mean(from_x)


def semi_dual(x: Characteristic, y: Characteristic, pairs: Tensor) -> Tensor:
    r"""Semi-dual objective, differentiated by Danskin's theorem.

    .. math:: E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]

    The minimum for each y is taken over its foot and the source samples of the
    minibatch. If it is at the foot, the gradient is that of
    :math:`u(foot, 0) - \langle p, foot \rangle` with p held fixed: the dependence of the
    foot on the weights does not contribute.

    Parameters
    ----------
    x, y : Characteristic
        Through n source samples at t = 0, and through m target samples at t = 1.
    pairs : Tensor of shape [K, n, m]
        u(x_i, 0) + c(x_i, y_j).

    Returns
    -------
    Tensor of shape [K]
    """
    at_foot = y.u_end - (y.p_end.detach() * (y.end - y.end.detach())).sum(-1)
    best = pairs.min(-2).values
    with torch.no_grad():
        use_foot = y.u_end + y.action <= best
    minimum = torch.where(use_foot, at_foot + y.action.detach(), best)
    return x.u.mean(-1) - minimum.mean(-1)


def hopf_lax_violation(pairs: Tensor, u_y: Tensor) -> Tensor:
    r"""Squared excess of u(y, 1) over the Hopf-Lax formula, over all pairs.

    .. math:: E_{x, y} \max(0, u(y, 1) - u(x, 0) - c(x, y))^2,
       \qquad u(y, 1) = \min_x u(x, 0) + c(x, y).

    Parameters
    ----------
    pairs : Tensor of shape [K, n, m]
        u(x_i, 0) + c(x_i, y_j).
    u_y : Tensor of shape [K, m]
        u(y_j, 1).

    Returns
    -------
    Tensor of shape [K]
    """
    excess = torch.relu(u_y.unsqueeze(-2) - pairs)
    return _pseudo_huber_mean(excess.square(), (-2, -1))


def _pseudo_huber_mean(square: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    r"""Mean pseudo-Huber loss :math:`2 (\sqrt{1 + r^2} - 1)` of squared residuals.

    It is :math:`r^2` for small residuals and :math:`2 |r|` for large ones. The residuals
    of outliers grow with the square of their distance, and their squares would dominate
    the mean.
    """
    return 2 * ((1 + square).sqrt().mean(dim) - 1)
