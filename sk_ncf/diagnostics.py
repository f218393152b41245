r"""Whether a fitted map is to be trusted, judged on rows that it was not fitted to.

The error of a map is mostly unknown, but some of it shows. Whatever the cost, mapped rows
and target rows differ by no more than the map errs,

.. math:: W_2^2(\hat T_\# \mu, \nu) \le E|\hat T(x) - T(x)|^2,

because :math:`(\hat T(x), T(x))` is one way to carry the one to the other. What this
leaves unseen is a shuffling of rows within the law, orthogonal to all that changes the
law (Helmholtz's decomposition), so that squares add up. A gradient map that can be
inverted shuffles nothing; where the potential folds, the way back does not lead home. So
the verdict is made from the sum of that distance and of the round trip.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import combine_pvalues, permutation_test

__all__ = ["Diagnostics", "Direction", "DistrustWarning", "diagnose"]

MOST = 1024  # rows of a side that are looked at, all classes together
FEWEST = 8  # rows of a side, below which nothing is said
FAIR, BAD = 5.0, 25.0  # percent of the variance
FAR = 0.2  # share of rows outside the support that is no accident
SURE = 0.05  # p-value below which two samples are told apart


class DistrustWarning(UserWarning):
    """The map is not to be trusted on the rows that were looked at."""


@dataclass(frozen=True)
class Direction:
    """What is found of one direction, the map or its inverse.

    Attributes
    ----------
    error : float
        Estimate of the part of the map's error that shows, in percent of the variance
        of the rows it should lead to (L2-UVP): their squared Wasserstein distance to
        the mapped rows, less what two samples of one law differ by, plus the round trip.
    energy_distance : float
        Squared energy distance of one half of the mapped rows to one half of the rows
        they should be distributed like.
    floor : float
        The same between the two halves of the latter.
    p_value : float
        Of the permutation test that both have the same law.
    round_trip : float
        Mean squared distance of a row to where the way there and back leads, in percent
        of its side's variance.
    residual : float
        Root mean square of the Hamilton-Jacobi residual, in the units of the cost.
    outside : float
        Share of the rows to be mapped that lie outside those of the fit; about 0.01 for
        rows of the same law.
    """

    error: float
    energy_distance: float
    floor: float
    p_value: float
    round_trip: float
    residual: float
    outside: float


@dataclass(frozen=True, repr=False)
class Diagnostics:
    """Whether a map is to be trusted, as :meth:`NCFTransport.diagnostics` finds it.

    Attributes
    ----------
    forward, inverse : Direction
        Of the map and of its inverse.
    transport_cost : float
        Mean cost of the moves of the map.
    dual_value : float
        The score on the same rows: a lower bound of the least cost, reached by the
        optimal potential.
    n_rows : int
        Rows of either side that were looked at.
    """

    forward: Direction
    inverse: Direction
    transport_cost: float
    dual_value: float
    n_rows: int

    @property
    def error(self):
        """The greater of the errors of both directions, in percent of the variance."""
        return max(self.forward.error, self.inverse.error)

    @property
    def gap(self):
        """Transport cost minus dual value: 0 for the optimal map but for sampling.

        Positive where rows are moved further than they need, negative where they stop
        short of the target.
        """
        return self.transport_cost - self.dual_value

    @property
    def told_apart(self):
        """Whether mapped rows differ from what they should be like beyond doubt."""
        return min(self.forward.p_value, self.inverse.p_value) < SURE

    @property
    def outside(self):
        """The greater share of rows outside those of the fit."""
        return max(self.forward.outside, self.inverse.outside)

    @property
    def trusted(self):
        """False where the error is large beyond doubt, or the rows are not the fit's."""
        return not (self._wrong() or self.outside > FAR)

    @property
    def verdict(self):
        """What all this means, in plain words."""
        error = f"about {self.error:.2g} % of the variance"
        far = (
            f"{self.outside:.0%} of these rows lie outside those of the fit, where the "
            "map is extrapolation"
        )
        if self._wrong():
            also = f"; {far}" if self.outside > FAR else ""
            return f"Do not trust the map: it errs by {error} or more{also}."
        if self.outside > FAR:
            return f"Do not trust the map: {far}."
        if self.error > FAIR and not self.told_apart:
            return (
                f"Too few rows to tell: the error looks like {error}, but mapped rows "
                "and those they should be like are not told apart."
            )
        if self.error > FAIR:
            return f"Use the map with care: it errs by {error} or more."
        if self.told_apart:
            return f"The map can be trusted: it errs by {error}."
        return (
            "The map can be trusted: mapped rows are not told apart from those they "
            f"should be like, and the error looks like {error}."
        )

    def _wrong(self):
        returns = max(self.forward.round_trip, self.inverse.round_trip)
        return returns > BAD or (self.error > BAD and self.told_apart)

    def __repr__(self):
        lines = [
            f"Diagnostics on {self.n_rows} rows of either side",
            f"{'':<42}{'forward':>12}{'inverse':>12}",
        ]
        for field in fields(Direction):
            values = (getattr(d, field.name) for d in (self.forward, self.inverse))
            numbers = "".join(f"{value:>12.3g}" for value in values)
            lines.append(f"{_SAID[field.name]:<42}{numbers}")
        lines.append(
            f"transport cost {self.transport_cost:.4g}, dual value "
            f"{self.dual_value:.4g}, gap {self.gap:.2g}"
        )
        return "\n".join([*lines, self.verdict])


