"""The squared maximum mean discrepancy and its kernels."""

import torch
from torch import Tensor

__all__ = ["KERNELS", "energy_distance", "mmd", "mmd_both_ways"]


def energy_distance(x: Tensor, y: Tensor, unbiased: bool = False) -> Tensor:
    r"""Squared energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|`.

    The squared maximum mean discrepancy of the kernel :math:`-|x - y|_2` (Szekely and
    Rizzo, 2013; `scipy.stats.energy_distance` returns its root in one dimension).

    Parameters
    ----------
    x : Tensor of shape [K, n, d]
    y : Tensor of shape [K, m, d]
    unbiased : bool, default=False
        Leave the pairs of a row with itself out of the means.
    """
    return mmd(x, y, "energy", unbiased)


def mmd(x: Tensor, y: Tensor, kernel: str, unbiased: bool = False) -> Tensor:
    r"""Squared maximum mean discrepancy :math:`E k(x, x') + E k(y, y') - 2 E k(x, y)`.

    Kernels of the distance r: "energy", :math:`-r`; "gaussian",
    :math:`\sum_h e^{-r^2 / 2 h^2}`; "laplace", :math:`\sum_h e^{-r / h}`, with the
    scales h = 1/8, 1/4, 1/2 and 1 times :math:`\sqrt{2 d}`, the distance of two rows of
    unit variance.
    """
    k = KERNELS[kernel]

    def within(z):
        n, gram = z.shape[-2], k(z, z)
        if not unbiased:
            return gram.mean((-2, -1))
        off = gram.sum((-2, -1)) - gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        return off / (n * (n - 1))

    return within(x) + within(y) - 2 * k(x, y).mean((-2, -1))


def mmd_both_ways(
    x: Tensor, y: Tensor, heads: Tensor, feet: Tensor, kernel: str
) -> Tensor:
    r""":math:`\mathrm{MMD}^2(T(x), y) + \mathrm{MMD}^2(T^{-1}(y), x)`, unbiased.

    Parameters
    ----------
    x, y : Tensor of shape [K, n, d] and [K, m, d]
    heads, feet : Tensor of shape [K, n, d] and [K, m, d]
        The rows x mapped, the rows y mapped back.
    kernel : {"energy", "gaussian", "laplace"}
    """
    forward = mmd(heads, y, kernel, unbiased=True)
    return forward + mmd(feet, x, kernel, unbiased=True)


def _square_distances(x, y):
    norms = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
    # The floor keeps the root differentiable where two rows coincide.
    return (norms - 2 * x @ y.mT).clamp_min(torch.finfo(x.dtype).eps ** 2)


def _scales(x):
    return [factor * (2 * x.shape[-1]) ** 0.5 for factor in (0.125, 0.25, 0.5, 1.0)]


def _energy_kernel(x, y):
    return -_square_distances(x, y).sqrt()


def _gaussian_kernel(x, y):
    r2 = _square_distances(x, y)
    return sum(torch.exp(r2 / (-2 * h**2)) for h in _scales(x))


def _laplace_kernel(x, y):
    r = _square_distances(x, y).sqrt()
    return sum(torch.exp(r / -h) for h in _scales(x))


KERNELS = {
    "energy": _energy_kernel,
    "gaussian": _gaussian_kernel,
    "laplace": _laplace_kernel,
}
