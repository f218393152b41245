r"""Exact changes of variables: training starts at the Gaussian (or mean-shift) map.

For a squared Euclidean cost with Gaussian map A between the sample covariances and
:math:`P = A^{1/2}`, the rows :math:`x' = P (x - m_x)` and :math:`y' = P^{-1} (y - m_y)`
have equal covariance, and because :math:`\langle x', y' \rangle = \langle x - m_x, y -
m_y \rangle` the transport problem between them is the same problem. For any other cost
both sides are centred and share one scale, and the cost moves along
(:class:`~sk_ncf.costs.AffineCost`). In the new variables u = 0 is the start.
"""

from dataclasses import dataclass

import numpy as np
import torch

from sk_ncf.affine_cost import AffineCost
from sk_ncf.costs import Cost, QuadraticForm, SquaredEuclidean

__all__ = [
    "Preconditioner",
    "common_cost",
    "effective_size",
    "gaussian_map",
    "geometric_mean",
    "oracle_shrinkage",
    "weighted_moments",
]


QUADRATIC = SquaredEuclidean | QuadraticForm  # whose start is the Gaussian map
LEAST_VARIANCE = 1e-280  # below which covariances lose their digits


@dataclass(frozen=True)
class AffineMap:
    """x -> (x - mean) @ matrix, and back."""

    mean: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse_matrix: np.ndarray  # (d, d)

    def forward(self, X):
        """Rows in the new variables, shape (n, d), float64."""
        return (np.asarray(X, dtype=np.float64) - self.mean) @ self.matrix

    def moments(self, mean, cov):
        """Mean (d,) and covariance (d, d) in the new variables, from the original ones."""
        return (mean - self.mean) @ self.matrix, self.matrix.T @ cov @ self.matrix

    def inverse(self, X):
        """Rows back in the original variables, shape (n, d), float64."""
        return np.asarray(X, dtype=np.float64) @ self.inverse_matrix + self.mean


@dataclass(frozen=True)
class Preconditioner:
    r"""The change of variables of one pair of samples (one class).

    Attributes
    ----------
    source, target : AffineMap
        Original variables to those of the network, each side.
    cost : Cost
        The cost between rows in the new variables.
    unit : float
        lambda: c(x, y) = lambda c'(x', y') + (a function of x) + (a function of y).
    original_cost : Cost
        The cost between rows in the original variables.
    """

    source: AffineMap
    target: AffineMap
    cost: Cost
    unit: float
    original_cost: Cost

    @classmethod
    def fit_classes(cls, samples, cost, pooled):
        """One of every class, from pairs of samples; their costs can be stacked.

        `pooled` has the moments of some classes, in the place of those of their samples.
        """
        cost = _within(cost, [(source.X, target.X) for source, target in samples])
        careful, fitted = len(samples) > 1, []
        for k, sides in enumerate(samples):
            if k in pooled:
                fitted.append(cls.of_moments(cost, pooled[k]))
                continue
            moments = [side.moments for side in sides]
            sizes = [effective_size(side.weight) for side in sides]
            fitted.append(cls.of_moments(cost, moments, sizes, careful))
        return fitted

    @classmethod
    def fit(cls, X, X_target, cost, sample_weight, target_weight):
        """From rows (n, d) and (m, d) with weights (n,) and (m,)."""
        cost = _within(cost, [(X, X_target)])
        sides = (X, sample_weight), (X_target, target_weight)
        moments = [weighted_moments(*side) for side in sides]
        sizes = [effective_size(weight) for _, weight in sides]
        return cls.of_moments(cost, moments, sizes)

    @classmethod
    def of_moments(cls, cost, moments, sizes=(1e12, 1e12), careful=False):
        """From (mean, covariance) and effective number of rows of either side.

        Numbers and `careful`: see :func:`shrink_covariances`.
        """
        (mean_x, cov_x), (mean_y, cov_y) = moments
        if isinstance(cost, QUADRATIC):
            cov_x, cov_y = shrink_covariances(cov_x, cov_y, *sizes, careful)
            return cls._covariance(cost, mean_x, mean_y, cov_x, cov_y)
        return cls._isotropic(cost, mean_x, mean_y, cov_x, cov_y)

    @classmethod
    def _covariance(cls, cost, mean_x, mean_y, cov_x, cov_y):
        d = len(mean_x)
        root = eye = np.eye(d)
        if isinstance(cost, QuadraticForm):  # v'Av/2 = |A^1/2 v|^2 / 2
            root = geometric_mean(np.asarray(cost.matrix, dtype=np.float64), eye)
            cov_x, cov_y = (_seen_through(root, cov) for cov in (cov_x, cov_y))
        p = geometric_mean(gaussian_map(cov_x, cov_y), eye)  # A^1/2
        inv_root, inv_p = _inverse(root), _inverse(p)
        spread = np.trace(p @ cov_x @ p) + np.trace(inv_p @ cov_y @ inv_p)
        scale = np.sqrt(spread / (2 * d)) or 1.0
        source = AffineMap(mean_x, root @ p / scale, scale * inv_p @ inv_root)
        target = AffineMap(mean_y, root @ inv_p / scale, scale * p @ inv_root)
        return cls.of_maps(source, target, scale**2, cost)

    @classmethod
    def _isotropic(cls, cost, mean_x, mean_y, cov_x, cov_y):
        d = len(mean_x)
        shift = torch.from_numpy(mean_y - mean_x)
        scale = np.sqrt((np.trace(cov_x) + np.trace(cov_y)) / (2 * d))
        # Without spread (single points) the shift itself is the only length there is.
        scale = float(scale or np.abs(shift.numpy()).max())
        scale = scale if scale > np.sqrt(LEAST_VARIANCE) else 1.0
        unit = _cost_unit(cost, shift, scale)
        eye = np.eye(d)
        source, target = (
            AffineMap(mean, eye / scale, eye * scale) for mean in (mean_x, mean_y)
        )
        return cls.of_maps(source, target, unit, cost)

    @classmethod
    def of_maps(cls, source, target, unit, cost):
        """From the changes of variables of both sides: the cost moves along."""
        if isinstance(cost, QUADRATIC):
            return cls(source, target, SquaredEuclidean(), unit, cost)
        shift = torch.from_numpy(target.mean - source.mean)
        scale = float(source.inverse_matrix[0, 0])  # a multiple of the identity
        return cls(source, target, AffineCost(cost, shift, scale, unit), unit, cost)

    def source_potential(self, X, u):
        r"""u(x, 0) in the original variables from its value in the new ones.

        With :math:`c(x, y) = \lambda c'(x', y') + \alpha(x) + \beta(y)`, the inequality
        u(y, 1) <= u(x, 0) + c(x, y) is kept by
        :math:`u(x, 0) = \lambda u' - \alpha(x)`, :math:`u(y, 1) = \lambda u' + \beta(y)`.
        """
        return self.unit * u - self.offsets(X, self.source, -1.0)

    def target_potential(self, X, u):
        """u(y, 1) in the original variables (see :meth:`source_potential`)."""
        return self.unit * u + self.offsets(X, self.target, 1.0)

    def offsets(self, X, side, sign):
        r""":math:`\alpha(x)` (sign -1, source) or :math:`\beta(y)` (sign 1, target)."""
        centred = torch.from_numpy(np.asarray(X, dtype=np.float64) - side.mean)
        shift = torch.from_numpy(self.target.mean - self.source.mean)
        linear = centred @ self.original_cost.momentum(shift)
        value = self.original_cost.lagrangian(shift) if sign > 0 else 0.0
        quadratic = 0.0
        if isinstance(self.cost, SquaredEuclidean):
            moved = torch.from_numpy(side.forward(X))
            quadratic = self.original_cost.lagrangian(centred)
            quadratic = quadratic - self.unit * self.cost.lagrangian(moved)
        return (quadratic + sign * linear + value).numpy()


