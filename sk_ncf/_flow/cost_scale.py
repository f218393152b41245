"""The size of displacements, and a unit for costs between rows in new variables."""

from collections.abc import Sequence

import numpy as np
import torch

from sk_ncf._flow.moments import RowArray, _chunks
from sk_ncf.costs import Cost, QuadraticForm, SquaredEuclidean

__all__ = ["QUADRATIC", "cost_unit", "with_max_displacement"]

QUADRATIC = SquaredEuclidean | QuadraticForm  # costs with a Gaussian map


def with_max_displacement(
    cost: Cost, pairs: Sequence[tuple[RowArray, RowArray]]
) -> Cost:
    """The cost, prepared for displacements between the rows of the pairs."""
    if isinstance(cost, QUADRATIC):  # needs no preparation
        return cost
    return cost.with_max_displacement(max(_max_displacement(*pair) for pair in pairs))


def _max_displacement(X: RowArray, Y: RowArray) -> float:
    """An upper bound of the displacements from rows of X to places near rows of Y."""
    origin = X[0].astype(np.float64)
    return 2 * (_radius(X, origin) + _radius(Y, origin))


def _radius(X: RowArray, origin: np.ndarray, chunk: int = 65536) -> float:
    """Largest distance of a row from a point."""
    norms = (np.linalg.norm(X[s] - origin, axis=1).max() for s in _chunks(X, chunk))
    return float(max(norms))


def cost_unit(cost: Cost, shift: torch.Tensor, scale: float) -> float:
    r"""lambda such that :math:`\nabla \tilde L(v)` is about as large as v."""
    degree = cost.homogeneity
    if degree is not None and scale != 1:  # avoids overflow of powers of the scale
        return cost_unit(cost, shift / scale, 1.0) * scale**degree
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(512, len(shift), generator=generator, dtype=torch.float64)
    p = cost.momentum(scale * z + shift) - cost.momentum(shift)
    unit = scale * p.square().mean().sqrt().item()
    return unit if np.isfinite(unit) and unit > 0 else 1.0
