"""Validation of costs: finite, strictly convex, with gradients that are inverse maps."""

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sk_ncf._inputs.errors import is_number
from sk_ncf.costs._base import Cost
from sk_ncf.costs._quadratic import QuadraticForm
from sk_ncf.costs._registry import COSTS

__all__ = ["check_cost", "check_cost_parameters"]

UNIT_RANGE = 1e-100, 1e100  # of the differences between samples


def check_cost(cost: Cost, n_features: int, scale: float = 1.0) -> None:
    r"""Raise ValueError unless `cost` is finite and strictly convex around `scale`.

    Chords in random directions and along every axis (up to 64) are tested, with
    displacements of 0.01, 1 and 10 times `scale`. L at the middle of a chord must lie
    strictly below the chord, and :math:`\nabla H` must invert :math:`\nabla L`. A
    homogeneous cost is tested at scale 1, which proves it for every scale, and so is
    its degree.

    Parameters
    ----------
    cost : Cost
    n_features : int
    scale : float, default=1.0
        Size of the displacements between the samples.
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
    for factor in (0.01, 1.0, 10.0):
        x, y = factor * scale * a, factor * scale * b
        _check_values(cost, x, y, scale)
        _check_convexity(cost, x, y, factor * scale)
        back = cost.velocity(cost.momentum(x))
        if not (back - x).abs().max() <= 1e-3 * x.abs().max():
            raise ValueError(
                f"cost={cost!r}: velocity must be the inverse map of momentum."
            )


def _check_values(cost: Cost, x: Tensor, y: Tensor, scale: float) -> None:
    """Raise unless L has the right shape, finite values and the degree it declares."""
    values = cost.lagrangian(x)
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"cost={cost!r}: lagrangian must map rows of shape (n, d) to values of shape "
            f"(n,), got {tuple(values.shape)} for rows of shape {tuple(x.shape)}."
        )
    others = cost.lagrangian((x + y) / 2), cost.lagrangian(y), cost.momentum(x)
    if not torch.cat([values, *(z.reshape(-1) for z in others)]).isfinite().all():
        raise ValueError(
            f"cost={cost!r} is not finite at displacements of size {scale}."
        )
    k = cost.homogeneity
    if k is not None and not torch.allclose(cost.lagrangian(3 * x), 3**k * values):
        raise ValueError(
            f"cost={cost!r} declares homogeneity={k!r}, but L(3 v) is not 3^{k!r} L(v)."
        )


def _check_convexity(cost: Cost, x: Tensor, y: Tensor, size: float) -> None:
    """Raise unless L lies strictly below the chords from x to y, in the middle."""
    low, mid, high = (cost.lagrangian(v) for v in (x, (x + y) / 2, y))
    gap = (low + high) / 2 - mid
    if not (gap > 1e-13 * (low.abs() + high.abs())).all():
        raise ValueError(
            f"cost={cost!r} is not strictly convex (to working precision) at "
            f"displacements of size {size:.3g}: c(x, y) = L(y - x) needs a strictly "
            "convex L (for l_p and norm powers, p > 1)."
        )


def _check_scale(cost: Cost, scale: float) -> None:
    """Raise if the data, or their cost, are in a unit out of floating-point reach."""
    low, high = UNIT_RANGE
    if not low <= scale <= high:
        raise ValueError(
            f"X and X_target must differ, within or between them, by {low:g} to {high:g} "
            f"or not at all, got {scale:.3g}: choose another unit."
        )
    degree = cost.homogeneity or 1.0
    if not abs(degree * math.log10(scale)) <= 250:
        raise ValueError(
            f"cost={cost!r} of a displacement of {scale:.3g}, the size of those between "
            "X and X_target, is no floating-point number: choose another unit."
        )


def check_cost_parameters(cost: Cost, n_features: int) -> None:
    """Raise ValueError unless the parameters of a built-in cost are in their ranges.

    Parameters
    ----------
    cost : Cost
    n_features : int
    """
    name = type(cost).__name__
    if type(cost).lagrangian is Cost.lagrangian:
        raise ValueError(f"cost={cost!r}: {name} must define lagrangian(v).")
    if type(cost) not in COSTS.values():
        return
    for key, (wanted, is_valid) in type(cost).parameter_ranges.items():
        value = getattr(cost, key)
        if not is_number(value, -1e300, 1e300) or not is_valid(value):
            raise ValueError(f"{key} of {name} must be {wanted}, got {value!r}.")
    if isinstance(cost, QuadraticForm):
        _check_matrix(cost.matrix, n_features)


def _check_matrix(matrix: ArrayLike, n_features: int) -> None:
    try:
        A = torch.as_tensor(matrix, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"matrix of QuadraticForm must be a square array of numbers, got {matrix!r}."
        ) from None
    if A.shape != (n_features, n_features):
        raise ValueError(
            f"matrix of QuadraticForm must have shape ({n_features}, {n_features}) for "
            f"data with {n_features} features, got {tuple(A.shape)}."
        )
    if not torch.allclose(A, A.mT) or not (torch.linalg.eigvalsh(A) > 0).all():
        raise ValueError("matrix of QuadraticForm must be symmetric positive definite.")
