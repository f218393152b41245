"""The velocity of a cost that knows its Lagrangian alone: a Legendre conjugate by numbers."""

import torch

__all__ = ["newton_conjugate"]


def newton_conjugate(cost, p, max_iter=50, tol=1e-10):
    r"""Solve :math:`\nabla L(v) = p` row by row by Newton's method with halved steps.

    The merit function :math:`L(v) - \langle p, v \rangle` is convex: it is first
    minimised over a grid of multiples of p, then by steps that lower it or are halved.
    One more differentiable Newton step at the solution carries the derivative
    :math:`dv/dp = (\nabla^2 L)^{-1}`.
    """
    rows = p.detach().reshape(-1, p.shape[-1]).double()
    v = _best_multiple(cost, rows)
    active = torch.arange(len(rows), device=p.device)
    for _ in range(max_iter):
        wanted, at = rows[active], v[active]
        residual = cost.momentum(at).detach() - wanted
        open_ = residual.norm(dim=-1) > tol * (1e-30 + wanted.norm(dim=-1))
        if not open_.any():
            break
        active, at, wanted = active[open_], at[open_], wanted[open_]
        direction = torch.linalg.solve(_hessian(cost, at), residual[open_])
        v[active] = _halved_step(cost, at, direction, wanted)
    correction = torch.linalg.solve(
        _hessian(cost, v), p.reshape(rows.shape).double() - rows
    )
    return (v + correction).reshape(p.shape).to(p.dtype)


def _hessian(cost, v):
    r"""Hessian of L, shape (n, d, d), with a ridge far below its usual size."""
    hessian = torch.func.vmap(torch.func.hessian(cost.lagrangian))(v).detach()
    hessian = hessian.nan_to_num()
    ridge = 1e-9 * hessian.diagonal(dim1=-2, dim2=-1).mean() + 1e-30
    return hessian + ridge * torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)


def _merit(cost, v, p):
    return cost.lagrangian(v) - (p * v).sum(-1)


def _best_multiple(cost, p):
    """The multiple of each row of p with the least merit, shape (n, d)."""
    scales = 10.0 ** torch.arange(-8, 8.5, 0.5, dtype=p.dtype, device=p.device)
    merits = torch.stack([_merit(cost, s * p, p) for s in scales]).nan_to_num(torch.inf)
    return scales[merits.argmin(0)].unsqueeze(-1) * p


def _halved_step(cost, v, direction, p):
    """v - s direction, each row with the first s of 1, 1/2, ... that is an improvement.

    That is a lower merit or, where merits are equal to rounding, a lower residual.
    """

    def residual(v):
        return (cost.momentum(v).detach() - p).norm(dim=-1)

    value, error, trial = _merit(cost, v, p), residual(v), v - direction
    for k in range(1, 30):
        worse = ~((_merit(cost, trial, p) < value) | (residual(trial) < error))
        if not worse.any():
            return trial
        trial = torch.where(worse.unsqueeze(-1), v - direction / 2**k, trial)
    return torch.where(worse.unsqueeze(-1), v, trial)
