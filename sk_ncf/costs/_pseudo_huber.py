"""The pseudo-Huber cost."""

from typing import Self

import torch
from torch import Tensor

from sk_ncf.costs._base import Cost

__all__ = ["PseudoHuber"]


class PseudoHuber(Cost):
    r"""Pseudo-Huber cost :math:`L(v) = \delta^2 (\sqrt{1 + |v|^2 / \delta^2} - 1)`.

    It is quadratic for :math:`|v| \ll \delta` and linear for :math:`|v| \gg \delta`. Its
    Hamiltonian :math:`H(p) = \delta^2 (1 - \sqrt{1 - |p|^2 / \delta^2})` is finite only
    for :math:`|p| < \delta`. The velocity is continued linearly outside that sphere, and
    inside it from the momentum of the largest displacement between the samples on. With
    a finite velocity there, training can return to the valid region.

    Parameters
    ----------
    delta : float, default=1.0
        Length at which the cost turns from quadratic to linear, delta > 0, in the
        units of the features.
    """

    parameter_ranges = {"delta": ("> 0", lambda delta: delta > 0)}

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    _max_displacement = float("inf")

    def with_max_displacement(self, length: float) -> Self:
        cost = type(self)(self.delta)
        cost._max_displacement = length
        return cost

    def needs_float64(self, scale: Tensor) -> Tensor | bool:
        # 1 - |p|^2 / delta^2 cancels for |v| >> delta.
        return bool(self._max_displacement > 300 * self.delta)

    def _squared_ratio(self, v: Tensor) -> Tensor:
        """|v|^2 / delta^2, shape (..., 1)."""
        if not self.delta > 0:
            raise ValueError(f"delta must be > 0, got {self.delta!r}.")
        return (v / self.delta).square().sum(-1, keepdim=True)

    def _root(self, p: Tensor) -> Tensor:
        """sqrt(1 - |p|^2 / delta^2), bounded from below, shape (..., 1)."""
        q = 1 - self._squared_ratio(p)
        ratio = self._max_displacement / self.delta
        least = 1 / (1 + ratio * ratio)  # q at |v| = max_displacement
        return q.clamp_min(max(least, 8 * torch.finfo(p.dtype).eps)).sqrt()

    # delta^2 may overflow where L and H do not, so no formula computes it alone.

    def lagrangian(self, v: Tensor) -> Tensor:
        root = (1 + self._squared_ratio(v).squeeze(-1)).sqrt()
        return v.square().sum(-1) / (1 + root)  # = delta^2 (root - 1)

    def hamiltonian(self, p: Tensor) -> Tensor:
        return p.square().sum(-1) / (1 + self._root(p).squeeze(-1))

    def momentum(self, v: Tensor) -> Tensor:
        return v / (1 + self._squared_ratio(v)).sqrt()

    def velocity(self, p: Tensor) -> Tensor:
        return p / self._root(p)
