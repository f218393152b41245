r"""Exact changes of variables, in which u = 0 is the initial map.

The initial map is the Gaussian map for quadratic costs, and the mean shift for others.
For the quantile mapping of each column, it is the Gaussian map of each column, and
:class:`~sk_ncf._flow.separable_potential.SeparablePotential` is added to the potential.

For the squared Euclidean cost, let A be the Gaussian map between the sample covariances
and :math:`P = A^{1/2}`. The rows :math:`x' = P (x - m_x)` and :math:`y' = P^{-1} (y -
m_y)` have equal covariances. Since :math:`\langle x', y' \rangle = \langle x - m_x, y -
m_y \rangle`, the transport problem between them is equivalent to the original one.

For any other cost, both samples are centred and divided by the same scale, and the cost
is transformed accordingly (:class:`~sk_ncf.costs._affine.AffineCost`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.cost_scale import QUADRATIC, cost_unit, with_max_displacement
from sk_ncf._flow.gaussian_map import (
    _inverse,
    _transformed_covariance,
    gaussian_map,
    geometric_mean,
)
from sk_ncf._flow.moments import (
    LEAST_VARIANCE,
    Moments,
    WeightedRows,
    effective_size,
    weighted_moments,
)
from sk_ncf._flow.plane import Plane
from sk_ncf._flow.shrinkage import shrink_covariances
from sk_ncf.costs import Cost, QuadraticForm, SquaredEuclidean
from sk_ncf.costs._affine import AffineCost

__all__ = ["Preconditioner", "common_cost"]


MANY_ROWS = 1e12  # for moments without sampling error

SidePair = tuple[WeightedRows, WeightedRows]  # source, target
MomentPair = tuple[Moments, Moments]  # source, target


@dataclass(frozen=True)
class Preconditioner:
    r"""The change of variables of one pair of samples (one class).

    Attributes
    ----------
    source, target : AffineMap
        From the original variables to those of the network.
    cost : Cost
        The cost c' between rows in the new variables.
    unit : float
        The factor lambda in c(x, y) = lambda c'(x', y') + alpha(x) + beta(y).
    original_cost : Cost
        The cost between rows in the original variables.
    kind : {"gaussian", "quantile", "mean_shift", "identity"}
        The initial map, that of u = 0; for "quantile", that of u = 0 plus a
        :class:`~sk_ncf._flow.separable_potential.SeparablePotential`.
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
    def fit_classes(
        cls,
        samples: Sequence[SidePair],
        cost: Cost,
        pooled: Mapping[int, MomentPair],
        kinds: Sequence[str | None] | None = None,
    ) -> list["Preconditioner"]:
        """The preconditioner of every class.

        Parameters
        ----------
        samples : sequence of pairs of Sample
            Source and target of every class.
        cost : Cost
        pooled : dict
            Moments of some classes, used instead of the moments of their samples.
        kinds : sequence of str or None, default=None
            The initial maps of the other classes.
        """
        cost = with_max_displacement(cost, [(x.X, y.X) for x, y in samples])
        careful, fitted = len(samples) > 1, []
        for k, pair in enumerate(samples):
            if k in pooled:
                fitted.append(cls.of_moments(cost, pooled[k]))
                continue
            kind = None if kinds is None else kinds[k]
            fitted.append(cls.of_samples(cost, pair, careful, kind))
        return fitted

    @classmethod
    def of_samples(
        cls, cost: Cost, samples: SidePair, careful: bool, kind: str | None
    ) -> "Preconditioner":
        """From two samples; the other parameters are those of :meth:`of_moments`."""
        source, target = samples
        moments = source.moments, target.moments
        sizes = source.effective_size, target.effective_size
        return cls.of_moments(cost, moments, sizes, careful, kind)

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        X_target: np.ndarray,
        cost: Cost,
        sample_weight: np.ndarray,
        target_weight: np.ndarray,
    ) -> "Preconditioner":
        """From rows (n, d) and (m, d) with weights (n,) and (m,)."""
        cost = with_max_displacement(cost, [(X, X_target)])
        moments = (
            weighted_moments(X, sample_weight),
            weighted_moments(X_target, target_weight),
        )
        sizes = effective_size(sample_weight), effective_size(target_weight)
        return cls.of_moments(cost, moments, sizes)

    @classmethod
    def of_moments(
        cls,
        cost: Cost,
        moments: MomentPair,
        sizes: tuple[float, float] = (MANY_ROWS, MANY_ROWS),
        careful: bool = False,
        kind: str | None = None,
    ) -> "Preconditioner":
        """From the moments of source and target.

        Parameters
        ----------
        cost : Cost
        moments : pair of (mean, covariance)
        sizes : pair of float
            Effective numbers of rows.
        careful : bool, default=False
            See :func:`~sk_ncf._flow.shrinkage.shrink_covariances`.
        kind : {"gaussian", "quantile", "mean_shift", "identity"}, default=None
            The initial map. None: "gaussian" for quadratic costs, else "mean_shift".
        """
        kind = kind or ("gaussian" if isinstance(cost, QUADRATIC) else "mean_shift")
        fitted = cls._of_moments(cost, _simplified(moments, kind), sizes, careful)
        return replace(fitted, kind=kind)

    @classmethod
    def _of_moments(
        cls,
        cost: Cost,
        moments: MomentPair,
        sizes: tuple[float, float],
        careful: bool,
    ) -> "Preconditioner":
        (mean_x, cov_x), (mean_y, cov_y) = moments
        if isinstance(cost, QUADRATIC):
            cov_x, cov_y = shrink_covariances(cov_x, cov_y, *sizes, careful)
            return cls._covariance(cost, mean_x, mean_y, cov_x, cov_y)
        return cls._isotropic(cost, mean_x, mean_y, cov_x, cov_y)

    @classmethod
    def _covariance(
        cls,
        cost: Cost,
        mean_x: np.ndarray,
        mean_y: np.ndarray,
        cov_x: np.ndarray,
        cov_y: np.ndarray,
    ) -> "Preconditioner":
        d = len(mean_x)
        root = eye = np.eye(d)
        if isinstance(cost, QuadraticForm):  # v'Av/2 = |A^1/2 v|^2 / 2
            root = geometric_mean(np.asarray(cost.matrix, dtype=np.float64), eye)
            cov_x = _transformed_covariance(root, cov_x)
            cov_y = _transformed_covariance(root, cov_y)
        p = geometric_mean(gaussian_map(cov_x, cov_y), eye)  # A^1/2
        inv_root, inv_p = _inverse(root), _inverse(p)
        spread = np.trace(p @ cov_x @ p) + np.trace(inv_p @ cov_y @ inv_p)
        scale = np.sqrt(spread / (2 * d)) or 1.0
        source = AffineMap(mean_x, root @ p / scale, scale * inv_p @ inv_root)
        target = AffineMap(mean_y, root @ inv_p / scale, scale * p @ inv_root)
        return cls.of_maps(source, target, scale**2, cost)

    @classmethod
    def _isotropic(
        cls,
        cost: Cost,
        mean_x: np.ndarray,
        mean_y: np.ndarray,
        cov_x: np.ndarray,
        cov_y: np.ndarray,
    ) -> "Preconditioner":
        d = len(mean_x)
        shift = torch.from_numpy(mean_y - mean_x)
        scale = np.sqrt((np.trace(cov_x) + np.trace(cov_y)) / (2 * d))
        # Single points have no spread: the scale is then the size of the shift.
        scale = float(scale or np.abs(shift.numpy()).max())
        scale = scale if scale > np.sqrt(LEAST_VARIANCE) else 1.0
        unit = cost_unit(cost, shift, scale)
        eye = np.eye(d)
        source, target = (
            AffineMap(mean, eye / scale, eye * scale) for mean in (mean_x, mean_y)
        )
        return cls.of_maps(source, target, unit, cost)

    @classmethod
    def of_maps(
        cls, source: AffineMap, target: AffineMap, unit: float, cost: Cost
    ) -> "Preconditioner":
        """From the changes of variables of both sides; the cost is transformed."""
        if isinstance(cost, QUADRATIC):
            return cls(source, target, SquaredEuclidean(), unit, cost)
        shift = torch.from_numpy(target.mean - source.mean)
        scale = float(source.inverse_matrix[0, 0])  # a multiple of the identity
        return cls(source, target, AffineCost(cost, shift, scale, unit), unit, cost)

    def initial_map(self, X: np.ndarray) -> np.ndarray:
        """X (n, d) under the map of u = 0."""
        return self.target.inverse(self.source.forward(X))

    def source_potential(self, X: np.ndarray, u: np.ndarray) -> np.ndarray:
        r"""u(x, 0) in the original variables, from its values in the new ones.

        With :math:`c(x, y) = \lambda c'(x', y') + \alpha(x) + \beta(y)`, the potentials
        :math:`u(x, 0) = \lambda u' - \alpha(x)` and
        :math:`u(y, 1) = \lambda u' + \beta(y)` still satisfy
        u(y, 1) <= u(x, 0) + c(x, y).
        """
        return self.unit * u - self.offsets(X, self.source, -1.0)

    def target_potential(self, X: np.ndarray, u: np.ndarray) -> np.ndarray:
        """u(y, 1) in the original variables (see :meth:`source_potential`)."""
        return self.unit * u + self.offsets(X, self.target, 1.0)

    def offsets(self, X: np.ndarray, side: AffineMap, sign: float) -> np.ndarray:
        r""":math:`\alpha(x)` (sign -1, source) or :math:`\beta(y)` (sign 1, target)."""
        centred = torch.from_numpy(np.asarray(X, dtype=np.float64) - side.mean)
        shift = torch.from_numpy(self.target.mean - self.source.mean)
        linear = centred @ self.original_cost.momentum(shift)
        value = self.original_cost.lagrangian(shift) if sign > 0 else torch.tensor(0.0)
        quadratic = torch.zeros_like(linear)
        if isinstance(self.cost, SquaredEuclidean):
            moved = torch.from_numpy(side.forward(X))
            quadratic = self.original_cost.lagrangian(centred)
            quadratic = quadratic - self.unit * self.cost.lagrangian(moved)
        offsets: np.ndarray = (quadratic + sign * linear + value).numpy()
        return offsets


def common_cost(
    preconditioners: Sequence[Preconditioner], ensemble_size: int = 1
) -> Cost:
    """The cost between rows in the new variables, for all classes at once.

    Parameters
    ----------
    preconditioners : sequence of Preconditioner
        One for every class.
    ensemble_size : int, default=1
        Number of potentials of every class.
    """
    costs = [p.cost for p in preconditioners for _ in range(ensemble_size)]
    if len(preconditioners) == 1 or isinstance(costs[0], SquaredEuclidean):
        return costs[0]
    return AffineCost.stack(costs)


def _simplified(moments: MomentPair, kind: str) -> MomentPair:
    """Moments whose Gaussian map is of a kind; of each column alone for "quantile"."""
    if kind == "gaussian":
        return moments
    (mean_x, cov_x), (mean_y, cov_y) = moments
    if kind == "quantile":
        return (mean_x, np.diag(np.diag(cov_x))), (mean_y, np.diag(np.diag(cov_y)))
    if kind == "identity":
        mean_x = mean_y = (mean_x + mean_y) / 2
    cov = (cov_x + cov_y) / 2
    return (mean_x, cov), (mean_y, cov)
