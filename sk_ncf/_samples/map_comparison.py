"""Comparison of two maps of the same rows by the criteria that select trained weights.

They are the semi-dual risk, with winsorised differences so that no single row decides,
and the energy distance of mapped rows in both directions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.moments import Moments, effective_size, weighted_moments
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._flow.separable_potential import Knots, SeparablePotential, fit_knots
from sk_ncf._samples.outliers import weighted_quantile
from sk_ncf._samples.paired_comparison import (
    energy_contributions,
    mean_difference,
    winsorised,
)

__all__ = [
    "Criteria",
    "FeatureUnits",
    "Images",
    "WeightedArray",
    "criteria",
    "criteria_of_initial_map",
    "is_better",
    "is_worse",
    "quantile_knots",
]

N_ERRORS_ENERGY = 2.0  # of the energy distance, from which it matters
N_ERRORS_RISK = 1.0  # by which the risk may then be higher
QUARTILES = (0.25, 0.5, 0.75)
IQR_OF_NORMAL = 1.349
BOUND = 4.0  # of robust units

WeightedArray = tuple[np.ndarray, np.ndarray]  # rows (n, d), weights (n,)
Pair = tuple[np.ndarray, np.ndarray]  # of source rows (n,), of target rows (m,)


class Criteria(NamedTuple):
    """Contributions of the rows to both criteria, and their weights."""

    risk: Pair
    energy: Pair
    weight: Pair

    @classmethod
    def joined(cls, parts: Sequence["Criteria"]) -> "Criteria":
        """The criteria on the rows of all parts."""
        sides = [
            [np.concatenate(values) for values in zip(*pairs, strict=True)]
            for pairs in zip(*parts, strict=True)
        ]
        return cls(*((x, y) for x, y in sides))


class FeatureUnits(NamedTuple):
    """Units of the features in the energy distance.

    Attributes
    ----------
    centre, scale : ndarray of shape (d,)
    bound : float or ndarray of shape (d,), default=inf
        A value z in these units becomes :math:`B \\arctan(z / B)`, with the bound B.
    """

    centre: np.ndarray
    scale: np.ndarray
    bound: float | np.ndarray = np.inf

    @classmethod
    def standard(cls, *moments: Moments) -> "FeatureUnits":
        """Mean, and standard deviation within samples of the same total weight."""
        means, covs = zip(*moments, strict=True)
        std = np.sqrt(np.mean([np.diag(cov) for cov in covs], axis=0))
        std = np.where(std > 0, std, std.max() or 1.0)
        return cls(np.mean(means, axis=0), std)

    @classmethod
    def robust(cls, *samples: WeightedArray) -> "FeatureUnits":
        """Median, and interquartile range over that of a standard normal variable.

        If half of the values are equal, they are the mean and the standard deviation. The
        bound is four such ranges of all samples together: the largest part of a normal
        distribution hardly changes, and in a column with heavy tails the values in the
        middle still count.
        """
        centre, std, _ = cls.standard(*(weighted_moments(*s) for s in samples))
        X = np.concatenate([rows for rows, _ in samples])
        weight = np.concatenate([w / w.sum() for _, w in samples])
        low, middle, high = _quartiles((X, weight))
        within = np.mean(
            [np.ptp(_quartiles(s)[[0, 2]], axis=0) for s in samples], axis=0
        )
        spread = (within > 0) & (high > low)
        scale = np.where(spread, within / IQR_OF_NORMAL, std)
        total = np.where(spread, (high - low) / IQR_OF_NORMAL, std)
        bound = BOUND * np.maximum(total / scale, 1.0)
        return cls(np.where(spread, middle, centre), scale, bound)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, d) in these units."""
        z: np.ndarray = (rows - self.centre) / self.scale
        if np.isinf(self.bound).all():
            return z
        return np.asarray(self.bound * np.arctan(z / self.bound))


def _quartiles(sample: WeightedArray) -> np.ndarray:
    """Lower quartile, median and upper quartile of every feature, shape (3, d)."""
    X, weight = sample
    return np.transpose([weighted_quantile(x, weight, QUARTILES) for x in X.T])


class Images(NamedTuple):
    """Two samples under a map and its inverse, and the potential there."""

    head: np.ndarray  # (n, d)
    foot: np.ndarray  # (m, d)
    source_potential: np.ndarray  # u(x, 0), (n,)
    target_potential: np.ndarray  # min of u(x, 0) + c(x, y) over x, (m,)


