r"""Potentials that are sums over the columns, whose maps are monotone in every column.

For the squared Euclidean cost, the map that is optimal column by column sends the
quantiles of a column of the source to the same quantiles of the target (Santambrogio,
Optimal transport for applied mathematicians, 2015, section 2.1). It is the optimal map
in d dimensions if both samples have the same copula, such as independent columns.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from sk_ncf._flow.potential import BasePotential

__all__ = ["Knots", "PotentialSum", "SeparablePotential", "fit_knots"]

MAX_KNOTS = 64  # of a column; a power of two
ROWS_PER_KNOT = 2
LEAST_SLOPE = 1e-3  # of the monotone maps in both directions, where values repeat
LEAST_STEP = 4e-6  # between knots, in ranges of the knots


class Knots(NamedTuple):
    """Monotone maps of d columns: row j of x goes to row j of y, linear between."""

    x: np.ndarray  # (d, J), strictly increasing along the rows
    y: np.ndarray  # (d, J), strictly increasing along the rows


def fit_knots(
    X: np.ndarray,
    X_target: np.ndarray,
    sample_weight: np.ndarray,
    target_weight: np.ndarray,
    n_rows: float,
) -> Knots:
    """The monotone maps between the columns of two samples.

    A knot is the mean of the values between two levels of the cumulative distribution;
    the first and the last knot are the smallest and the largest value.

    Parameters
    ----------
    X, X_target : ndarray of shape (n, d) and (m, d)
    sample_weight, target_weight : ndarray of shape (n,) and (m,)
        Weights that sum to one.
    n_rows : float
        Effective number of rows of the smaller side; there is a knot for every two.
    """
    n_knots = 2
    while 2 * n_knots <= min(MAX_KNOTS, n_rows / ROWS_PER_KNOT):
        n_knots *= 2
    levels = np.linspace(0, 1, n_knots - 1)
    pairs = []
    for x, y in zip(X.T, X_target.T, strict=True):
        means = (
            _quantiles(x, sample_weight, levels),
            _quantiles(y, target_weight, levels),
        )
        pairs.append(_strictly_increasing(*means))
    x_knots, y_knots = zip(*pairs, strict=True)
    return Knots(np.stack(x_knots), np.stack(y_knots))


def _quantiles(
    values: np.ndarray, weight: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Extremes, and means of the quantile function between levels, shape (J,)."""
    order = np.argsort(values, kind="stable")
    cumulative = np.append(0, np.cumsum(weight[order]))
    integral = np.append(0, np.cumsum(weight[order] * values[order]))
    edges = np.interp(levels * cumulative[-1], cumulative, integral)
    means = np.diff(edges) / (np.diff(levels) * cumulative[-1])
    found = np.concatenate([[values.min()], means, [values.max()]])
    return np.asarray(np.maximum.accumulate(found))


