"""Powers of displacements: l_p and powers of the Euclidean norm."""

import torch
from torch import Tensor

from sk_ncf.costs._base import Cost

__all__ = ["Lp", "NormPower"]


class Lp(Cost):
    r"""l_p cost :math:`L(v) = \sum_i |v_i|^p / p`, :math:`H(p) = \sum_i |p_i|^q / q`.

    Parameters
    ----------
    p : float, default=1.5
        Exponent, p > 1; its conjugate exponent is q = p / (p - 1).
    """

    parameter_ranges = {"p": ("> 1", lambda p: p > 1)}

    def __init__(self, p: float = 1.5) -> None:
        self.p = p

    @property
    def homogeneity(self) -> float:  # type: ignore[override]  # follows p
        """The exponent p."""
        return float(self.p)

    def lagrangian(self, v: Tensor) -> Tensor:
        return v.abs().pow(self.p).sum(-1) / self.p

    def hamiltonian(self, p: Tensor) -> Tensor:
        q = _conjugate_exponent(self.p)
        return p.abs().pow(q).sum(-1) / q

    def momentum(self, v: Tensor) -> Tensor:
        return v * _power(v.abs(), self.p - 2)

    def velocity(self, p: Tensor) -> Tensor:
        return p * _power(p.abs(), _conjugate_exponent(self.p) - 2)


class NormPower(Cost):
    r"""Power of the norm, :math:`L(v) = |v|_2^p / p`, :math:`H(p) = |p|_2^q / q`.

    Parameters
    ----------
    p : float, default=1.5
        Exponent, p > 1; its conjugate exponent is q = p / (p - 1).
    """

    parameter_ranges = {"p": ("> 1", lambda p: p > 1)}

    def __init__(self, p: float = 1.5) -> None:
        self.p = p

    @property
    def homogeneity(self) -> float:  # type: ignore[override]  # follows p
        """The exponent p."""
        return float(self.p)

    def lagrangian(self, v: Tensor) -> Tensor:
        return _norm(v).squeeze(-1).pow(self.p) / self.p

    def hamiltonian(self, p: Tensor) -> Tensor:
        q = _conjugate_exponent(self.p)
        return _norm(p).squeeze(-1).pow(q) / q

    def momentum(self, v: Tensor) -> Tensor:
        return v * _norm(v).pow(self.p - 2)

    def velocity(self, p: Tensor) -> Tensor:
        return p * _norm(p).pow(_conjugate_exponent(self.p) - 2)


def _conjugate_exponent(p: float) -> float:
    if not p > 1:
        raise ValueError(f"p must be > 1, got {p!r}.")
    return p / (p - 1)


def _smallest_length(x: Tensor) -> float:
    """A length far below all data, whose powers are still normal numbers."""
    return torch.finfo(x.dtype).tiny ** 0.15


def _power(r: Tensor, exponent: float) -> Tensor:
    """r^exponent, finite and with a finite derivative at r = 0."""
    if exponent < 0:
        r = r.clamp_min(_smallest_length(r))
    return r.pow(exponent)


def _norm(v: Tensor) -> Tensor:
    """Euclidean norm, (..., d) to (..., 1), with a finite derivative at zero."""
    squares = v.square().sum(-1, keepdim=True)
    return squares.clamp_min(_smallest_length(v) ** 2).sqrt()
