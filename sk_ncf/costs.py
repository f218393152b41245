"""Costs c(x, y) = L(y - x): Lagrangian, Hamiltonian and their gradients.

A cost is a strictly convex Lagrangian :math:`L`. Its Legendre conjugate
:math:`H(p) = \\sup_v \\langle p, v \\rangle - L(v)` drives the Hamilton-Jacobi equation,
and the two gradients are inverse maps: :math:`\\nabla H = (\\nabla L)^{-1}`.
"""

import copy
import inspect
import math

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sk_ncf.errors import is_number

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
        return _newton_conjugate(self, p)

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

    _placed = None

    def _matrices(self, like):
        """A and its inverse where `like` is, moved there once."""
        key, placed = (like.device, like.dtype), self._placed
        if placed is None or placed[0] is not self.matrix or placed[1] != key:
            matrix = torch.as_tensor(self.matrix, dtype=like.dtype)
            both = matrix, torch.linalg.inv(matrix)
            placed = self._placed = self.matrix, key, [z.to(like.device) for z in both]
        return placed[2]

    def __getstate__(self):
        return {**super().__getstate__(), "_placed": None}

    def lagrangian(self, v):
        return (v * self.momentum(v)).sum(-1) / 2

    def hamiltonian(self, p):
        return (p * self.velocity(p)).sum(-1) / 2

    def momentum(self, v):
        return v @ self._matrices(v)[0]

    def velocity(self, p):
        return p @ self._matrices(p)[1]


class AffineCost(Cost):
    r"""The same cost seen from moved and scaled coordinates.

    With rows :math:`x = m_x + s x'`, :math:`y = m_y + s y'`, mean shift
    :math:`b = m_y - m_x` and :math:`a = \nabla L(b)`,

    .. math:: \tilde L(z) = [L(s z + b) - L(b) - \langle a, s z \rangle] / \lambda .

    Terms linear in :math:`z = y' - x'` split into functions of x and of y, so the
    transport problem is exactly the same; its solution starts at the mean shift. Of a
    homogeneous L the scale is taken out, :math:`L(s z + b) = s^k L(z + b / s)`, so that
    no power of the features' unit is ever computed in the network's precision.

    Parameters
    ----------
    cost : Cost
    shift : Tensor of shape (d,)
        The mean shift b, float64.
    scale, unit : float
        s, the common scale of the features, and lambda, the unit of cost.
    """

    def __init__(self, cost, shift, scale, unit):
        if cost.homogeneity is not None:
            shift, unit = shift / scale, unit / scale**cost.homogeneity
            scale = 1.0
        self.cost = cost
        self.shift = shift
        self.scale, self.unit = (shift.new_tensor([c]) for c in (scale, unit))
        self._momentum = cost.momentum(shift)
        self._value = cost.lagrangian(shift).unsqueeze(-1)

    _CONSTANTS = ("shift", "scale", "unit", "_momentum", "_value")

    @classmethod
    def stacked(cls, costs):
        """One cost on tensors with a class axis, of shape [K, ..., d]."""
        together = copy.copy(costs[0])
        for name in cls._CONSTANTS:
            constants = torch.stack([getattr(cost, name) for cost in costs])
            setattr(together, name, constants)
        return together

    def of_class(self, k):
        if self.shift.dim() == 1:
            return self
        alone = copy.copy(self)
        for name in self._CONSTANTS:
            setattr(alone, name, getattr(self, name)[k])
        return alone

    def _like(self, z):
        """Constants in the type of `z`, or float64 where cancellation or units need it."""
        far = self.shift.abs().amax(-1, keepdim=True) > 100 * self.scale
        cancels = self.cost.cancels(self.scale)
        double = (far | ~_single(self.scale) | cancels).any()
        z = z.double() if double and z.device.type != "mps" else z
        return z, *(_broadcast(c, z) for c in self._constants_at(z.device, z.dtype))

    _placed = None

    def _constants_at(self, device, dtype):
        """The constants on the device of the rows, moved there once."""
        placed = self._placed
        if placed is None or placed[0] != (device, dtype):
            constants = (getattr(self, name) for name in self._CONSTANTS)
            placed = (device, dtype), [c.to(device, dtype) for c in constants]
            self._placed = placed
        return placed[1]

    def __getstate__(self):
        # Copies and pickles hold the constants where they were made, on the CPU.
        return {**super().__getstate__(), "_placed": None}

    def lagrangian(self, v):
        z, b, scale, unit, a, value = self._like(v)
        w = self.cost.lagrangian(scale * z + b)
        linear = z @ a if a.dim() == 1 else (z * a).sum(-1)
        scale, unit, value = (c.squeeze(-1) for c in (scale, unit, value))
        return ((w - value - scale * linear) / unit).to(v.dtype)

    def momentum(self, v):
        z, b, scale, unit, a, _ = self._like(v)
        p = self.cost.momentum(scale * z + b) - a
        return (p * (scale / unit)).to(v.dtype)

    def velocity(self, p):
        z, b, scale, unit, a, _ = self._like(p)
        v = self.cost.velocity(a + (unit / scale) * z)
        return ((v - b) / scale).to(p.dtype)


