"""A cost in the network's variables."""

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from sk_ncf.costs._base import Cost

__all__ = ["AffineCost"]


class AffineCost(Cost):
    r"""A cost as a function of centred and scaled variables.

    With :math:`x = m_x + s x'`, :math:`y = m_y + s y'`, mean shift
    :math:`b = m_y - m_x` and :math:`a = \nabla L(b)`, it is

    .. math:: \tilde L(z) = [L(s z + b) - L(b) - \langle a, s z \rangle] / \lambda .

    Terms linear in :math:`z = y' - x'` are a function of x plus a function of y, so the
    transport problem stays the same. The zero displacement z = 0 is the mean shift.

    If L is homogeneous of degree k, the scale is factored out:
    :math:`L(s z + b) = s^k L(z + b / s)`. No power of the unit of the features is then
    computed in the network's precision.

    Parameters
    ----------
    cost : Cost
        The cost of the original variables.
    shift : Tensor of shape (d,)
        The mean shift b, float64.
    scale, unit : float
        s, the common scale of the features, and lambda, the unit of cost.
    """

    def __init__(self, cost: Cost, shift: Tensor, scale: float, unit: float) -> None:
        if cost.homogeneity is not None:
            shift, unit = shift / scale, unit / scale**cost.homogeneity
            scale = 1.0
        self.cost = cost
        self.shift = shift
        self.scale, self.unit = shift.new_tensor([scale]), shift.new_tensor([unit])
        self._momentum = cost.momentum(shift)
        self._value = cost.lagrangian(shift).unsqueeze(-1)

    _CONSTANTS = ("shift", "scale", "unit", "_momentum", "_value")

    @classmethod
    def stack(cls, costs: Sequence[Self]) -> Self:
        """One cost for tensors of shape [K, ..., d], from the costs of K classes."""
        stacked = copy.copy(costs[0])
        for name in cls._CONSTANTS:
            constants = torch.stack([getattr(cost, name) for cost in costs])
            setattr(stacked, name, constants)
        return stacked

    def select_class(self, k: int | slice) -> Self:
        """The cost of class k, for tensors of shape (..., d); or of several classes."""
        if self.shift.dim() == 1:
            return self
        selected = copy.copy(self)
        for name in self._CONSTANTS:
            setattr(selected, name, getattr(self, name)[k])
        return selected

    def lagrangian(self, v: Tensor) -> Tensor:
        z, (b, scale, unit, a, value) = self._with_constants(v)
        w = self.cost.lagrangian(scale * z + b)
        linear = z @ a if a.dim() == 1 else (z * a).sum(-1)
        scale, unit, value = (c.squeeze(-1) for c in (scale, unit, value))
        return ((w - value - scale * linear) / unit).to(v.dtype)

    def momentum(self, v: Tensor) -> Tensor:
        z, (b, scale, unit, a, _) = self._with_constants(v)
        p = self.cost.momentum(scale * z + b) - a
        return (p * (scale / unit)).to(v.dtype)

    def velocity(self, p: Tensor) -> Tensor:
        z, (b, scale, unit, a, _) = self._with_constants(p)
        v = self.cost.velocity(a + (unit / scale) * z)
        return ((v - b) / scale).to(p.dtype)

    def has_one_dtype(self) -> bool:
        """Whether each class alone would be computed in the dtype of all of them."""
        double = self._need_float64()
        return bool(double.all() or not double.any())

    def _need_float64(self) -> Tensor:
        """Whether the terms of the formulas would cancel or overflow in float32."""
        far = self.shift.abs().amax(-1, keepdim=True) > 100 * self.scale
        cancels = self.cost.needs_float64(self.scale)
        return far | ~_squares_fit_float32(self.scale) | cancels

    def _with_constants(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`z` and the constants of the formulas, in one dtype and broadcastable.

        The dtype is that of `z`, or float64 if the terms of the formulas would cancel
        or overflow in float32.
        """
        double = self._need_float64().any()
        z = z.double() if double and z.device.type != "mps" else z
        constants = self._constants_on(z.device, z.dtype)
        return z, [_broadcast(c, z) for c in constants]

    def _constants_on(self, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        """The constants on a device, copied there once."""
        cached = self._cached_constants
        if cached is None or cached[0] != (device, dtype):
            constants = (getattr(self, name) for name in self._CONSTANTS)
            cached = (device, dtype), [c.to(device, dtype) for c in constants]
            self._cached_constants = cached
        return cached[1]


def _squares_fit_float32(scale: Tensor) -> Tensor:
    """Whether float32 can represent the squares of such lengths, with a wide margin."""
    return (scale > 1e-9) & (scale < 1e9)


def _broadcast(constant: Tensor, z: Tensor) -> Tensor:
    """A constant of shape (d,), or [K, d] for K classes, next to z of [K, ..., d]."""
    if constant.dim() == 1:
        return constant
    n_classes, d = constant.shape
    return constant.reshape(n_classes, *[1] * (z.dim() - 2), d)