def weighted_moments(X, weight, chunk=65536):
    """Mean (d,) and covariance (d, d) of weighted rows, in float64, by chunks.

    Relative to the first row, so that a constant feature has variance zero exactly; and
    so has one whose variance is no normal floating-point number.
    """
    total = weight.sum()
    origin = X[0].astype(np.float64)
    shift = sum(weight[s] @ (X[s] - origin) for s in _chunks(X, chunk)) / total
    cov = np.zeros((X.shape[1], X.shape[1]))
    for s in _chunks(X, chunk):
        centred = X[s] - origin - shift
        cov += centred.T @ (weight[s, None] / total * centred)
    seen = np.diag(cov) > LEAST_VARIANCE
    return origin + shift, np.where(np.outer(seen, seen), cov, 0.0)


def common_cost(preconditioners, n_members=1):
    """The cost between rows in the new variables, for all classes at once.

    Parameters
    ----------
    preconditioners : sequence of Preconditioner
        Of every class.
    n_members : int, default=1
        Potentials of every class.
    """
    costs = [p.cost for p in preconditioners for _ in range(n_members)]
    if len(preconditioners) == 1 or isinstance(costs[0], SquaredEuclidean):
        return costs[0]
    return AffineCost.stacked(costs)


def _within(cost, pairs):
    """The cost, for displacements between the rows of the pairs."""
    if isinstance(cost, QUADRATIC):  # the same for all
        return cost
    return cost.within(max(_extent(X, Y) for X, Y in pairs))


def _extent(X, Y):
    """More than any displacement that brings rows of X near rows of Y."""
    origin = X[0].astype(np.float64)
    return 2 * (_radius(X, origin) + _radius(Y, origin))


def _radius(X, origin, chunk=65536):
    """Largest distance of a row from a point."""
    return max(np.linalg.norm(X[s] - origin, axis=1).max() for s in _chunks(X, chunk))


def _chunks(X, size):
    return [slice(i, i + size) for i in range(0, len(X), size)]


