"""Quadratic costs."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sk_ncf.costs._base import Cost

__all__ = ["QuadraticForm", "SquaredEuclidean"]


class SquaredEuclidean(Cost):
    r"""Squared Euclidean cost :math:`L(v) = |v|_2^2 / 2`, :math:`H(p) = |p|_2^2 / 2`."""

    homogeneity = 2.0

    def lagrangian(self, v: Tensor) -> Tensor:
        return v.square().sum(-1) / 2

    def hamiltonian(self, p: Tensor) -> Tensor:
        return p.square().sum(-1) / 2

    def momentum(self, v: Tensor) -> Tensor:
        return v

    def velocity(self, p: Tensor) -> Tensor:
        return p

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        norms = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
        return norms / 2 - x @ y.mT


class QuadraticForm(Cost):
    r"""Quadratic form :math:`L(v) = v^\top A v / 2`, :math:`H(p) = p^\top A^{-1} p / 2`.

    Parameters
    ----------
    matrix : array-like of shape (d, d)
        The symmetric positive definite matrix A.
    """

    homogeneity = 2.0

    def __init__(self, matrix: ArrayLike) -> None:
        self.matrix = matrix

    def _matrices(self, like: Tensor) -> list[Tensor]:
        """A and its inverse, on the device of a tensor and in its dtype; computed once."""
        key, cached = (like.device, like.dtype), self._cached_constants
        if cached is None or cached[0] is not self.matrix or cached[1] != key:
            matrix = torch.as_tensor(self.matrix, dtype=like.dtype)
            matrices = [z.to(like.device) for z in (matrix, torch.linalg.inv(matrix))]
            cached = self._cached_constants = self.matrix, key, matrices
        return cached[2]

    def lagrangian(self, v: Tensor) -> Tensor:
        return (v * self.momentum(v)).sum(-1) / 2

    def hamiltonian(self, p: Tensor) -> Tensor:
        return (p * self.velocity(p)).sum(-1) / 2

    def momentum(self, v: Tensor) -> Tensor:
        return v @ self._matrices(v)[0]

    def velocity(self, p: Tensor) -> Tensor:
        return p @ self._matrices(p)[1]
