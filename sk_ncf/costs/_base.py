"""The base class of costs c(x, y) = L(y - x)."""

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sk_ncf.costs._conjugate import newton_conjugate

__all__ = ["Cost"]


class Cost(BaseEstimator):
    r"""Base class: a translation-invariant cost :math:`c(x, y) = L(y - x)`.

    A subclass gives :meth:`lagrangian` and, where it knows them in closed form,
    :meth:`momentum` (:math:`\nabla L`), :meth:`velocity` (:math:`\nabla H`) and
    :meth:`hamiltonian` (:math:`H`); what it does not give is derived here: the
    momentum by automatic differentiation, the velocity by a damped Newton method on
    :math:`\nabla L(v) = p`, the Hamiltonian by Legendre's identity
    :math:`H(p) = \langle p, v \rangle - L(v)` at :math:`v = \nabla H(p)`.

    Hyperparameters are constructor arguments, as in any scikit-learn object, so that
    a grid search reaches them (``cost__p``).

    Attributes
    ----------
    homogeneity : float or None
        The degree k with :math:`L(s v) = s^k L(v)` for s > 0; None where there is none.
    """

    homogeneity: float | None = None

    _placed = None  # constants where they were last used; in no copy and no pickle

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "_placed"}

    def lagrangian(self, v: Tensor) -> Tensor:
        """L(v), rows of shape (..., d) to values of shape (...,)."""
        raise NotImplementedError(f"{type(self).__name__} must define lagrangian(v).")

    def momentum(self, v: Tensor) -> Tensor:
        r""":math:`p = \nabla L(v)`, shape (..., d)."""
        create_graph = torch.is_grad_enabled() and v.requires_grad
        with torch.enable_grad():
            v = v if v.requires_grad else v.detach().requires_grad_()
            (p,) = torch.autograd.grad(
                self.lagrangian(v).sum(), v, create_graph=create_graph
            )
        return p

    def velocity(self, p: Tensor) -> Tensor:
        r""":math:`v = \nabla H(p)`, the solution of :math:`\nabla L(v) = p`."""
        return newton_conjugate(self, p)

    def hamiltonian(self, p: Tensor) -> Tensor:
        r""":math:`H(p) = \langle p, v \rangle - L(v)` at :math:`v = \nabla H(p)`."""
        v = self.velocity(p)
        return (p * v).sum(-1) - self.lagrangian(v)

    def within(self, extent: float) -> "Cost":
        """This cost for displacements up to `extent`; beyond, only L need be exact."""
        return self

    def cancels(self, scale: Tensor) -> Tensor | bool:
        """Whether float32 has no digits left for displacements of this size."""
        return False

    def of_class(self, k: int) -> "Cost":
        """The cost of class k, where classes are seen from coordinates of their own."""
        return self

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """c(x, y) = L(y - x), row by row: (..., d) to (...,)."""
        return self.lagrangian(y - x)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """c(x_i, y_j) for all pairs: (..., n, d) and (..., m, d) to (..., n, m)."""
        return self.lagrangian(y.unsqueeze(-3) - x.unsqueeze(-2))