def gaussian_map(cov_x, cov_y):
    r"""The optimal map between centred Gaussians, a symmetric matrix (d, d).

    .. math:: A = C_x^{-1/2} (C_x^{1/2} C_y C_x^{1/2})^{1/2} C_x^{-1/2} = C_x^{-1} \# C_y

    (Olkin and Pukelsheim, "The distance between two random vectors with given
    dispersion matrices", 1982): the positive definite solution of
    :math:`A C_x A = C_y`.
    """
    return geometric_mean(_inverse(cov_x), cov_y)


def geometric_mean(a, b, max_iter=128):
    r"""Geometric mean :math:`a \# b` of positive definite matrices; a # I is a^(1/2).

    The common limit of arithmetic and harmonic means (Bhatia, Positive Definite
    Matrices, 2007, chapter 4). Unlike an eigendecomposition, it keeps the digits of
    features whose unit is many orders of magnitude smaller than that of others.
    """
    balance = np.exp((np.log(np.diag(b)) - np.log(np.diag(a))).mean() / 2)
    a, inv_b = a * balance, _inverse(b) * balance  # the mean is that of b / balance
    for _ in range(max_iter):
        inv_a, b = _inverse(a), _inverse(inv_b)
        size = np.sqrt(np.diag(a))
        close = (np.abs(a - b) <= 1e-7 * np.outer(size, size)).all()
        a, inv_b = (a + b) / 2, (inv_a + inv_b) / 2
        if close:  # the next error is of the order of the square of this one
            break
    return a


def _inverse(matrix):
    """Inverse of a positive definite matrix, computed with a unit diagonal."""
    size = np.sqrt(np.diag(matrix))
    outer = np.outer(size, size)
    inverse = np.linalg.inv(matrix / outer) / outer
    return (inverse + inverse.T) / 2


def _seen_through(root, cov):
    """Covariance of the rows times `root`, positive definite in spite of rounding."""
    cov = root @ cov @ root
    return (cov + cov.T) / 2 + 1e-14 * np.trace(cov) / len(cov) * np.eye(len(cov))


def effective_size(weight):
    """Kish's number of equally weighted rows worth these weights."""
    return weight.sum() ** 2 / np.einsum("i,i", weight, weight)


def shrink_covariances(cov_x, cov_y, n_x, n_y, careful=False):
    r"""Both covariances, made invertible in a common way.

    In units of the pooled standard deviations (so that no feature's unit counts) each
    is shrunk (:func:`oracle_shrinkage`): negligible for n >> d, decisive for n < d. Features
    constant on both sides, and all features where one side is a single point, get equal
    variances (for the former far below the others, so that no other cost than their
    own is met): the identity.

    Where a row must not leave its class, `careful` shrinks both sides by 8 (d / n)^2 at
    least, n of the smaller side, up to a tenth: directions that the noise of few rows
    stretches are what carries rows away.
    """
    d = len(cov_x)
    least = min(0.1, 8 * (d / min(n_x, n_y)) ** 2) if careful else 0.0
    if not (np.trace(cov_x) > 0 and np.trace(cov_y) > 0):
        eye = np.eye(d) * (max(np.trace(cov_x), np.trace(cov_y)) / d or 1.0)
        return eye, eye
    std = np.sqrt((np.diag(cov_x) + np.diag(cov_y)) / 2)
    varies = std > 0
    unit = np.where(varies, std, std.max())
    outer, block = np.outer(unit, unit), np.ix_(varies, varies)
    shrunk = []
    for cov, n in ((cov_x, n_x), (cov_y, n_y)):
        full = 1e-8 * np.eye(d)
        full[block] = oracle_shrinkage((cov / outer)[block], n, least)
        shrunk.append(full * outer)
    return shrunk


def oracle_shrinkage(cov, n, least=0.0):
    """Covariance (d, d) of n rows, shrunk towards its mean variance, by `least` at least.

    The oracle approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010).
    """
    intensity, mean = max(least, _oas_intensity(cov, n)), np.trace(cov) / len(cov)
    return (1 - intensity) * cov + intensity * mean * np.eye(len(cov))


def _oas_intensity(cov, n):
    d, trace, square = len(cov), np.trace(cov), (cov**2).sum()
    excess = (n + 1 - 2 / d) * (square - trace**2 / d)
    if excess <= 0:
        return 1.0
    return np.clip(((1 - 2 / d) * square + trace**2) / excess, 1e-12, 1.0)


def _cost_unit(cost, shift, scale):
    r"""lambda such that :math:`\nabla \tilde L` has the size of its argument there."""
    degree = cost.homogeneity
    if degree is not None and scale != 1:  # no power of the features' unit in between
        return _cost_unit(cost, shift / scale, 1.0) * scale**degree
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(512, len(shift), generator=generator, dtype=torch.float64)
    p = cost.momentum(scale * z + shift) - cost.momentum(shift)
    unit = scale * p.square().mean().sqrt().item()
    return unit if np.isfinite(unit) and unit > 0 else 1.0
