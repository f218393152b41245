"""The value and the gradient of a potential, with a backward pass written by hand."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["ValueAndGradient"]


class ValueAndGradient(torch.autograd.Function):
    r"""u and p of a :class:`~sk_ncf._flow.potential.Potential`, differentiable once.

    Forward pass: the hidden values :math:`z_l`, then backpropagation to the input,

    .. math:: g_L = w, \quad h_l = g_l \sigma'(a_l), \quad g_{l-1} = g_l + A_l^\top h_l,
              \quad p = \sum_l B_l^\top h_l.

    Backward pass: the gradient of
    :math:`S = \langle c_u, u \rangle + \langle c_p, p \rangle`. The second part is the
    derivative of u in the direction :math:`c_p`, which one pass of tangents
    :math:`\dot a_l, \dot z_l` through the network gives. Two sets of adjoints follow.
    That of :math:`\dot a_l` is :math:`h_l`, known from the forward pass. That of
    :math:`a_l` is :math:`\alpha_l = \lambda_l \sigma'_l + g_l \sigma''_l \dot a_l`. No
    second derivative of the network is computed by automatic differentiation.
    """

    @staticmethod
    def forward(
        ctx: Any, s: Tensor, b: Tensor, a: Tensor, w: Tensor, beta: float
    ) -> tuple[Tensor, Tensor]:
        """u, shape [K, n], and p, shape [K, n, d].

        Parameters
        ----------
        ctx : object
            Where autograd keeps tensors for the backward pass.
        s : Tensor of shape [K, n, d + 2]
            The input (x, t, 1).
        b : Tensor of shape [K, L, d + 2, W]
            Input weights of the L layers.
        a : Tensor of shape [K, L - 1, W, W]
            Hidden weights.
        w : Tensor of shape [K, W, 1]
            Output weights.
        beta : float
            Sharpness of the activation.
        """
        b = b.transpose(0, 1)  # layers first: each layer is contiguous in memory
        pre = torch.matmul(s, beta * b)  # beta times all B_l s, [L, K, n, W]
        inner, hidden = (beta * a).unbind(1), a.mT.unbind(1)
        slope, z = torch.empty_like(pre), torch.empty_like(pre)
        zs, slopes, hs = z.unbind(), slope.unbind(), pre.unbind()
        for layer, act in enumerate(hs):
            if layer:
                act.baddbmm_(zs[layer - 1], inner[layer - 1])
            act.clamp_(min=-30)  # denormal numbers below are 10 times slower
            torch.sigmoid(act, out=slopes[layer])
            # log(1 + e^a) = a - log sigmoid(a) takes a third of the time of softplus
            act.sub_(torch.log(slopes[layer], out=zs[layer]))
            if layer:
                torch.add(zs[layer - 1], act, alpha=1 / beta, out=zs[layer])
            else:
                torch.mul(act, 1 / beta, out=zs[0])
        u = torch.bmm(zs[-1], w).squeeze(-1)
        h, g = pre, w.mT  # h reuses the memory of pre, which is no longer needed
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
    def backward(
        ctx: Any, cu: Tensor, cp: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor, Tensor, None]:
        """Gradients of <cu, u> + <cp, p> by the arguments of :meth:`forward`.

        Parameters
        ----------
        ctx : object
        cu : Tensor of shape [K, n]
        cp : Tensor of shape [K, n, d]
        """
        s, b, a, w, z, slope, h = ctx.saved_tensors
        d, beta = s.shape[-1] - 2, ctx.beta
        # Tangents in direction c_p, times beta: da of the a_l, dz of the z_l.
        da = torch.matmul(cp, beta * b[:, :, :d])
        dz, hidden = torch.empty_like(z), a.unbind(1)
        zs, hs, slopes, das, dzs = (q.unbind() for q in (z, h, slope, da, dz))
        torch.mul(slopes[0], das[0], out=dzs[0])
        for layer in range(1, len(b)):
            das[layer].baddbmm_(dzs[layer - 1], hidden[layer - 1])
            torch.addcmul(dzs[layer - 1], slopes[layer], das[layer], out=dzs[layer])
        lam, grad_a = cu.unsqueeze(-1) * w.mT, torch.empty_like(a)
        alpha, alphas, grads = da, das, grad_a.unbind(1)  # alpha overwrites da
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