def _strictly_increasing(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots whose slopes are bounded in both directions.

    A value that many rows share is sent to the mean of its image: around it, the map is
    steep, and the inverse map flat.
    """
    return _spread(x, y), _spread(y, x)


def _spread(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The values, with equal ones spread as `others` are, a thousandth as widely."""
    step = np.diff(values)
    tolerance = 1e-6 * max(np.ptp(values), np.ptp(others), 1e-300)
    run = np.append(0, np.cumsum(step > tolerance))
    size = np.bincount(run)
    centre = (np.bincount(run, others) / size)[run]
    unit = np.ptp(others) or 1.0
    gap = step[step > tolerance].min() if (step > tolerance).any() else unit
    equal = (np.bincount(run, values) / size)[run]
    spread = equal + min(LEAST_SLOPE, gap / unit / 4) * (others - centre)
    # Distinct in float32 too.
    least = LEAST_STEP * max(np.ptp(values), unit) * np.arange(len(values))
    return np.asarray(np.maximum.accumulate(spread - least) + least)


class SeparablePotential(BasePotential):
    r"""u(x, t) = sum over i of u_i(x_i, t), the exact solutions between monotone maps.

    The characteristic through knot x_j of a column ends in knot y_j. At time t the knots
    are :math:`(1 - t) x_j + t y_j`, where the momentum is :math:`y_j - x_j`. Between
    them the momentum is linear, outside of them constant.

    Parameters
    ----------
    x, y : Tensor of shape [K, d, J]
        Knots at both ends, strictly increasing along the last axis. J is a power of two.
    """

    exact_inverse = True

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.n_potentials = len(x)
        p = y - x
        areas = (p[..., 1:] + p[..., :-1]) / 2 * x.diff()
        u = torch.cat([torch.zeros_like(x[..., :1]), areas.cumsum(-1)], -1)
        for name, table in (("x", x), ("y", y), ("u", u)):
            self.register_buffer(name, table)

    x: Tensor
    y: Tensor
    u: Tensor

    @classmethod
    def of_knots(
        cls, knots: Sequence[Knots | None], n_features: int
    ) -> "SeparablePotential":
        """The potentials between some knots; u = 0 for None."""
        size = max([2, *(k.x.shape[1] for k in knots if k is not None)])
        same = np.tile(np.arange(size, dtype=float), (n_features, 1))
        parts = [Knots(same, same) if k is None else _padded(k, size) for k in knots]
        x, y = (torch.from_numpy(np.stack(side)) for side in zip(*parts, strict=True))
        return cls(x, y)

    def select(self, which: slice) -> Self:
        """Some of the potentials."""
        return type(self)(self.x[which], self.y[which])

    def repeated(self, times: int) -> Self:
        """The same number of copies of every potential, next to each other."""
        x, y = (side.repeat_interleave(times, 0) for side in (self.x, self.y))
        return type(self)(x, y)

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(x, t), shape [K, n], and its gradient, shape [K, n, d]."""
        n_knots = self.x.shape[-1]
        t = t.to(x).expand(x.shape[:-1]).unsqueeze(-1)
        column = torch.arange(self.x[..., 0].numel(), device=x.device) * n_knots
        first = column.view(len(self.x), 1, -1)  # knot 0 of the columns in the tables
        tables = self.x.flatten(), self.y.flatten(), self.u.flatten()

        def knot(index: Tensor) -> tuple[Tensor, Tensor]:
            """Knots at time t, and their momenta."""
            start, end = tables[0][index], tables[1][index]
            return torch.lerp(start, end, t), end - start

        with torch.no_grad():
            index, step = first.expand(x.shape).clone(), n_knots // 2
            while step:
                further = index + step
                index = torch.where(knot(further)[0] <= x, further, index)
                step //= 2
            index = torch.minimum(index, first + n_knots - 2)
        left, p_left = knot(index)
        right, p_right = knot(index + 1)
        slope = (p_right - p_left) / (right - left)
        inside = x.clamp(left, right)
        p = p_left + slope * (inside - left)
        u = tables[2][index] + t * p_left.square() / 2
        u = u + (p_left + p) / 2 * (inside - left) + p * (x - inside)
        return u.sum(-1), p


def _padded(knots: Knots, size: int) -> Knots:
    """The same maps with more knots: continued with slope 1."""
    more = size - knots.x.shape[1]
    unit = np.maximum(np.ptp(knots.x, axis=1), 1.0)[:, None]
    beyond = unit * np.arange(1, more + 1)
    x, y = (np.hstack([side, side[:, -1:] + beyond]) for side in knots)
    return Knots(x, y)


class PotentialSum(BasePotential):
    """A network plus a separable potential, which is not trained.

    Parameters
    ----------
    network : Potential or ModulePotential
    separable : SeparablePotential
    """

    def __init__(self, network: BasePotential, separable: SeparablePotential) -> None:
        super().__init__()
        self.network, self.separable = network, separable
        self.n_potentials = network.n_potentials

    def reset(self) -> None:
        """Set the network to 0 everywhere."""
        self.network.reset()

    def multiply_by(self, factor: Tensor) -> None:
        """Multiply the networks by factors, of shape [K]."""
        self.network.multiply_by(factor)

    def select(self, which: slice) -> Self:
        """Some of the potentials."""
        return type(self)(self.network.select(which), self.separable.select(which))

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """u(x, t), shape [K, n], and its gradient, shape [K, n, d]."""
        u, p = self.network.value_and_gradient(x, t)
        u_fixed, p_fixed = self.separable.value_and_gradient(x, t)
        return u + u_fixed, p + p_fixed
