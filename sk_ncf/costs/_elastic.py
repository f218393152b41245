"""The elastic cost: sparse displacements."""

import torch
from torch import Tensor

from sk_ncf.costs._base import Cost

__all__ = ["Elastic"]


class Elastic(Cost):
    r"""Elastic cost :math:`L(v) = |v|_2^2 / 2 + \gamma |v|_1`: sparse displacements.

    Its Hamiltonian is :math:`H(p) = |S_\gamma(p)|_2^2 / 2` and its velocity the soft
    threshold :math:`S_\gamma(p) = \mathrm{sign}(p) \max(|p| - \gamma, 0)` [1]_.

    Parameters
    ----------
    gamma : float, default=1.0
        Weight of the l_1 norm, gamma >= 0, in the units of the features.

    References
    ----------
    .. [1] M. Cuturi, M. Klein, P. Ablin, "Monge, Bregman and Occam: Interpretable
       Optimal Transport in High-Dimensions with Feature-Sparse Maps", ICML 2023.
    """

    parameter_ranges = {"gamma": (">= 0", lambda gamma: gamma >= 0)}

    def __init__(self, gamma: float = 1.0) -> None:
        self.gamma = gamma

    def lagrangian(self, v: Tensor) -> Tensor:
        return v.square().sum(-1) / 2 + self.gamma * v.abs().sum(-1)

    def hamiltonian(self, p: Tensor) -> Tensor:
        return self.velocity(p).square().sum(-1) / 2

    def momentum(self, v: Tensor) -> Tensor:
        return v + self.gamma * v.sign()

    def velocity(self, p: Tensor) -> Tensor:
        return torch.nn.functional.softshrink(p, float(self.gamma))

    def needs_float64(self, scale: Tensor) -> Tensor | bool:
        # p = v + gamma sign(v) has few digits of v.
        return scale < self.gamma / 100