def criteria(
    images: Images, source: WeightedArray, target: WeightedArray, units: FeatureUnits
) -> Criteria:
    """The criteria of a map.

    Parameters
    ----------
    images : Images
        Of the rows of both samples.
    source, target : pair of rows (n, d) and weights (n,)
    units : FeatureUnits
        Of the features in the energy distance.
    """
    (X, weight_x), (Y, weight_y) = source, target
    head, foot, x, y = _tensors(*(units(Z) for Z in (images.head, images.foot, X, Y)))
    w_x, w_y = _tensors(weight_x / weight_x.sum(), weight_y / weight_y.sum())
    of_x, of_y = energy_contributions((head, foot), (x, y), (w_x, w_y))
    risk = images.source_potential, -images.target_potential
    return Criteria(risk, (of_x[0].numpy(), of_y[0].numpy()), (weight_x, weight_y))


def criteria_of_initial_map(
    frame: Preconditioner,
    knots: Knots | None,
    source: WeightedArray,
    target: WeightedArray,
    units: FeatureUnits,
) -> Criteria:
    """The criteria of an initial map, whose potential is exact at both ends.

    Parameters
    ----------
    frame : Preconditioner
    knots : Knots or None
        Of the quantile mapping, in the new variables. None: u = 0.
    source, target : pair of rows (n, d) and weights (n,)
    units : FeatureUnits
        As in :func:`criteria`.
    """
    X, Y = source[0], target[0]
    x, y = frame.source.forward(X), frame.target.forward(Y)
    u_x, v_x = _value_and_velocity(knots, x, 0.0)
    u_y, v_y = _value_and_velocity(knots, y, 1.0)
    images = Images(
        frame.target.inverse(x + v_x),
        frame.source.inverse(y - v_y),
        frame.source_potential(X, u_x),
        frame.target_potential(Y, u_y),
    )
    return criteria(images, source, target, units)


def _value_and_velocity(
    knots: Knots | None, rows: np.ndarray, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """u (n,) and its gradient (n, d) at time t; 0 without knots."""
    if knots is None:
        return np.zeros(len(rows)), np.zeros_like(rows)
    potential = SeparablePotential.of_knots([knots], rows.shape[1])
    u, p = potential.value_and_gradient(torch.from_numpy(rows)[None], torch.tensor(t))
    return u[0].numpy(), p[0].numpy()


def quantile_knots(
    sides: tuple[AffineMap, AffineMap], source: WeightedArray, target: WeightedArray
) -> Knots:
    """The quantile mapping of each column between two samples, in new variables."""
    (X, weight_x), (Y, weight_y) = source, target
    n_rows = min(effective_size(weight_x), effective_size(weight_y))
    x, y = sides[0].forward(X), sides[1].forward(Y)
    return fit_knots(x, y, weight_x, weight_y, n_rows)


def is_better(candidate: Criteria, other: Criteria, n_errors: float) -> bool:
    """Whether the risk of a candidate is lower, by some standard errors.

    If the energy distance is lower by two of its own, it is enough that the risk is not
    higher by one: where columns have heavy tails, the risk tells little. If the energy
    distance is higher by two, the risk must be lower by two.

    Parameters
    ----------
    candidate, other : Criteria
    n_errors : float
        Standard errors of the risk if the energy distance differs by less.
    """
    (energy, energy_error), (gain, error) = _gains(candidate, other)
    if energy > N_ERRORS_ENERGY * energy_error:
        n_errors = -N_ERRORS_RISK
    if energy < -N_ERRORS_ENERGY * energy_error:
        n_errors = N_ERRORS_ENERGY
    return gain > n_errors * error


def is_worse(candidate: Criteria, other: Criteria, n_errors: float) -> bool:
    """Whether a candidate is worse by either criterion, by some standard errors."""
    return any(gain < -n_errors * error for gain, error in _gains(candidate, other))


def _gains(candidate: Criteria, other: Criteria) -> list[tuple[float, float]]:
    """The decrease of energy distance and risk, and the standard errors."""
    weight_x, weight_y = candidate.weight
    weight = weight_x / weight_x.sum(), weight_y / weight_y.sum()
    return [
        _gain(other.energy, candidate.energy, weight),
        _gain(other.risk, candidate.risk, weight, winsorise=True),
    ]


def _gain(
    values: Pair, others: Pair, weights: Pair, winsorise: bool = False
) -> tuple[float, float]:
    """The decrease from `values` to `others`, and its standard error."""
    weight_x, weight_y = _tensors(*weights)
    x, y = _tensors(values[0] - others[0], others[1] - values[1])
    if winsorise:
        x, y = winsorised(x, y, weight_x, weight_y)
    difference, variance = mean_difference(x, y, weight_x, weight_y)
    return difference.item(), variance.sqrt().item()


def _tensors(*arrays: np.ndarray) -> list[Tensor]:
    """The arrays with a leading axis of one potential."""
    return [torch.from_numpy(array[None]) for array in arrays]
