r"""The potential u(x, t) and its gradient, in one pass.

Tensors carry a leading class axis: ``[K, n, d]``. K potentials (K = 1 without classes)
are evaluated at once as batched matrix products.
"""

import copy
import math

import torch
from torch import Tensor, nn

__all__ = ["MeanPotential", "ModulePotential", "Potential"]

IN_CACHE = 200_000  # hidden values; four times as many take four times as long a row


class Potential(nn.Module):
    r"""Residual perceptron :math:`u(x, t)` with the input fed to every layer.

    .. math:: z_1 = \sigma(B_1 s), \quad z_{l+1} = z_l + \sigma(A_l z_l + B_{l+1} s),
              \quad u = \langle w, z_L \rangle, \quad s = (x, t, 1),

    with :math:`\sigma(a) = \log(1 + e^{\beta a}) / \beta`. The output weights start near
    zero, so that :math:`\nabla u` does: the flow starts at the identity.

    Parameters
    ----------
    n_features : int
        d, the dimension of x.
    hidden_layer_sizes : tuple of int, default=(64, 64, 64)
        Widths of the layers, all equal (the layers are residual).
    n_classes : int, default=1
        K, the number of potentials.
    sharpness : float, default=None
        beta; None takes 4 + 12 / d.
    generator : torch.Generator, default=None
        Source of the initial weights; None draws from a generator seeded with 0.
    """

    def __init__(
        self,
        n_features,
        hidden_layer_sizes=(64, 64, 64),
        n_classes=1,
        sharpness=None,
        generator=None,
    ):
        super().__init__()
        width, depth = hidden_layer_sizes[0], len(hidden_layer_sizes)
        generator = generator or torch.Generator().manual_seed(0)
        self.sharpness = 4 + 12 / n_features if sharpness is None else sharpness
        self.n_classes = n_classes

        def normal(*shape):
            return torch.randn(n_classes, *shape, generator=generator)

        fan_in = torch.ones(n_features + 2, 1) / math.sqrt(n_features)
        fan_in[-2:] = 0.5  # t and the constant
        self.input_weight = nn.Parameter(normal(depth, n_features + 2, width) * fan_in)
        self.hidden_weight = nn.Parameter(
            normal(depth - 1, width, width) / math.sqrt(width)
        )
        self.output_weight = nn.Parameter(0.01 * normal(width, 1) / math.sqrt(width))

    @torch.no_grad()
    def reset(self):
        """Set u = 0 everywhere."""
        self.output_weight.zero_()

    def of_class(self, k: int) -> "Potential":
        """Potential number k alone."""
        return self.part(slice(k, k + 1))

    def part(self, classes: slice) -> "Potential":
        """Some of the potentials, on a class axis of their own."""
        part = copy.copy(self)
        part.n_classes = len(range(*classes.indices(self.n_classes)))
        part._parameters = {
            name: nn.Parameter(value.detach()[classes], requires_grad=False)
            for name, value in self._parameters.items()
        }
        return part

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
            return self._at(s)
        parts = [self._at(part) for part in s.split(self._block(), -2)]
        if len(parts) == 1:
            return parts[0]
        u, p = zip(*parts, strict=True)
        return torch.cat(u, -1), torch.cat(p, -2)

    def _at(self, s):
        weights = (self.input_weight, self.hidden_weight, self.output_weight)
        return _ValueAndGradient.apply(s, *weights, self.sharpness)

    def _block(self):
        """Rows of a pass whose hidden values stay in a processor's cache."""
        n_classes, depth, _, width = self.input_weight.shape
        return max(64, IN_CACHE // (n_classes * depth * width))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """u(x, t), shape [K, n]."""
        return self.value_and_gradient(x, t)[0]


class ModulePotential(nn.Module):
    """A user's own network ``module(x, t)``, its gradient taken by autograd.

    Parameters
    ----------
    module : torch.nn.Module
        Maps x of shape (n, d) and t of shape (n,) to u of shape (n,) or (n, 1), twice
        differentiable in x (no ReLU), each row on its own (no batch normalisation).
    """

    n_classes = 1

    def __init__(self, module):
        super().__init__()
        self.module = module
        # u = scale * module: near zero at first, like the weights of `Potential`.
        self.scale = nn.Parameter(torch.tensor(0.01))

    @torch.no_grad()
    def reset(self):
        """Set u = 0 everywhere."""
        self.scale.zero_()

    def of_class(self, k: int) -> "ModulePotential":
        """The one potential there is."""
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

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """u(x, t), shape [1, n]."""
        return self.value_and_gradient(x, t)[0]


class MeanPotential(nn.Module):
    """The mean of potentials that stand side by side on the class axis.

    Parameters
    ----------
    members : Potential
        With `ensemble_size` potentials for every class, trained each on its own rows.
    ensemble_size : int
    """

    def __init__(self, members, ensemble_size):
        super().__init__()
        self.members, self.ensemble_size = members, ensemble_size

    def reset(self):
        """Set u = 0 everywhere."""
        self.members.reset()

    def of_class(self, k: int) -> "MeanPotential":
        """The mean of the members of class k."""
        start = k * self.ensemble_size
        members = self.members.part(slice(start, start + self.ensemble_size))
        return MeanPotential(members, self.ensemble_size)

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(x, t), shape [K, n], and its gradient, shape [K, n, d]."""
        t = t.expand(x.shape[:-1]).repeat_interleave(self.ensemble_size, 0)
        x = x.repeat_interleave(self.ensemble_size, 0)
        return tuple(
            z.unflatten(0, (-1, self.ensemble_size)).mean(1)
            for z in self.members.value_and_gradient(x, t)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """u(x, t), shape [K, n]."""
        return self.value_and_gradient(x, t)[0]


class _ValueAndGradient(torch.autograd.Function):
    r"""(u, p) of :class:`Potential`, with a backward pass written by hand.

    Forward: the values :math:`z_l`, then the reverse sweep
    :math:`h_l = g_l \sigma'(a_l)`, :math:`g_{l-1} = g_l + A_l^\top h_l`,
    :math:`p = \sum_l B_l^\top h_l`, from :math:`g_L = w`.

    Backward, for :math:`S = \langle c_u, u \rangle + \langle c_p, p \rangle`: since
    :math:`\langle c_p, p \rangle` is the derivative of u in direction :math:`c_p`, S is
    one tangent sweep (:math:`\dot z`) away from u. The adjoint of :math:`\dot a_l` is
    the :math:`h_l` that the forward pass already has; that of :math:`a_l` is
    :math:`\alpha_l = \lambda_l \sigma'_l + g_l \sigma''_l \dot a_l`. No derivative is
    taken twice.
    """

    @staticmethod
    def forward(ctx, s, b, a, w, beta):
        b = b.transpose(0, 1)  # layers first: every layer is one block of memory
        pre = torch.matmul(s, beta * b)  # beta times all B_l s, [L, K, n, W]
        inner, hidden = (beta * a).unbind(1), a.mT.unbind(1)
        slope, z = torch.empty_like(pre), torch.empty_like(pre)
        zs, slopes, hs = z.unbind(), slope.unbind(), pre.unbind()
        for layer, act in enumerate(hs):
            if layer:
                act.baddbmm_(zs[layer - 1], inner[layer - 1])
            act.clamp_(min=-30)  # below: denormals, 10 times slower
            torch.sigmoid(act, out=slopes[layer])
            # log(1 + e^a) = a - log sigmoid(a): a third of the time of softplus
            act.sub_(torch.log(slopes[layer], out=zs[layer]))
            if layer:
                torch.add(zs[layer - 1], act, alpha=1 / beta, out=zs[layer])
            else:
                torch.mul(act, 1 / beta, out=zs[0])
        u = torch.bmm(zs[-1], w).squeeze(-1)
        h, g = pre, w.mT  # the values before the activation are no longer needed
        for layer in reversed(range(len(b))):
            torch.mul(g, slopes[layer], out=hs[layer])
            if layer:
                g = torch.baddbmm(g, hs[layer], hidden[layer - 1])
        p = torch.matmul(h, b[:, :, :-2].mT).sum(0)
        ctx.save_for_backward(s, b, a, w, z, slope, h)
        ctx.beta = beta
        return u, p

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, cu, cp):
        s, b, a, w, z, slope, h = ctx.saved_tensors
        d, beta = s.shape[-1] - 2, ctx.beta
        # Tangents along c_p, times beta: da of the a_l, dz of the z_l.
        da = torch.matmul(cp, beta * b[:, :, :d])
        dz, hidden = torch.empty_like(z), a.unbind(1)
        zs, hs, slopes, das, dzs = (q.unbind() for q in (z, h, slope, da, dz))
        torch.mul(slopes[0], das[0], out=dzs[0])
        for layer in range(1, len(b)):
            das[layer].baddbmm_(dzs[layer - 1], hidden[layer - 1])
            torch.addcmul(dzs[layer - 1], slopes[layer], das[layer], out=dzs[layer])
        lam, grad_a = cu.unsqueeze(-1) * w.mT, torch.empty_like(a)
        alpha, alphas, grads = da, das, grad_a.unbind(1)  # alpha takes the place of da
        for layer in reversed(range(len(b))):
            # g_l sigma''(a_l) da_l, with sigma'' = beta sigma' (1 - sigma')
            bend = torch.addcmul(hs[layer], hs[layer], slopes[layer], value=-1)
            alphas[layer].mul_(bend).addcmul_(lam, slopes[layer])
            if layer:
                lam = torch.baddbmm(lam, alphas[layer], hidden[layer - 1].mT)
                torch.bmm(zs[layer - 1].mT, alphas[layer], out=grads[layer - 1])
                grads[layer - 1].baddbmm_(dzs[layer - 1].mT, hs[layer], alpha=1 / beta)
        grad_s = torch.matmul(alpha, b.mT).sum(0) if ctx.needs_input_grad[0] else None
        grad_b = torch.matmul(s.mT, alpha)
        grad_b[:, :, :d] += torch.matmul(cp.mT, h)
        grad_w = torch.bmm(zs[-1].mT, cu.unsqueeze(-1))
        grad_w += dzs[-1].sum(-2).unsqueeze(-1) / beta
        return grad_s, grad_b.transpose(0, 1), grad_a, grad_w, None
