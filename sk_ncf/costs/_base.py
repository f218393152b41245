"""The base class of costs c(x, y) = L(y - x)."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sk_ncf.costs._conjugate import newton_conjugate

__all__ = ["Cost"]


class Cost(BaseEstimator):
    r"""Base class: a translation-invariant cost :math:`c(x, y) = L(y - x)`.

    A subclass defines the Lagrangian L (:meth:`lagrangian`), the cost of a displacement
    v = y - x. It may also define :meth:`momentum` (:math:`\nabla L`), :meth:`velocity`
    (:math:`\nabla H`) and :meth:`hamiltonian` (:math:`H`) in closed form. Each of these
    has a default, which is slower:

    - the momentum is found by automatic differentiation,
    - the velocity by a damped Newton method on :math:`\nabla L(v) = p`,
    - the Hamiltonian by Legendre's identity :math:`H(p) = \langle p, v \rangle - L(v)`
      at :math:`v = \nabla H(p)`.

    Hyperparameters are arguments of the constructor, as in any scikit-learn object. A
    grid search reaches them as ``cost__p``. The costs of the package also have a name,
    in ``sk_ncf/costs/_registry.py``.

    Attributes
    ----------
    homogeneity : float or None
        The degree k, if :math:`L(s v) = s^k L(v)` for all s > 0; None otherwise.
    parameter_ranges : dict of str to (str, callable)
        For each numerical parameter: its range in words, and whether a value is in it.
    """

    homogeneity: float | None = None
    parameter_ranges: ClassVar[Mapping[str, tuple[str, Callable[[float], bool]]]] = {}

    # Constants on the device of the last call. Neither copied nor pickled.
    _cached_constants: Any = None

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k != "_cached_constants"}

    def lagrangian(self, v: Tensor) -> Tensor:
        """L(v), from shape (..., d) to shape (...,)."""
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

    def with_max_displacement(self, length: float) -> "Cost":
        """A cost that equals this one for displacements up to a length.

        A cost whose velocity is infinite for some momenta returns one whose velocity is
        bounded beyond that length. Its Lagrangian must not change.
        """
        return self

    def needs_float64(self, scale: Tensor) -> Tensor | bool:
        """Whether float32 has too few digits for displacements of this size."""
        return False

    def select_class(self, k: int | slice) -> "Cost":
        """The cost of class k, or of several; this one, if all have the same."""
        return self

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """c(x, y) = L(y - x), from shape (..., d) to shape (...,)."""
        return self.lagrangian(y - x)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """c(x_i, y_j) for all pairs: (..., n, d) and (..., m, d) to (..., n, m)."""
        return self.lagrangian(y.unsqueeze(-3) - x.unsqueeze(-2))