_SAID = {
    "error": "error that shows, % of variance",
    "energy_distance": "squared energy distance",
    "floor": "  of two samples of one law",
    "p_value": "  p-value of one law",
    "round_trip": "round trip, % of variance",
    "residual": "Hamilton-Jacobi residual, units of cost",
    "outside": "share of rows outside those of the fit",
}


class Side(NamedTuple):
    """Rows of one side, the classes of the rows and their weights, None or not."""

    X: np.ndarray  # (n, d)
    codes: np.ndarray | None  # (n,)
    weight: np.ndarray | None  # (n,)


def diagnose(fitted, source, target, supports, rng, n_permutations=199):
    """Diagnostics of a map, the mean over the classes of the source rows.

    Parameters
    ----------
    fitted : TransportMap
    source, target : Side
        Rows that were not in the fit.
    supports : list of pairs of Support
        Of every class.
    rng : RandomState
    n_permutations : int, default=199

    Returns
    -------
    Diagnostics
    """
    classes = [None] if source.codes is None else np.unique(source.codes)
    found, shares = [], []
    for k in classes:
        sides = [_of_class(side, k) for side in (source, target)]
        rows = _equally_many(sides, MOST // len(classes), rng)
        if rows is None:
            continue
        reach = supports if k is None else [supports[k]]
        found.append(_Class(fitted, *rows, k, reach).diagnostics(rng, n_permutations))
        shares.append(len(sides[0].X))
    if not found:
        raise ValueError(
            f"X and X_target must have {FEWEST} rows or more each, of one class at "
            f"least, got {len(source.X)} and {len(target.X)} in all."
        )
    return found[0] if len(found) == 1 else _mean(found, np.divide(shares, sum(shares)))


def _of_class(side, k):
    if k is None:
        return side
    mask = side.codes == k
    return Side(*(None if part is None else part[mask] for part in side))


def _equally_many(sides, at_most, rng):
    """As many rows of either side, an even number, in random order; None if too few.

    Rows of unequal weight are thinned out, each kept in proportion to its weight, and
    none is drawn twice: what is left is a sample of independent rows of the weighted
    law, which a permutation test needs.
    """
    kept = []
    for X, _, weight in sides:
        if weight is not None:
            X = X[rng.uniform(size=len(X)) * weight.max() < weight]
        kept.append(X)
    n = min(*map(len, kept), max(at_most, 64)) // 2 * 2
    if n < FEWEST:
        return None
    return [X[rng.permutation(len(X))[:n]].astype(np.float64) for X in kept]


class _Class:
    """The rows of one class, mapped there and back."""

    def __init__(self, fitted, X, Y, k, supports):
        self.fitted, self.k, self.X, self.Y = fitted, k, X, Y
        self.supports = supports
        self.codes = None if k is None else np.full(len(X), k)
        self.mapped = fitted.forward(X, self.codes)
        self.back = fitted.inverse(Y, self.codes)

    def diagnostics(self, rng, n_permutations):
        fitted, X, Y = self.fitted, self.X, self.Y
        returned = fitted.inverse(self.mapped, self.codes)
        there = fitted.forward(self.back, self.codes)
        forward, inverse = (
            _direction(*rows, outside, residual, rng, n_permutations)
            for rows, outside, residual in (
                ((X, self.mapped, Y, returned), self._outside(0), self._residual(0)),
                ((Y, self.back, X, there), self._outside(1), self._residual(1)),
            )
        )
        paid = float(fitted.cost(X, self.mapped).mean())
        dual = fitted.held_out_dual(X, Y, 0 if self.k is None else self.k)
        return Diagnostics(forward, inverse, paid, dual, len(X))

    def _residual(self, side):
        """u(T(x), 1) - c(x, T(x)) - u(x, 0), of X or along the lines that end in Y."""
        x, y = ((self.X, self.mapped), (self.back, self.Y))[side]
        end = self.fitted.target_potential(y, self.codes)
        start = self.fitted.source_potential(x, self.codes)
        residual = end - self.fitted.cost(x, y) - start
        return float(np.sqrt(np.square(residual).mean()))

    def _outside(self, side):
        frame = self.fitted.preconditioners[self.k or 0]
        X, frame = ((self.X, frame.source), (self.Y, frame.target))[side]
        masks = [
            s[side].outside(X, frame) for s in self.supports if s[side] is not None
        ]
        return float(np.all(masks, axis=0).mean()) if masks else 0.0


def _direction(rows, mapped, wanted, returned, outside, residual, rng, n_permutations):
    """One direction, from rows (n, d), where they are mapped and where they should be."""
    pooled = np.concatenate([mapped, wanted])
    distance = cdist(pooled, pooled)
    parts = np.split(np.arange(len(pooled)), 4)  # two halves of either
    moved = _excess(lambda i, j: _least_moves(distance[np.ix_(i, j)]), parts)
    round_trip = np.square(returned - rows).sum(axis=1).mean() / _variance(rows)
    halves = (parts[0], parts[2]), (parts[1], parts[3])
    energy = np.mean([_energy(distance, *pair) for pair in halves])
    return Direction(
        error=float(100 * (max(0.0, moved / _variance(wanted)) + round_trip)),
        energy_distance=float(energy),
        floor=_energy(distance, *parts[2:]),
        p_value=_p_value(distance, rng, n_permutations),
        round_trip=float(100 * round_trip),
        residual=residual,
        outside=outside,
    )


def _excess(discrepancy, parts):
    r"""A squared distance of two laws from two samples a of one and two b of the other.

    .. math:: \tfrac14 \sum_{i, j} D(a_i, b_j) - \tfrac12 D(a_1, a_2) - \tfrac12 D(b_1, b_2)

    What samples of one law differ by, which in many dimensions is most of D, is taken
    off on both sides, as in the Sinkhorn divergence (Genevay, Peyre and Cuturi, 2018).
    """
    a1, a2, b1, b2 = parts
    across = np.mean([discrepancy(a, b) for a in (a1, a2) for b in (b1, b2)])
    return across - (discrepancy(a1, a2) + discrepancy(b1, b2)) / 2


def _least_moves(distance):
    """Squared Wasserstein distance of two samples of equal size, from their distances."""
    square = np.square(distance)
    return square[linear_sum_assignment(square)].mean()


def _energy(distance, i, j):
    r"""Squared energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|`."""
    across = distance[np.ix_(i, j)].mean()
    within = distance[np.ix_(i, i)].mean() + distance[np.ix_(j, j)].mean()
    return float(2 * across - within)


def _p_value(distance, rng, n_permutations):
    """Of the permutation test with the energy distance (Szekely and Rizzo, 2004)."""
    n = len(distance) // 2

    def statistic(i, j, axis):
        sign = np.full((*np.shape(i)[:-1], 2 * n), -1 / n)
        np.put_along_axis(sign, i, 1 / n, axis=-1)
        return -((sign @ distance) * sign).sum(axis=-1)

    return float(
        permutation_test(
            (np.arange(n), np.arange(n, 2 * n)),
            statistic,
            vectorized=True,
            n_resamples=n_permutations,
            alternative="greater",
            rng=np.random.default_rng(rng.randint(2**31)),
        ).pvalue
    )


def _variance(rows):
    """Total variance; the least number where all rows are equal."""
    return rows.var(axis=0).sum() or np.finfo(float).tiny


def _mean(found, shares):
    """The mean over classes; of p-values Fisher's combination."""
    sides = []
    for side in ("forward", "inverse"):
        of_classes = [getattr(d, side) for d in found]
        values = {
            field.name: float(
                np.dot(shares, [getattr(d, field.name) for d in of_classes])
            )
            for field in fields(Direction)
        }
        p_values = [d.p_value for d in of_classes]
        values["p_value"] = float(combine_pvalues(p_values).pvalue)
        sides.append(Direction(**values))
    costs = (
        float(np.dot(shares, [getattr(d, name) for d in found]))
        for name in ("transport_cost", "dual_value")
    )
    return Diagnostics(*sides, *costs, sum(d.n_rows for d in found))
