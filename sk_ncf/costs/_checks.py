"""Whether a cost is one: finite, strictly convex, its gradients inverse maps."""

import math

import torch

from sk_ncf._inputs.errors import is_number
from sk_ncf.costs._base import Cost
from sk_ncf.costs._quadratic import QuadraticForm
from sk_ncf.costs._registry import COSTS

__all__ = ["check_cost", "check_cost_parameters"]


def check_cost(cost, n_features, scale=1.0):
    r"""Raise ValueError unless `cost` is finite and strictly convex around `scale`.

    Along random chords and along every axis (up to 64), at a hundredth of, at, and at
    ten times `scale`, the value at the middle must lie strictly below the chord, and
    :math:`\nabla H` must undo :math:`\nabla L`. A homogeneous cost is checked at scale 1,
    and so is its degree: what holds there holds at every scale.
    """
    check_cost_parameters(cost, n_features)
    _check_scale(cost, scale)
    if cost.homogeneity is not None:
        scale = 1.0
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(n_features, dtype=torch.float64)[:64]
    rays = torch.randn(16, n_features, generator=generator, dtype=torch.float64)
    ends = torch.randn(16, n_features, generator=generator, dtype=torch.float64)
    a = torch.cat([axes, -axes, rays, rays])
    b = torch.cat([2 * axes, -2 * axes, 2 * rays, ends])
    name = f"cost={cost!r}"
    for factor in (0.01, 1.0, 10.0):
        x, y = factor * scale * a, factor * scale * b
        low, mid, high = (cost.lagrangian(v) for v in (x, (x + y) / 2, y))
        if low.shape != a.shape[:1]:
            raise ValueError(
                f"{name}: lagrangian must map rows of shape (n, d) to values of shape "
                f"(n,), got {tuple(low.shape)} for rows of shape {tuple(a.shape)}."
            )
        values = torch.cat([low, mid, high, cost.momentum(x).reshape(-1)])
        if not values.isfinite().all():
            raise ValueError(f"{name} is not finite at displacements of size {scale}.")
        _check_degree(cost, x, low)
        gap = (low + high) / 2 - mid
        if not (gap > 1e-13 * (low.abs() + high.abs())).all():
            raise ValueError(
                f"{name} is not strictly convex (to working precision) at displacements "
                f"of size {factor * scale:.3g}: c(x, y) = L(y - x) needs a strictly "
                "convex L (for l_p and norm powers, p > 1)."
            )
        back = cost.velocity(cost.momentum(x))
        if not (back - x).abs().max() <= 1e-3 * x.abs().max():
            raise ValueError(f"{name}: velocity must be the inverse map of momentum.")


def _check_scale(cost, scale):
    """Raise where the data, or their cost, are in a unit out of floating-point reach."""
    low, high = 1e-100, 1e100
    if not low <= scale <= high:
        raise ValueError(
            f"X and X_target must differ, within or between them, by {low:g} to {high:g} "
            f"or not at all, got {scale:.3g}: choose another unit."
        )
    degree = cost.homogeneity or 1.0
    if not abs(degree * math.log10(scale)) <= 250:
        raise ValueError(
            f"cost={cost!r} of a displacement of {scale:.3g}, the size of those between "
            f"X and X_target, is no floating-point number: choose another unit."
        )


def _check_degree(cost, v, value):
    k = cost.homogeneity
    if k is not None and not torch.allclose(cost.lagrangian(3 * v), 3**k * value):
        raise ValueError(
            f"cost={cost!r} declares homogeneity={k!r}, but L(3 v) is not 3^{k!r} L(v)."
        )


def check_cost_parameters(cost, n_features):
    """Raise ValueError unless the parameters of a built-in cost are in their ranges."""
    name = type(cost).__name__
    if type(cost).lagrangian is Cost.lagrangian:
        raise ValueError(f"cost={cost!r}: {name} must define lagrangian(v).")
    if type(cost) not in COSTS.values():
        return
    bounds = {"p": (1, "> 1"), "gamma": (None, ">= 0"), "delta": (0, "> 0")}
    for key, (low, wanted) in bounds.items():
        value = cost.get_params(deep=False).get(key, 1.5)
        valid = is_number(value, -1e300, 1e300)
        if not valid or not (value >= 0 if low is None else value > low):
            raise ValueError(f"{key} of {name} must be {wanted}, got {value!r}.")
    if isinstance(cost, QuadraticForm):
        _check_matrix(cost.matrix, n_features)


def _check_matrix(matrix, n_features):
    try:
        matrix = torch.as_tensor(matrix, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"matrix of QuadraticForm must be a square array of numbers, got {matrix!r}."
        ) from None
    if matrix.shape != (n_features, n_features):
        raise ValueError(
            f"matrix of QuadraticForm must have shape ({n_features}, {n_features}) for "
            f"data of {n_features} features, got {tuple(matrix.shape)}."
        )
    symmetric = torch.allclose(matrix, matrix.mT)
    if not symmetric or not (torch.linalg.eigvalsh(matrix) > 0).all():
        raise ValueError("matrix of QuadraticForm must be symmetric positive definite.")
