"""Quadratic costs."""

import torch

from sk_ncf.costs._base import Cost

__all__ = ["QuadraticForm", "SquaredEuclidean"]


class SquaredEuclidean(Cost):
    r"""Squared Euclidean cost :math:`L(v) = |v|_2^2 / 2`, :math:`H(p) = |p|_2^2 / 2`."""

    homogeneity = 2.0

    def lagrangian(self, v):
        return v.square().sum(-1) / 2

    def hamiltonian(self, p):
        return p.square().sum(-1) / 2

    def momentum(self, v):
        return v

    def velocity(self, p):
        return p

    def pairwise(self, x, y):
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

    def __init__(self, matrix):
        self.matrix = matrix

    def _matrices(self, like):
        """A and its inverse where `like` is, moved there once."""
        key, placed = (like.device, like.dtype), self._placed
        if placed is None or placed[0] is not self.matrix or placed[1] != key:
            matrix = torch.as_tensor(self.matrix, dtype=like.dtype)
            both = matrix, torch.linalg.inv(matrix)
            placed = self._placed = self.matrix, key, [z.to(like.device) for z in both]
        return placed[2]

    def lagrangian(self, v):
        return (v * self.momentum(v)).sum(-1) / 2

    def hamiltonian(self, p):
        return (p * self.velocity(p)).sum(-1) / 2

    def momentum(self, v):
        return v @ self._matrices(v)[0]

    def velocity(self, p):
        return p @ self._matrices(p)[1]
