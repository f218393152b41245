"""The squared maximum mean discrepancy and its kernels."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["KERNELS", "KernelName", "bidirectional_mmd", "energy_distance", "mmd"]

KernelName = Literal["energy", "gaussian", "laplace"]


def energy_distance(x: Tensor, y: Tensor, unbiased: bool = False) -> Tensor:
    r"""Squared energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|`.

    This is the squared maximum mean discrepancy of the kernel :math:`-|x - y|_2`
    (Szekely and Rizzo, 2013). `scipy.stats.energy_distance` returns its square root, in
    one dimension.

    Parameters
    ----------
    x : Tensor of shape [K, n, d]
    y : Tensor of shape [K, m, d]
    unbiased : bool, default=False
        Exclude the pairs of a sample with itself from the means.

    Returns
    -------
    Tensor of shape [K]
    """
    return mmd(x, y, "energy", unbiased)


def mmd(
    x: Tensor, y: Tensor, kernel: KernelName = "energy", unbiased: bool = False
) -> Tensor:
    r"""Squared maximum mean discrepancy :math:`E k(x, x') + E k(y, y') - 2 E k(x, y)`.

    Kernels of the distance r: "energy", :math:`-r`; "gaussian",
    :math:`\sum_h e^{-r^2 / 2 h^2}`; "laplace", :math:`\sum_h e^{-r / h}`. The bandwidths
    h are 1/8, 1/4, 1/2 and 1 times :math:`\sqrt{2 d}`, the typical distance of two
    samples of unit variance.

    Parameters
    ----------
    x : Tensor of shape [K, n, d]
    y : Tensor of shape [K, m, d]
    kernel : {"energy", "gaussian", "laplace"}, default="energy"
    unbiased : bool, default=False
        Exclude the pairs of a sample with itself from the means.

    Returns
    -------
    Tensor of shape [K]
    """
    k = KERNELS[kernel]

    def mean_within(z: Tensor) -> Tensor:
        n, gram = z.shape[-2], k(z, z)
        if not unbiased:
            return gram.mean((-2, -1))
        off_diagonal = gram.sum((-2, -1)) - gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        return off_diagonal / (n * (n - 1))

    return mean_within(x) + mean_within(y) - 2 * k(x, y).mean((-2, -1))


def bidirectional_mmd(
    x: Tensor, y: Tensor, heads: Tensor, feet: Tensor, kernel: KernelName
) -> Tensor:
    r""":math:`\mathrm{MMD}^2(T(x), y) + \mathrm{MMD}^2(T^{-1}(y), x)`, shape [K].

    Both are unbiased estimates.

    Parameters
    ----------
    x, y : Tensor of shape [K, n, d] and [K, m, d]
    heads, feet : Tensor of shape [K, n, d] and [K, m, d]
        The mapped samples T(x), and the samples mapped back T^-1(y).
    kernel : {"energy", "gaussian", "laplace"}
    """
    forward = mmd(heads, y, kernel, unbiased=True)
    return forward + mmd(feet, x, kernel, unbiased=True)


def _square_distances(x: Tensor, y: Tensor) -> Tensor:
    norms = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
    # The lower bound keeps the root differentiable if two rows coincide.
    return (norms - 2 * x @ y.mT).clamp_min(torch.finfo(x.dtype).eps ** 2)


def _bandwidths(x: Tensor) -> list[float]:
    return [factor * (2 * x.shape[-1]) ** 0.5 for factor in (0.125, 0.25, 0.5, 1.0)]


def _energy_kernel(x: Tensor, y: Tensor) -> Tensor:
    return -_square_distances(x, y).sqrt()


def _gaussian_kernel(x: Tensor, y: Tensor) -> Tensor:
    r2 = _square_distances(x, y)
    return sum((torch.exp(r2 / (-2 * h**2)) for h in _bandwidths(x)), r2.new_zeros(()))


def _laplace_kernel(x: Tensor, y: Tensor) -> Tensor:
    r = _square_distances(x, y).sqrt()
    return sum((torch.exp(r / -h) for h in _bandwidths(x)), r.new_zeros(()))


KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "energy": _energy_kernel,
    "gaussian": _gaussian_kernel,
    "laplace": _laplace_kernel,
}
