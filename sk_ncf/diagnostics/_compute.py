r"""Diagnostics of a fitted map on rows that were not in the fit.

The error of a map is unknown, but it can be estimated from below. For every cost, the
distance between mapped rows and target rows is at most the error,

.. math:: W_2^2(\hat T_\# \mu, \nu) \le E|\hat T(x) - T(x)|^2,

because :math:`(\hat T(x), T(x))` is one coupling of the two distributions.

A map can match the target distribution and still pair rows wrongly. Such an error is, to
the first order, orthogonal to all errors that change the distribution (Helmholtz's
decomposition), so that their squares add up. It does not occur for the gradient of a
convex potential (Brenier's theorem). If the potential is not convex, the map is not
invertible, which the cycle-consistency error detects. The estimated error is the sum of
the distance and of the cycle-consistency error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Protocol

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import combine_pvalues

from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.atoms import REPORTED_SHARE, weight_to_split
from sk_ncf._samples.sample import unique_rows
from sk_ncf.diagnostics._evaluation_sample import (
    MAX_ROWS,
    MIN_ROWS,
    EvaluationSample,
    equally_many,
    without_outliers,
)
from sk_ncf.diagnostics._report import Diagnostics, DirectionDiagnostics
from sk_ncf.diagnostics._support import LEVEL, ChangeOfVariables, Support
from sk_ncf.diagnostics._two_sample import (
    debiased_distance,
    energy_distance,
    permutation_p_value,
    squared_wasserstein,
)

__all__ = ["diagnose"]

ROUNDING = 1e-4  # in units of the standard deviation of the rows

SupportPair = tuple[Support | None, Support | None]  # source, target


class FittedMap(Protocol):
    """The parts of :class:`~sk_ncf._flow.transport_map.TransportMap` used here."""

    @property
    def preconditioners(self) -> Sequence[Preconditioner]:
        """Changes of variables of every class."""
        ...

    def forward(self, X: np.ndarray, codes: np.ndarray | None, /) -> np.ndarray:
        """T(x)."""
        ...

    def inverse(self, X: np.ndarray, codes: np.ndarray | None, /) -> np.ndarray:
        """T^-1(y)."""
        ...

    def source_potential(
        self, X: np.ndarray, codes: np.ndarray | None, /
    ) -> np.ndarray:
        """u(x, 0)."""
        ...

    def target_potential(
        self, X: np.ndarray, codes: np.ndarray | None, /
    ) -> np.ndarray:
        """u(y, 1)."""
        ...

    def cost(self, X: np.ndarray, Y: np.ndarray, /) -> np.ndarray:
        """c(x, y), row by row."""
        ...

    def held_out_dual(self, X: np.ndarray, Y: np.ndarray, k: int, /) -> float:
        """The semi-dual value of class k."""
        ...


def diagnose(
    fitted: FittedMap,
    source: EvaluationSample,
    target: EvaluationSample,
    supports: Sequence[SupportPair],
    rng: np.random.RandomState,
    n_permutations: int = 199,
    fit_weight_to_split: float = 0.0,
) -> Diagnostics:
    """Diagnostics of a map, as the mean over the classes of the source rows.

    Classes with fewer than 8 source or target rows are left out.

    Parameters
    ----------
    fitted : TransportMap
    source, target : EvaluationSample
        Rows that were not in the fit.
    supports : list of pairs of Support
        Of source and target rows of every class.
    rng : RandomState
    n_permutations : int, default=199
    fit_weight_to_split : float, default=0.0
        Share of the source's weight that would have to be split, found by the fit, which
        had more rows.

    Returns
    -------
    Diagnostics
    """
    classes = [None] if source.codes is None else np.unique(source.codes).tolist()
    found, n_rows, n_outliers = [], [], np.zeros(2, dtype=int)
    for k in classes:
        frame = fitted.preconditioners[k or 0]
        x, n_x = without_outliers(source.of_class(k), frame.source)
        y, n_y = without_outliers(target.of_class(k), frame.target)
        samples = x, y
        n_outliers += n_x, n_y
        rows = equally_many(samples, MAX_ROWS // len(classes), rng)
        if rows is None:
            continue
        of_class = supports if k is None else [supports[k]]
        evaluation = _Evaluation.of(fitted, *rows, k, of_class, fit_weight_to_split)
        found.append(evaluation.diagnostics(rng, n_permutations))
        n_rows.append(len(samples[0].X))
    if not found:
        raise ValueError(
            f"X and X_target must have {MIN_ROWS} rows or more each, of at least one "
            f"class, got {len(source.X)} and {len(target.X)} in all."
        )
    one = found[0]
    if len(found) > 1:
        one = _mean(found, np.divide(n_rows, sum(n_rows)))
    return replace(one, n_outliers=(int(n_outliers[0]), int(n_outliers[1])))


@dataclass
class _Evaluation:
    """Source and target rows of one class, and their images."""

    fitted: FittedMap
    X: np.ndarray  # (n, d)
    Y: np.ndarray  # (n, d)
    k: int | None
    supports: Sequence[SupportPair]
    codes: np.ndarray | None
    mapped: np.ndarray  # T(x)
    back: np.ndarray  # T^-1(y)
    fit_weight_to_split: float  # of source rows, found by the fit

    @classmethod
    def of(
        cls,
        fitted: FittedMap,
        X: np.ndarray,
        Y: np.ndarray,
        k: int | None,
        supports: Sequence[SupportPair],
        fit_weight_to_split: float,
    ) -> "_Evaluation":
        codes = None if k is None else np.full(len(X), k)
        mapped, back = fitted.forward(X, codes), fitted.inverse(Y, codes)
        return cls(fitted, X, Y, k, supports, codes, mapped, back, fit_weight_to_split)

    def diagnostics(
        self, rng: np.random.RandomState, n_permutations: int
    ) -> Diagnostics:
        fitted, X, Y, k = self.fitted, self.X, self.Y, self.k or 0
        frame = fitted.preconditioners[k]
        forward = _direction(
            _Direction(X, self.mapped, Y, fitted.inverse(self.mapped, self.codes)),
            self._out_of_support(X, frame.source, [pair[0] for pair in self.supports]),
            self._residual(X, self.mapped),
            self._weight_to_split(),
            rng,
            n_permutations,
        )
        inverse = _direction(
            _Direction(Y, self.back, X, fitted.forward(self.back, self.codes)),
            self._out_of_support(Y, frame.target, [pair[1] for pair in self.supports]),
            self._residual(self.back, Y),
            weight_to_split(unique_rows(Y), unique_rows(X)),
            rng,
            n_permutations,
        )
        cost = fitted.cost(X, self.mapped)
        score = fitted.held_out_dual(X, Y, k)
        error = self._gap_error(cost)
        return Diagnostics(forward, inverse, float(cost.mean()), score, len(X), error)

    def _gap_error(self, cost: np.ndarray) -> float:
        """Standard error of the duality gap: c(x, T(x)) + u(x, 0) against u(y, 1)."""
        of_source = cost + self.fitted.source_potential(self.X, self.codes)
        of_target = self.fitted.target_potential(self.Y, self.codes)
        variances = (values.var() / len(values) for values in (of_source, of_target))
        return float(np.sqrt(sum(variances)))

    def _residual(self, x: np.ndarray, y: np.ndarray) -> float:
        """Root mean square of u(y, 1) - c(x, y) - u(x, 0) along the characteristics."""
        end = self.fitted.target_potential(y, self.codes)
        start = self.fitted.source_potential(x, self.codes)
        residual = end - self.fitted.cost(x, y) - start
        return float(np.sqrt(np.square(residual).mean()))

    def _weight_to_split(self) -> float:
        """Share of the weight of the source rows that would have to be split."""
        source, target = unique_rows(self.X), unique_rows(self.Y)
        share = weight_to_split(source, target)
        if source.weight.max() < REPORTED_SHARE:  # no row of these is repeated
            return share
        return max(share, self.fit_weight_to_split)

    @staticmethod
    def _out_of_support(
        X: np.ndarray, frame: ChangeOfVariables, supports: Sequence[Support | None]
    ) -> float:
        """Fraction of the rows that are outside the support of every class."""
        masks = [s.out_of_support(X, frame) for s in supports if s is not None]
        return float(np.all(masks, axis=0).mean()) if masks else 0.0


class _Direction(NamedTuple):
    """The map or its inverse on rows, all of shape (n, d)."""

    rows: np.ndarray
    mapped: np.ndarray
    reference: np.ndarray  # rows that the mapped rows should match
    returned: np.ndarray  # the mapped rows, mapped back


def _direction(
    rows: _Direction,
    out_of_support: float,
    residual: float,
    share_to_split: float,
    rng: np.random.RandomState,
    n_permutations: int,
) -> DirectionDiagnostics:
    pooled = np.concatenate([rows.mapped, rows.reference])
    distance = cdist(pooled, pooled)
    parts = np.split(np.arange(len(pooled)), 4)  # two halves of each sample
    squared_error = debiased_distance(
        lambda i, j: squared_wasserstein(distance[np.ix_(i, j)]), parts
    )
    cycle_error = np.square(rows.returned - rows.rows).sum(axis=1).mean()
    cycle_error /= _variance(rows.rows)
    halves = (parts[0], parts[2]), (parts[1], parts[3])
    energy = np.mean([energy_distance(distance, *pair) for pair in halves])
    relative_error = max(0.0, squared_error / _variance(rows.reference))
    return DirectionDiagnostics(
        error=float(100 * (relative_error + cycle_error)),
        energy_distance=float(energy),
        noise_floor=energy_distance(distance, *parts[2:]),
        p_value=permutation_p_value(distance, rng, n_permutations),
        cycle_error=float(100 * cycle_error),
        residual=residual,
        out_of_support=out_of_support,
        weight_to_split=share_to_split,
        mapped_outside=_outside(distance, np.sqrt(_variance(rows.reference))),
    )


def _outside(distance: np.ndarray, scale: float) -> float:
    """Fraction of the first half of the rows outside the support of the second half.

    They are farther from the other rows than 99 % of these are from each other.
    """
    n = len(distance) // 2
    own = distance[n:, n:] + np.diag(np.full(n, np.inf))
    limit = np.quantile(own.min(axis=0), 1 - LEVEL, method="higher")
    limit = max(limit, ROUNDING * scale)  # 0 for repeated values
    return float((distance[:n, n:].min(axis=1) > limit).mean())


def _variance(rows: np.ndarray) -> float:
    """Total variance; the smallest positive number if all rows are equal."""
    return float(rows.var(axis=0).sum()) or float(np.finfo(float).tiny)


def _mean(found: list[Diagnostics], weights: np.ndarray) -> Diagnostics:
    """The weighted mean over classes."""
    return Diagnostics(
        _mean_direction([d.forward for d in found], weights),
        _mean_direction([d.inverse for d in found], weights),
        float(np.dot(weights, [d.transport_cost for d in found])),
        float(np.dot(weights, [d.score for d in found])),
        sum(d.n_rows for d in found),
        float(np.linalg.norm(weights * [d.gap_error for d in found])),
    )


def _mean_direction(
    found: list[DirectionDiagnostics], weights: np.ndarray
) -> DirectionDiagnostics:
    """The weighted mean; p-values are combined by Fisher's method."""
    values = {
        field.name: float(np.dot(weights, [getattr(d, field.name) for d in found]))
        for field in fields(DirectionDiagnostics)
    }
    values["p_value"] = float(combine_pvalues([d.p_value for d in found]).pvalue)
    return DirectionDiagnostics(**values)
