"""A cost in the network's variables."""

import copy

import torch

from sk_ncf.costs._base import Cost

__all__ = ["AffineCost"]


class AffineCost(Cost):
    r"""The same cost seen from moved and scaled coordinates.

    With rows :math:`x = m_x + s x'`, :math:`y = m_y + s y'`, mean shift
    :math:`b = m_y - m_x` and :math:`a = \nabla L(b)`,

    .. math:: \tilde L(z) = [L(s z + b) - L(b) - \langle a, s z \rangle] / \lambda .

    Terms linear in :math:`z = y' - x'` split into functions of x and of y, so the
    transport problem is exactly the same; its solution starts at the mean shift. Of a
    homogeneous L the scale is taken out, :math:`L(s z + b) = s^k L(z + b / s)`, so that
    no power of the features' unit is ever computed in the network's precision.

    Parameters
    ----------
    cost : Cost
    shift : Tensor of shape (d,)
        The mean shift b, float64.
    scale, unit : float
        s, the common scale of the features, and lambda, the unit of cost.
    """

    def __init__(self, cost, shift, scale, unit):
        if cost.homogeneity is not None:
            shift, unit = shift / scale, unit / scale**cost.homogeneity
            scale = 1.0
        self.cost = cost
        self.shift = shift
        self.scale, self.unit = (shift.new_tensor([c]) for c in (scale, unit))
        self._momentum = cost.momentum(shift)
        self._value = cost.lagrangian(shift).unsqueeze(-1)

    _CONSTANTS = ("shift", "scale", "unit", "_momentum", "_value")

    @classmethod
    def stacked(cls, costs):
        """One cost on tensors with a class axis, of shape [K, ..., d]."""
        together = copy.copy(costs[0])
        for name in cls._CONSTANTS:
            constants = torch.stack([getattr(cost, name) for cost in costs])
            setattr(together, name, constants)
        return together

    def of_class(self, k):
        if self.shift.dim() == 1:
            return self
        alone = copy.copy(self)
        for name in self._CONSTANTS:
            setattr(alone, name, getattr(self, name)[k])
        return alone

    def _like(self, z):
        """Constants in the type of `z`, or float64 where cancellation or units need it."""
        far = self.shift.abs().amax(-1, keepdim=True) > 100 * self.scale
        cancels = self.cost.cancels(self.scale)
        double = (far | ~_single(self.scale) | cancels).any()
        z = z.double() if double and z.device.type != "mps" else z
        return z, *(_broadcast(c, z) for c in self._constants_at(z.device, z.dtype))

    def _constants_at(self, device, dtype):
        """The constants on the device of the rows, moved there once."""
        placed = self._placed
        if placed is None or placed[0] != (device, dtype):
            constants = (getattr(self, name) for name in self._CONSTANTS)
            placed = (device, dtype), [c.to(device, dtype) for c in constants]
            self._placed = placed
        return placed[1]

    def lagrangian(self, v):
        z, b, scale, unit, a, value = self._like(v)
        w = self.cost.lagrangian(scale * z + b)
        linear = z @ a if a.dim() == 1 else (z * a).sum(-1)
        scale, unit, value = (c.squeeze(-1) for c in (scale, unit, value))
        return ((w - value - scale * linear) / unit).to(v.dtype)

    def momentum(self, v):
        z, b, scale, unit, a, _ = self._like(v)
        p = self.cost.momentum(scale * z + b) - a
        return (p * (scale / unit)).to(v.dtype)

    def velocity(self, p):
        z, b, scale, unit, a, _ = self._like(p)
        v = self.cost.velocity(a + (unit / scale) * z)
        return ((v - b) / scale).to(p.dtype)


def _single(scale):
    """Whether squares of such lengths, and far longer ones, are numbers in float32."""
    return (scale > 1e-9) & (scale < 1e9)


def _broadcast(constant, z):
    """A constant of shape (d,), or [K, d] of every class, next to z of [K, ..., d]."""
    if constant.dim() == 1:
        return constant
    n_classes, d = constant.shape
    return constant.reshape(n_classes, *[1] * (z.dim() - 2), d)