def _single(scale):
    """Whether squares of such lengths, and far longer ones, are numbers in float32."""
    return (scale > 1e-9) & (scale < 1e9)


def _broadcast(constant, z):
    """A constant of shape (d,), or [K, d] of every class, next to z of [K, ..., d]."""
    if constant.dim() == 1:
        return constant
    n_classes, d = constant.shape
    return constant.reshape(n_classes, *[1] * (z.dim() - 2), d)


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


def _newton_conjugate(cost, p, max_iter=50, tol=1e-10):
    r"""Solve :math:`\nabla L(v) = p` row by row by Newton's method with halved steps.

    The merit function :math:`L(v) - \langle p, v \rangle` is convex: it is first
    minimised over a grid of multiples of p, then by steps that lower it or are halved.
    One more differentiable Newton step at the solution carries the derivative
    :math:`dv/dp = (\nabla^2 L)^{-1}`.
    """
    rows = p.detach().reshape(-1, p.shape[-1]).double()
    v = _best_multiple(cost, rows)
    active = torch.arange(len(rows), device=p.device)
    for _ in range(max_iter):
        wanted, at = rows[active], v[active]
        residual = cost.momentum(at).detach() - wanted
        open_ = residual.norm(dim=-1) > tol * (1e-30 + wanted.norm(dim=-1))
        if not open_.any():
            break
        active, at, wanted = active[open_], at[open_], wanted[open_]
        direction = torch.linalg.solve(_hessian(cost, at), residual[open_])
        v[active] = _halved_step(cost, at, direction, wanted)
    correction = torch.linalg.solve(
        _hessian(cost, v), p.reshape(rows.shape).double() - rows
    )
    return (v + correction).reshape(p.shape).to(p.dtype)


def _hessian(cost, v):
    r"""Hessian of L, shape (n, d, d), with a ridge far below its usual size."""
    hessian = torch.func.vmap(torch.func.hessian(cost.lagrangian))(v).detach()
    hessian = hessian.nan_to_num()
    ridge = 1e-9 * hessian.diagonal(dim1=-2, dim2=-1).mean() + 1e-30
    return hessian + ridge * torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)


def _merit(cost, v, p):
    return cost.lagrangian(v) - (p * v).sum(-1)


def _best_multiple(cost, p):
    """The multiple of each row of p with the least merit, shape (n, d)."""
    scales = 10.0 ** torch.arange(-8, 8.5, 0.5, dtype=p.dtype, device=p.device)
    merits = torch.stack([_merit(cost, s * p, p) for s in scales]).nan_to_num(torch.inf)
    return scales[merits.argmin(0)].unsqueeze(-1) * p


def _halved_step(cost, v, direction, p):
    """v - s direction, each row with the first s of 1, 1/2, ... that is an improvement.

    That is a lower merit or, where merits are equal to rounding, a lower residual.
    """

    def residual(v):
        return (cost.momentum(v).detach() - p).norm(dim=-1)

    value, error, trial = _merit(cost, v, p), residual(v), v - direction
    for k in range(1, 30):
        worse = ~((_merit(cost, trial, p) < value) | (residual(trial) < error))
        if not worse.any():
            return trial
        trial = torch.where(worse.unsqueeze(-1), v - direction / 2**k, trial)
    return torch.where(worse.unsqueeze(-1), v, trial)


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


