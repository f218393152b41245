r"""The potential u(x, t) and its gradient, computed in one pass.

Tensors have a leading axis of potentials, ``[K, n, d]``. There is one potential for
every class and every ensemble member (K = 1 without). All K are evaluated at once, as
batched matrix products.
"""

import copy
import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from sk_ncf._flow.potential_gradient import ValueAndGradient

__all__ = [
    "BasePotential",
    "MeanPotential",
    "ModulePotential",
    "Potential",
    "default_sharpness",
]

# Hidden values evaluated at a time. Four times as many no longer fit the processor's
# cache and take four times as long per row.
BLOCK_SIZE = 200_000


def default_sharpness(n_features: int) -> float:
    """beta of the activation; details of the map are as narrow as 1 / beta."""
    return 4 + 12 / n_features


class BasePotential(nn.Module):
    """Base class of K potentials u(x, t), each with its gradient in x.

    Attributes
    ----------
    n_potentials : int
        K.
    exact_inverse : bool
        Whether the foot y - v(y, 1) needs no refinement: that of a discrete potential, and
        of a network that has learned the refined inverse of an ensemble.
    n_together : int or None
        Number of potentials that are trained together, if these are a slice of them.
    """

    n_potentials: int
    exact_inverse = False
    n_together: int | None = None

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""u(x, t), shape [K, n], and :math:`p = \nabla u(x, t)`, shape [K, n, d].

        Parameters
        ----------
        x : Tensor of shape [K, n, d]
        t : Tensor, broadcast to shape [K, n]
        """
        raise NotImplementedError

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """u(x, t), shape [K, n]."""
        return self.value_and_gradient(x, t)[0]

    def reset(self) -> None:
        """Set u = 0 everywhere."""
        raise NotImplementedError

    def multiply_by(self, factor: Tensor) -> None:
        """Replace the potentials by their products with factors, of shape [K]."""
        raise NotImplementedError

    def select(self, which: slice) -> Self:
        """A copy with some of the potentials."""
        raise NotImplementedError

    def select_class(self, k: int) -> Self:
        """The potential of class k alone."""
        return self.select(slice(k, k + 1))


class Potential(BasePotential):
    r"""Residual multilayer perceptron u(x, t), whose every layer sees the input.

    .. math:: z_1 = \sigma(B_1 s), \quad z_{l+1} = z_l + \sigma(A_l z_l + B_{l+1} s),
              \quad u = \langle w, z_L \rangle, \quad s = (x, t, 1),

    with :math:`\sigma(a) = \log(1 + e^{\beta a}) / \beta`. The output weights are
    initialized near zero. So :math:`\nabla u` is near zero and the map near the identity.

    Parameters
    ----------
    n_features : int
        d, the dimension of x.
    hidden_layer_sizes : tuple of int, default=(64, 64, 64)
        Widths of the layers, all equal (the layers are residual).
    n_potentials : int, default=1
        K, the number of potentials.
    sharpness : float, default=None
        beta; None takes 4 + 12 / d.
    generator : torch.Generator, default=None
        Source of the initial weights; None draws from a generator seeded with 0.
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int] = (64, 64, 64),
        n_potentials: int = 1,
        sharpness: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        width, depth = hidden_layer_sizes[0], len(hidden_layer_sizes)
        generator = generator or torch.Generator().manual_seed(0)
        self.sharpness = (
            default_sharpness(n_features) if sharpness is None else sharpness
        )
        self.n_potentials = n_potentials

        def normal(*shape: int) -> Tensor:
            return torch.randn(n_potentials, *shape, generator=generator)

        fan_in = torch.ones(n_features + 2, 1) / math.sqrt(n_features)
        fan_in[-2:] = 0.5  # t and the constant
        self.input_weight = nn.Parameter(normal(depth, n_features + 2, width) * fan_in)
        self.hidden_weight = nn.Parameter(
            normal(depth - 1, width, width) / math.sqrt(width)
        )
        self.output_weight = nn.Parameter(0.01 * normal(width, 1) / math.sqrt(width))

    @torch.no_grad()
    def reset(self) -> None:
        """Set u = 0 everywhere."""
        self.output_weight.zero_()

    @torch.no_grad()
    def multiply_by(self, factor: Tensor) -> None:
        """Replace the potentials by their products with factors, of shape [K]."""
        self.output_weight.mul_(factor[:, None, None])

    def select(self, which: slice) -> Self:
        """A copy with some of the potentials, which cannot be trained."""
        selected = copy.copy(self)
        selected.n_potentials = len(range(*which.indices(self.n_potentials)))
        selected._parameters = {
            name: nn.Parameter(value.detach()[which], requires_grad=False)
            for name, value in self.named_parameters()
        }
        return selected

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""u(x, t), shape [K, n], and :math:`p = \nabla u(x, t)`, shape [K, n, d].

        Parameters
        ----------
        x : Tensor of shape [K, n, d]
        t : Tensor, broadcast to shape [K, n]
        """
        d = x.shape[-1]
        s = x.new_ones(*x.shape[:-1], d + 2)
        s[..., :d], s[..., d] = x, t
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return self._evaluate(s)
        parts = [self._evaluate(part) for part in s.split(self._rows_per_block(), -2)]
        if len(parts) == 1:
            return parts[0]
        u, p = zip(*parts, strict=True)
        return torch.cat(u, -1), torch.cat(p, -2)

    def _evaluate(self, s: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.input_weight, self.hidden_weight, self.output_weight)
        return ValueAndGradient.apply(s, *weights, self.sharpness)

    def _rows_per_block(self) -> int:
        n_potentials, depth, _, width = self.input_weight.shape
        return max(64, BLOCK_SIZE // (n_potentials * depth * width))


class ModulePotential(BasePotential):
    """A user's own network ``module(x, t)``, with its gradient by autograd.

    Parameters
    ----------
    module : torch.nn.Module
        Maps x of shape (n, d) and t of shape (n,) to u of shape (n,) or (n, 1). It must
        be twice differentiable in x (no ReLU), and the value of a row must not depend on
        other rows (no batch normalisation).
    """

    n_potentials = 1

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        # u = scale * module is near zero at first, as that of `Potential` is.
        self.scale = nn.Parameter(torch.tensor(0.01))

    @torch.no_grad()
    def reset(self) -> None:
        """Set u = 0 everywhere."""
        self.scale.zero_()

    @torch.no_grad()
    def multiply_by(self, factor: Tensor) -> None:
        """Replace the potential by its product with a factor, of shape [1]."""
        self.scale.mul_(factor[0])

    def select(self, which: slice) -> Self:
        """This potential, the only one."""
        return self

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(x, t), shape [1, n], and its gradient, shape [1, n, d]."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            u = self.module(x[0], t.expand(x.shape[:-1])[0]).reshape(1, -1)
            u = self.scale * u
            (p,) = torch.autograd.grad(u.sum(), x, create_graph=create_graph)
        return (u, p) if create_graph else (u.detach(), p)


class MeanPotential(BasePotential):
    """The mean over the members of an ensemble, for every class.

    Parameters
    ----------
    members : Potential or PotentialSum
        With `ensemble_size` potentials for every class, next to each other.
    ensemble_size : int
    """

    def __init__(self, members: BasePotential, ensemble_size: int) -> None:
        super().__init__()
        self.members, self.ensemble_size = members, ensemble_size
        self.n_potentials = members.n_potentials // ensemble_size

    def reset(self) -> None:
        """Set u = 0 everywhere."""
        self.members.reset()

    def multiply_by(self, factor: Tensor) -> None:
        """Replace the potentials by their products with factors, of shape [K]."""
        self.members.multiply_by(factor.repeat_interleave(self.ensemble_size))

    def select_class(self, k: int) -> Self:
        """The mean of the members of class k."""
        start = k * self.ensemble_size
        members = self.members.select(slice(start, start + self.ensemble_size))
        return type(self)(members, self.ensemble_size)

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(x, t), shape [K, n], and its gradient, shape [K, n, d]."""
        t = t.expand(x.shape[:-1]).repeat_interleave(self.ensemble_size, 0)
        x = x.repeat_interleave(self.ensemble_size, 0)
        u, p = (
            z.unflatten(0, (-1, self.ensemble_size)).mean(1)
            for z in self.members.value_and_gradient(x, t)
        )
        return u, p
