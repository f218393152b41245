"""The velocity of a cost without a closed form: a Legendre conjugate computed numerically."""

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["newton_conjugate"]


class Differentiable(Protocol):
    """A cost with L and its gradient."""

    def lagrangian(self, v: Tensor) -> Tensor:
        """L(v)."""
        ...

    def momentum(self, v: Tensor) -> Tensor:
        """The gradient of L."""
        ...


def newton_conjugate(
    cost: Differentiable, p: Tensor, max_iter: int = 50, tol: float = 1e-10
) -> Tensor:
    r"""Solve :math:`\nabla L(v) = p` for every row of p, by Newton's method.

    The solution minimises the convex merit function :math:`L(v) - \langle p, v \rangle`.
    The first iterate is the best multiple of p. Steps that do not lower the merit are
    halved. One more Newton step at the solution is differentiable and has the
    derivative :math:`dv/dp = (\nabla^2 L)^{-1}`.

    Parameters
    ----------
    cost : Cost
    p : Tensor of shape (..., d)
    max_iter : int, default=50
    tol : float, default=1e-10
        Largest relative residual of a row that counts as solved.

    Returns
    -------
    Tensor of shape (..., d)
    """
    rows = p.detach().reshape(-1, p.shape[-1]).double()
    v = _best_multiple(cost, rows)
    active = torch.arange(len(rows), device=p.device)
    for _ in range(max_iter):
        wanted, current = rows[active], v[active]
        residual = cost.momentum(current).detach() - wanted
        unsolved = residual.norm(dim=-1) > tol * (1e-30 + wanted.norm(dim=-1))
        if not unsolved.any():
            break
        active, current, wanted = active[unsolved], current[unsolved], wanted[unsolved]
        direction = torch.linalg.solve(_hessian(cost, current), residual[unsolved])
        v[active] = _backtrack(cost, current, direction, wanted)
    correction = torch.linalg.solve(
        _hessian(cost, v), p.reshape(rows.shape).double() - rows
    )
    return (v + correction).reshape(p.shape).to(p.dtype)


def _hessian(cost: Differentiable, v: Tensor) -> Tensor:
    r"""Hessian of L, shape (n, d, d), with a ridge far below its usual size."""
    hessian = torch.func.vmap(torch.func.hessian(cost.lagrangian))(v).detach()
    hessian = hessian.nan_to_num()
    ridge = 1e-9 * hessian.diagonal(dim1=-2, dim2=-1).mean() + 1e-30
    return hessian + ridge * torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)


def _merit(cost: Differentiable, v: Tensor, p: Tensor) -> Tensor:
    return cost.lagrangian(v) - (p * v).sum(-1)


def _best_multiple(cost: Differentiable, p: Tensor) -> Tensor:
    """The multiple of each row of p with the least merit, shape (n, d)."""
    scales = 10.0 ** torch.arange(-8, 8.5, 0.5, dtype=p.dtype, device=p.device)
    merits = torch.stack([_merit(cost, s * p, p) for s in scales]).nan_to_num(torch.inf)
    return scales[merits.argmin(0)].unsqueeze(-1) * p


def _backtrack(cost: Differentiable, v: Tensor, direction: Tensor, p: Tensor) -> Tensor:
    """v - s direction, each row with the first s of 1, 1/2, ... that improves it.

    A row is improved by a lower merit. Near the solution merits are equal to rounding;
    a lower residual counts there.
    """

    def residual(v: Tensor) -> Tensor:
        return (cost.momentum(v).detach() - p).norm(dim=-1)

    value, error, trial = _merit(cost, v, p), residual(v), v - direction
    for k in range(1, 30):
        worse = ~((_merit(cost, trial, p) < value) | (residual(trial) < error))
        if not worse.any():
            return trial
        trial = torch.where(worse.unsqueeze(-1), v - direction / 2**k, trial)
    return torch.where(worse.unsqueeze(-1), v, trial)