def check_cost(cost, n_features, scale=1.0):
    r"""Raise ValueError unless `cost` is finite and strictly convex around `scale`.

    Along random chords and along every axis (up to 64), at a hundredth of, at, and at
    ten times `scale`, the value at the middle must lie strictly below the chord, and
    :math:`\nabla H` must undo :math:`\nabla L`. A homogeneous cost is checked at scale 1,
    and so is its degree: what holds there holds at every scale.
    """
    check_cost_parameters(cost, n_features)
    _check_scale(cost, scale)
    if cost.homogeneity is not None:
        scale = 1.0
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(n_features, dtype=torch.float64)[:64]
    rays = torch.randn(16, n_features, generator=generator, dtype=torch.float64)
    ends = torch.randn(16, n_features, generator=generator, dtype=torch.float64)
    a = torch.cat([axes, -axes, rays, rays])
    b = torch.cat([2 * axes, -2 * axes, 2 * rays, ends])
    name = f"cost={cost!r}"
    for factor in (0.01, 1.0, 10.0):
        x, y = factor * scale * a, factor * scale * b
        low, mid, high = (cost.lagrangian(v) for v in (x, (x + y) / 2, y))
        if low.shape != a.shape[:1]:
            raise ValueError(
                f"{name}: lagrangian must map rows of shape (n, d) to values of shape "
                f"(n,), got {tuple(low.shape)} for rows of shape {tuple(a.shape)}."
            )
        values = torch.cat([low, mid, high, cost.momentum(x).reshape(-1)])
        if not values.isfinite().all():
            raise ValueError(f"{name} is not finite at displacements of size {scale}.")
        _check_degree(cost, x, low)
        gap = (low + high) / 2 - mid
        if not (gap > 1e-13 * (low.abs() + high.abs())).all():
            raise ValueError(
                f"{name} is not strictly convex (to working precision) at displacements "
                f"of size {factor * scale:.3g}: c(x, y) = L(y - x) needs a strictly "
                "convex L (for l_p and norm powers, p > 1)."
            )
        back = cost.velocity(cost.momentum(x))
        if not (back - x).abs().max() <= 1e-3 * x.abs().max():
            raise ValueError(f"{name}: velocity must be the inverse map of momentum.")


def _check_scale(cost, scale):
    """Raise where the data, or their cost, are in a unit out of floating-point reach."""
    low, high = 1e-100, 1e100
    if not low <= scale <= high:
        raise ValueError(
            f"X and X_target must differ, within or between them, by {low:g} to {high:g} "
            f"or not at all, got {scale:.3g}: choose another unit."
        )
    degree = cost.homogeneity or 1.0
    if not abs(degree * math.log10(scale)) <= 250:
        raise ValueError(
            f"cost={cost!r} of a displacement of {scale:.3g}, the size of those between "
            f"X and X_target, is no floating-point number: choose another unit."
        )


def _check_degree(cost, v, value):
    k = cost.homogeneity
    if k is not None and not torch.allclose(cost.lagrangian(3 * v), 3**k * value):
        raise ValueError(
            f"cost={cost!r} declares homogeneity={k!r}, but L(3 v) is not 3^{k!r} L(v)."
        )


def check_cost_parameters(cost, n_features):
    """Raise ValueError unless the parameters of a built-in cost are in their ranges."""
    name = type(cost).__name__
    if type(cost).lagrangian is Cost.lagrangian:
        raise ValueError(f"cost={cost!r}: {name} must define lagrangian(v).")
    if type(cost).__module__ != __name__:
        return
    bounds = {"p": (1, "> 1"), "gamma": (None, ">= 0"), "delta": (0, "> 0")}
    for key, (low, wanted) in bounds.items():
        value = cost.get_params(deep=False).get(key, 1.5)
        valid = is_number(value, -1e300, 1e300)
        if not valid or not (value >= 0 if low is None else value > low):
            raise ValueError(f"{key} of {name} must be {wanted}, got {value!r}.")
    if isinstance(cost, QuadraticForm):
        _check_matrix(cost.matrix, n_features)


def _check_matrix(matrix, n_features):
    try:
        matrix = torch.as_tensor(matrix, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"matrix of QuadraticForm must be a square array of numbers, got {matrix!r}."
        ) from None
    if matrix.shape != (n_features, n_features):
        raise ValueError(
            f"matrix of QuadraticForm must have shape ({n_features}, {n_features}) for "
            f"data of {n_features} features, got {tuple(matrix.shape)}."
        )
    symmetric = torch.allclose(matrix, matrix.mT)
    if not symmetric or not (torch.linalg.eigvalsh(matrix) > 0).all():
        raise ValueError("matrix of QuadraticForm must be symmetric positive definite.")
