"""Powers of displacements: l_p and powers of the Euclidean norm."""

import torch

from sk_ncf.costs._base import Cost

__all__ = ["Lp", "NormPower"]


class Lp(Cost):
    r"""l_p cost :math:`L(v) = \sum_i |v_i|^p / p`, :math:`H(p) = \sum_i |p_i|^q / q`.

    Parameters
    ----------
    p : float, default=1.5
        Exponent, p > 1; its conjugate is q = p / (p - 1).
    """

    def __init__(self, p=1.5):
        self.p = p

    homogeneity = property(lambda self: float(self.p))

    def lagrangian(self, v):
        return v.abs().pow(self.p).sum(-1) / self.p

    def hamiltonian(self, p):
        q = _conjugate_exponent(self.p)
        return p.abs().pow(q).sum(-1) / q

    def momentum(self, v):
        return v * _power(v.abs(), self.p - 2)

    def velocity(self, p):
        return p * _power(p.abs(), _conjugate_exponent(self.p) - 2)


class NormPower(Cost):
    r"""Power of the norm, :math:`L(v) = |v|_2^p / p`, :math:`H(p) = |p|_2^q / q`.

    Parameters
    ----------
    p : float, default=1.5
        Exponent, p > 1; its conjugate is q = p / (p - 1).
    """

    def __init__(self, p=1.5):
        self.p = p

    homogeneity = property(lambda self: float(self.p))

    def lagrangian(self, v):
        return _norm(v).squeeze(-1).pow(self.p) / self.p

    def hamiltonian(self, p):
        q = _conjugate_exponent(self.p)
        return _norm(p).squeeze(-1).pow(q) / q

    def momentum(self, v):
        return v * _norm(v).pow(self.p - 2)

    def velocity(self, p):
        return p * _norm(p).pow(_conjugate_exponent(self.p) - 2)


def _conjugate_exponent(p):
    if not p > 1:
        raise ValueError(f"p must be > 1, got {p!r}.")
    return p / (p - 1)


def _tiny(x):
    return torch.finfo(x.dtype).tiny ** 0.15


def _power(r, exponent):
    """r^exponent, kept finite (with finite derivative) at r = 0."""
    return r.clamp_min(_tiny(r)).pow(exponent) if exponent < 0 else r.pow(exponent)


def _norm(v):
    """Euclidean norm, (..., d) to (..., 1), with a finite derivative at zero."""
    return v.square().sum(-1, keepdim=True).clamp_min(_tiny(v) ** 2).sqrt()
