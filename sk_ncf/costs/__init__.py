r"""Costs :math:`c(x, y) = L(y - x)`: Lagrangian, Hamiltonian and their gradients.

A cost is given by a strictly convex Lagrangian :math:`L`. Its Legendre conjugate, the
Hamiltonian :math:`H(p) = \sup_v \langle p, v \rangle - L(v)`, enters the
Hamilton-Jacobi equation. The gradients of the two are inverse functions:
:math:`\nabla H = (\nabla L)^{-1}`.
"""

from sk_ncf.costs._base import Cost
from sk_ncf.costs._elastic import Elastic
from sk_ncf.costs._powers import Lp, NormPower
from sk_ncf.costs._pseudo_huber import PseudoHuber
from sk_ncf.costs._quadratic import QuadraticForm, SquaredEuclidean

__all__ = [
    "Cost",
    "Elastic",
    "Lp",
    "NormPower",
    "PseudoHuber",
    "QuadraticForm",
    "SquaredEuclidean",
]
