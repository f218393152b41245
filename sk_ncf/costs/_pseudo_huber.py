"""The pseudo-Huber cost."""

import torch

from sk_ncf.costs._base import Cost

__all__ = ["PseudoHuber"]


class PseudoHuber(Cost):
    r"""Pseudo-Huber cost :math:`L(v) = \delta^2 (\sqrt{1 + |v|^2 / \delta^2} - 1)`.

    Quadratic for :math:`|v| \ll \delta`, linear beyond. Its Hamiltonian
    :math:`H(p) = \delta^2 (1 - \sqrt{1 - |p|^2 / \delta^2})` is finite for
    :math:`|p| < \delta` only; closer to that sphere than the floating-point type or the
    extent of the data resolve, the velocity is continued linearly, so that training can
    find its way back.

    Parameters
    ----------
    delta : float, default=1.0
        Length at which the cost turns from quadratic to linear, delta > 0, in the
        units of the features.
    """

    def __init__(self, delta=1.0):
        self.delta = delta

    _extent = float("inf")

    def within(self, extent):
        cost = type(self)(self.delta)
        cost._extent = extent
        return cost

    def cancels(self, scale):
        # 1 - |p|^2 / delta^2 is next to nothing there.
        return bool(self._extent > 300 * self.delta)

    def _in_units(self, v):
        """|v|^2 / delta^2, shape (..., 1)."""
        if not self.delta > 0:
            raise ValueError(f"delta must be > 0, got {self.delta!r}.")
        return (v / self.delta).square().sum(-1, keepdim=True)

    def _root(self, p):
        q = 1 - self._in_units(p)
        ratio = self._extent / self.delta
        least = 1 / (1 + ratio * ratio)  # q at |v| = extent
        return q.clamp_min(max(least, 8 * torch.finfo(p.dtype).eps)).sqrt()

    # No delta^2 alone, which need not be a number where the products are.

    def lagrangian(self, v):
        root = (1 + self._in_units(v).squeeze(-1)).sqrt()
        return v.square().sum(-1) / (1 + root)  # = delta^2 (root - 1)

    def hamiltonian(self, p):
        return p.square().sum(-1) / (1 + self._root(p).squeeze(-1))

    def momentum(self, v):
        return v / (1 + self._in_units(v)).sqrt()

    def velocity(self, p):
        return p / self._root(p)
