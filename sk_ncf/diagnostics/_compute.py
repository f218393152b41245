r"""Whether a fitted map is to be trusted, judged on rows that it was not fitted to.

The error of a map is mostly unknown, but some of it shows. Whatever the cost, mapped rows
and target rows differ by no more than the map errs,

.. math:: W_2^2(\hat T_\# \mu, \nu) \le E|\hat T(x) - T(x)|^2,

because :math:`(\hat T(x), T(x))` is one way to carry the one to the other. What this
leaves unseen is, to the first order, a shuffling of rows within the law, orthogonal to all
that changes the law (Helmholtz's decomposition), so that squares add up. The gradient of a
convex potential shuffles nothing (Brenier's theorem); where the potential folds, the way
back does not lead home. So the verdict is made from the sum of that distance and of the
round trip.
"""

from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import combine_pvalues

from sk_ncf._samples.sample import random_rows
from sk_ncf.diagnostics._report import Diagnostics, DirectionDiagnostics
from sk_ncf.diagnostics._two_sample import (
    energy_distance,
    excess,
    least_moves,
    p_value_of_one_law,
)

__all__ = ["Side", "diagnose"]

MOST = 1024  # rows of a side that are looked at, all classes together
MANY = 0.05  # share of rows far outside those of the fit, that is no accident
FEWEST = 8  # rows of a side, below which nothing is said


class Side(NamedTuple):
    """Rows of one side, the classes of the rows and their weights, None or not."""

    X: np.ndarray  # (n, d)
    codes: np.ndarray | None  # (n,)
    weight: np.ndarray | None  # (n,)


def diagnose(fitted, source, target, supports, rng, n_permutations=199):
    """Diagnostics of a map, the mean over the classes of the source rows.

    Classes with fewer than 8 rows on a side are left out.

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
    found, shares, n_outliers = [], [], np.zeros(2, dtype=int)
    for k in classes:
        frame = fitted.preconditioners[k or 0]
        sides = [_of_class(side, k) for side in (source, target)]
        pairs = zip(sides, (frame.source, frame.target), strict=True)
        sides, counts = zip(*(_without_outliers(*pair) for pair in pairs), strict=True)
        n_outliers += counts
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
    one = found[0]
    if len(found) > 1:
        one = _mean(found, np.divide(shares, sum(shares)))
    return replace(one, n_outliers=tuple(n_outliers.tolist()))


def _without_outliers(side, frame):
    """The rows that are not far outside those of the fit, and how many are.

    Where these are many, they are no accident, and stay.
    """
    if not len(side.X):
        return side, 0
    far = frame.is_far(side.X)
    if not far.any() or far.mean() > MANY:
        return side, int(far.sum())
    kept = Side(*(None if part is None else part[~far] for part in side))
    return kept, int(far.sum())


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
    return [X[random_rows(len(X), n, rng)].astype(np.float64) for X in kept]


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
            _direction(*rows, share, residual, rng, n_permutations)
            for rows, share, residual in (
                (
                    (X, self.mapped, Y, returned),
                    self._out_of_support(0),
                    self._residual(0),
                ),
                ((Y, self.back, X, there), self._out_of_support(1), self._residual(1)),
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

    def _out_of_support(self, side):
        frame = self.fitted.preconditioners[self.k or 0]
        X, frame = ((self.X, frame.source), (self.Y, frame.target))[side]
        masks = [
            s[side].out_of_support(X, frame)
            for s in self.supports
            if s[side] is not None
        ]
        return float(np.all(masks, axis=0).mean()) if masks else 0.0


def _direction(
    rows, mapped, wanted, returned, out_of_support, residual, rng, n_permutations
):
    """One direction, from rows (n, d), where they are mapped and where they should be."""
    pooled = np.concatenate([mapped, wanted])
    distance = cdist(pooled, pooled)
    parts = np.split(np.arange(len(pooled)), 4)  # two halves of either
    moved = excess(lambda i, j: least_moves(distance[np.ix_(i, j)]), parts)
    cycle_error = np.square(returned - rows).sum(axis=1).mean() / _variance(rows)
    halves = (parts[0], parts[2]), (parts[1], parts[3])
    energy = np.mean([energy_distance(distance, *pair) for pair in halves])
    return DirectionDiagnostics(
        error=float(100 * (max(0.0, moved / _variance(wanted)) + cycle_error)),
        energy_distance=float(energy),
        noise_floor=energy_distance(distance, *parts[2:]),
        p_value=p_value_of_one_law(distance, rng, n_permutations),
        cycle_error=float(100 * cycle_error),
        residual=residual,
        out_of_support=out_of_support,
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
            for field in fields(DirectionDiagnostics)
        }
        p_values = [d.p_value for d in of_classes]
        values["p_value"] = float(combine_pvalues(p_values).pvalue)
        sides.append(DirectionDiagnostics(**values))
    costs = (
        float(np.dot(shares, [getattr(d, name) for d in found]))
        for name in ("transport_cost", "score")
    )
    return Diagnostics(*sides, *costs, sum(d.n_rows for d in found))
