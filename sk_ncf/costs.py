"""Costs c(x, y) = L(y - x): Lagrangian, Hamiltonian and their gradients.

A cost is a strictly convex Lagrangian :math:`L`. Its Legendre conjugate
:math:`H(p) = \\sup_v \\langle p, v \\rangle - L(v)` drives the Hamilton-Jacobi equation,
and the two gradients are inverse maps: :math:`\\nabla H = (\\nabla L)^{-1}`.
"""

import inspect

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sk_ncf.conjugates import newton_conjugate

__all__ = [
    "Cost",
    "Elastic",
    "Lp",
    "NormPower",
    "PseudoHuber",
    "QuadraticForm",
    "SquaredEuclidean",
]


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


class SquaredEuclidean(Cost):
    r"""Squared Euclidean cost :math:`L(v) = |v|_2^2 / 2`, :math:`H(p) = |p|_2^2 / 2`."""

    homogeneity = 2.0

    def lagrangian(self, v):
        return v.square().sum(-1) / 2

    def hamiltonian(self, p):
        return p.square().sum(-1) / 2

    def momentum(self, v):
        return v

    def velocity(self, p):
        return p

    def pairwise(self, x, y):
        norms = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2)
        return norms / 2 - x @ y.mT


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


class Elastic(Cost):
    r"""Elastic cost :math:`L(v) = |v|_2^2 / 2 + \gamma |v|_1`: sparse displacements.

    Its Hamiltonian is :math:`H(p) = |S_\gamma(p)|_2^2 / 2` and its velocity the soft
    threshold :math:`S_\gamma(p) = \mathrm{sign}(p) \max(|p| - \gamma, 0)` [1]_.

    Parameters
    ----------
    gamma : float, default=1.0
        Weight of the l_1 norm, gamma >= 0, in the units of the features.

    References
    ----------
    .. [1] M. Cuturi, M. Klein, P. Ablin, "Monge, Bregman and Occam: Interpretable
       Optimal Transport in High-Dimensions with Feature-Sparse Maps", ICML 2023.
    """

    def __init__(self, gamma=1.0):
        self.gamma = gamma

    def lagrangian(self, v):
        return v.square().sum(-1) / 2 + self.gamma * v.abs().sum(-1)

    def hamiltonian(self, p):
        return self.velocity(p).square().sum(-1) / 2

    def momentum(self, v):
        return v + self.gamma * v.sign()

    def velocity(self, p):
        return torch.nn.functional.softshrink(p, float(self.gamma))

    def cancels(self, scale):
        return scale < self.gamma / 100


class PseudoHuber(Cost):
    r"""Pseudo-Huber cost :math:`L(v) = \delta^2 (\sqrt{1 + |v|^2 / \delta^2} - 1)`.

    Quadratic for :math:`|v| \ll \delta`, linear beyond. Its Hamiltonian
    :math:`H(p) = \delta^2 (1 - \sqrt{1 - |p|^2 / \delta^2})` is finite for
    :math:`|p| < \delta` only; closer to that sphere than the floating-point type or the
    extent of the data resolve, the velocity is continued linearly, so that training can
    find its way back.

    Parameters
    ----------
    delta : float, default=1.0
        Length at which the cost turns from quadratic to linear, delta > 0, in the
        units of the features.
    """

    def __init__(self, delta=1.0):
        self.delta = delta

    _extent = float("inf")

    def within(self, extent):
        cost = type(self)(self.delta)
        cost._extent = extent
        return cost

    def cancels(self, scale):
        # 1 - |p|^2 / delta^2 is next to nothing there.
        return bool(self._extent > 300 * self.delta)

    def _in_units(self, v):
        """|v|^2 / delta^2, shape (..., 1)."""
        if not self.delta > 0:
            raise ValueError(f"delta must be > 0, got {self.delta!r}.")
        return (v / self.delta).square().sum(-1, keepdim=True)

    def _root(self, p):
        q = 1 - self._in_units(p)
        ratio = self._extent / self.delta
        least = 1 / (1 + ratio * ratio)  # q at |v| = extent
        return q.clamp_min(max(least, 8 * torch.finfo(p.dtype).eps)).sqrt()

    # No delta^2 alone, which need not be a number where the products are.

    def lagrangian(self, v):
        root = (1 + self._in_units(v).squeeze(-1)).sqrt()
        return v.square().sum(-1) / (1 + root)  # = delta^2 (root - 1)

    def hamiltonian(self, p):
        return p.square().sum(-1) / (1 + self._root(p).squeeze(-1))

    def momentum(self, v):
        return v / (1 + self._in_units(v)).sqrt()

    def velocity(self, p):
        return p / self._root(p)


class QuadraticForm(Cost):
    r"""Quadratic form :math:`L(v) = v^\top A v / 2`, :math:`H(p) = p^\top A^{-1} p / 2`.

    Parameters
    ----------
    matrix : array-like of shape (d, d)
        The symmetric positive definite matrix A.
    """

    homogeneity = 2.0

    def __init__(self, matrix):
        self.matrix = matrix

    def _matrices(self, like):
        """A and its inverse where `like` is, moved there once."""
        key, placed = (like.device, like.dtype), self._placed
        if placed is None or placed[0] is not self.matrix or placed[1] != key:
            matrix = torch.as_tensor(self.matrix, dtype=like.dtype)
            both = matrix, torch.linalg.inv(matrix)
            placed = self._placed = self.matrix, key, [z.to(like.device) for z in both]
        return placed[2]

    def lagrangian(self, v):
        return (v * self.momentum(v)).sum(-1) / 2

    def hamiltonian(self, p):
        return (p * self.velocity(p)).sum(-1) / 2

    def momentum(self, v):
        return v @ self._matrices(v)[0]

    def velocity(self, p):
        return p @ self._matrices(p)[1]


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


COSTS = {
    "sqeuclidean": SquaredEuclidean,
    "lp": Lp,
    "norm_power": NormPower,
    "elastic": Elastic,
    "pseudo_huber": PseudoHuber,
    "quadratic_form": QuadraticForm,
}


def make_cost(cost, cost_params=None):
    """The Cost object for a name of `COSTS` with its parameters, or the object itself."""
    if isinstance(cost, Cost):
        if cost_params:
            raise ValueError(
                f"cost_params={cost_params!r} goes with a cost given by name; this "
                f"cost is the object {cost!r}: set its parameters on it."
            )
        return cost
    if not (isinstance(cost, str) and cost in COSTS):
        raise ValueError(
            f"cost must be one of {sorted(COSTS)} or a Cost object, got {cost!r}."
        )
    params = dict(cost_params or {})
    allowed = inspect.signature(COSTS[cost]).parameters
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        raise ValueError(
            f"cost_params of cost={cost!r} must be among {list(allowed)}, got {unknown}."
        )
    if cost == "quadratic_form" and "matrix" not in params:
        raise ValueError("cost='quadratic_form' needs cost_params={'matrix': A}.")
    return COSTS[cost](**params)
