r"""Exact changes of variables: training starts at the Gaussian (or mean-shift) map.

For a squared Euclidean cost with Gaussian map A between the sample covariances and
:math:`P = A^{1/2}`, the rows :math:`x' = P (x - m_x)` and :math:`y' = P^{-1} (y - m_y)`
have equal covariance, and because :math:`\langle x', y' \rangle = \langle x - m_x, y -
m_y \rangle` the transport problem between them is the same problem. For any other cost
both sides are centred and share one scale, and the cost moves along
(:class:`~sk_ncf.costs.AffineCost`). In the new variables u = 0 is the start.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from sk_ncf._flow.gaussian_map import (
    _inverse,
    _seen_through,
    gaussian_map,
    geometric_mean,
)
from sk_ncf._flow.moments import (
    LEAST_VARIANCE,
    _chunks,
    effective_size,
    weighted_moments,
)
from sk_ncf._flow.plane import Plane
from sk_ncf._flow.shrinkage import shrink_covariances
from sk_ncf.costs import Cost, QuadraticForm, SquaredEuclidean
from sk_ncf.costs._affine import AffineCost

__all__ = ["Preconditioner", "common_cost"]


REACH = 1.25  # radii of the fit's rows, up to which its map is extrapolated
FAR = 1.5  # radii, from which a row is called far
QUADRATIC = SquaredEuclidean | QuadraticForm  # whose start is the Gaussian map


@dataclass(frozen=True)
class AffineMap:
    """x -> (x - mean) @ matrix, and back."""

    mean: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse_matrix: np.ndarray  # (d, d)
    radius: float = np.inf  # of the fit's rows about the mean, in the new variables

    def forward(self, X):
        """Rows in the new variables, shape (n, d), float64."""
        return (np.asarray(X, dtype=np.float64) - self.mean) @ self.matrix

    def moments(self, mean, cov):
        """Mean (d,) and covariance (d, d) in the new variables, from the original ones."""
        return (mean - self.mean) @ self.matrix, self.matrix.T @ cov @ self.matrix

    def followed_by(self, old_mean, new_mean, matrix):
        """Rows z in the new variables go on to (z - old_mean) @ matrix + new_mean."""
        inverse = np.linalg.inv(matrix)
        mean = self.mean + (old_mean - new_mean @ inverse) @ self.inverse_matrix
        return AffineMap(mean, self.matrix @ matrix, inverse @ self.inverse_matrix)

    def of_radius(self, samples):
        """The same map, with the radius of the samples, or its own where that is larger."""
        own = self.radius if np.isfinite(self.radius) else 0.0
        parts = (s.X[part] for s in samples for part in _chunks(s.X, 65536))
        radii = (_lengths(self.forward(X)).max() for X in parts)
        radius = float(max([own, *radii])) or np.inf
        return self if radius == self.radius else replace(self, radius=radius)

    def is_far(self, X):
        """Mask of the rows that lie far outside those of the fit, shape (n,)."""
        return _lengths(self.forward(X)) > FAR * self.radius

    def clipped(self, rows):
        """Rows in the new variables, brought back to where the fit knows of a map.

        Those beyond `REACH` radii are moved towards the mean, onto that sphere.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            share = REACH * self.radius / _lengths(rows)
        return rows * np.minimum(1.0, share)[:, None] if (share < 1).any() else rows

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
    kind : {"gaussian", "mean_shift", "identity"}
        The initial map, that of u = 0.
    plane : Plane or None
        The plane of the rows if some columns are constant or collinear.
    """

    source: AffineMap
    target: AffineMap
    cost: Cost
    unit: float
    original_cost: Cost
    kind: str = "gaussian"
    plane: Plane | None = None

    @classmethod
    def fit_classes(cls, samples, cost, pooled, kinds=None):
        """One of every class, from pairs of samples; their costs can be stacked.

        `pooled` has the moments of some classes, in the place of those of their samples;
        `kinds` the maps that the other classes start from.
        """
        cost = _within(cost, [(source.X, target.X) for source, target in samples])
        careful, fitted = len(samples) > 1, []
        for k, sides in enumerate(samples):
            if k in pooled:
                fitted.append(cls.of_moments(cost, pooled[k]))
                continue
            moments = [side.moments for side in sides]
            sizes = [side.effective_size for side in sides]
            kind = None if kinds is None else kinds[k]
            fitted.append(cls.of_moments(cost, moments, sizes, careful, kind))
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
    def of_moments(cls, cost, moments, sizes=(1e12, 1e12), careful=False, kind=None):
        """From (mean, covariance) and effective number of rows of either side.

        Numbers and `careful`: see :func:`shrink_covariances`. The kind is "gaussian" for
        quadratic costs and "mean_shift" for others, or a simpler one.
        """
        kind = kind or ("gaussian" if isinstance(cost, QUADRATIC) else "mean_shift")
        fitted = cls._of_moments(cost, _simplified(moments, kind), sizes, careful)
        return replace(fitted, kind=kind)

    @classmethod
    def _of_moments(cls, cost, moments, sizes, careful):
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


def common_cost(preconditioners, ensemble_size=1):
    """The cost between rows in the new variables, for all classes at once.

    Parameters
    ----------
    preconditioners : sequence of Preconditioner
        Of every class.
    ensemble_size : int, default=1
        Potentials of every class.
    """
    costs = [p.cost for p in preconditioners for _ in range(ensemble_size)]
    if len(preconditioners) == 1 or isinstance(costs[0], SquaredEuclidean):
        return costs[0]
    return AffineCost.stack(costs)


def _within(cost, pairs):
    """The cost, for displacements between the rows of the pairs."""
    if isinstance(cost, QUADRATIC):  # the same for all
        return cost
    return cost.with_max_displacement(max(_extent(X, Y) for X, Y in pairs))


def _simplified(moments, kind):
    """Moments whose Gaussian map is the mean shift, or the identity."""
    if kind == "gaussian":
        return moments
    means, covariances = zip(*moments, strict=True)
    if kind == "identity":
        means = [(means[0] + means[1]) / 2] * 2
    cov = (covariances[0] + covariances[1]) / 2
    return [(mean, cov) for mean in means]


def _lengths(rows):
    """Euclidean norms, shape (n,), of numbers of any size."""
    most = np.abs(rows).max(axis=1)
    unit = np.where(most > 0, most, 1.0)
    with np.errstate(over="ignore"):
        return unit * np.linalg.norm(rows / unit[:, None], axis=1)


def _extent(X, Y):
    """More than any displacement that brings rows of X near rows of Y."""
    origin = X[0].astype(np.float64)
    return 2 * (_radius(X, origin) + _radius(Y, origin))


def _radius(X, origin, chunk=65536):
    """Largest distance of a row from a point."""
    return max(np.linalg.norm(X[s] - origin, axis=1).max() for s in _chunks(X, chunk))


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
