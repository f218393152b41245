"""Random tables of mixed columns: case k draws its own, and the same again."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr

MOST_ROWS, MOST_COLUMNS, N_FRESH = 20_000, 12, 1500
SENTINEL = -9999.0
STRENGTHS = (0.0, 0.3, 1.0)  # of the differences between source and target
WEIGHTS = ("none", "none", "random", "counts", "heavy row")

# A kind of column: its values at the quantiles u, and what its parameters start from.
# Parameters that begin with "share" are probabilities, with "scale" positive.


def continuous(u, loc, scale, loc_skew, scale_tail):
    """Skewed, with lighter or heavier tails than a normal distribution."""
    z = stats.norm.ppf(u)
    return loc + scale * np.sinh((np.arcsinh(z) + 0.5 * loc_skew) * scale_tail**0.3)


def counts(u, scale):
    return stats.poisson.ppf(u, 3 * scale)


def zero_inflated(u, share, scale):
    positive = stats.expon.ppf(np.clip((u - share) / (1 - share), 0, 1 - 1e-12))
    return np.where(u < share, 0.0, scale * positive)


def binary(u, share):
    return (u < share).astype(float)


def constant(u, loc_value):
    return np.full_like(u, np.round(loc_value, 1))


def heavy(u, loc, scale, scale_df):
    """Student t, from Cauchy to three degrees of freedom."""
    return loc + scale * stats.t.ppf(u, np.clip(1.5 * scale_df, 1, 3))


def lognormal(u, scale, scale_sigma):
    return scale * np.exp(scale_sigma * stats.norm.ppf(u))


def rounded(u, loc, scale):
    return np.round(loc + 2 * scale * stats.norm.ppf(u))


def sentinel(u, share, loc, scale):
    """A continuous column in which some values were replaced by -9999."""
    missing = u < 0.2 * share
    return np.where(missing, SENTINEL, loc + scale * stats.norm.ppf(u))


KINDS = {
    f.__name__: f
    for f in (continuous, counts, zero_inflated, binary, constant, heavy)
    + (lognormal, rounded, sentinel)
}
COLLINEAR = "collinear"  # a sum of earlier columns; needs two of them


class Side(NamedTuple):
    """How rows of one sample are drawn: a copula, parameters and sums of columns."""

    kinds: tuple[str, ...]
    mixing: np.ndarray  # (d, d), rows of unit length
    params: tuple[dict, ...]
    sums: np.ndarray  # (d, d), coefficients of collinear columns

    def rows(self, n, rng):
        """Rows of shape (n, d)."""
        z = rng.standard_normal((n, len(self.kinds))) @ self.mixing.T
        u = np.clip(ndtr(z), 1e-12, 1 - 1e-12)
        out = np.zeros_like(u)
        for j, (kind, given) in enumerate(zip(self.kinds, self.params, strict=True)):
            if kind == COLLINEAR:
                out[:, j] = out[:, :j] @ self.sums[j, :j]
            else:
                out[:, j] = KINDS[kind](u[:, j], **given)
        return out


@dataclass
class Sample:
    """Training rows and fresh ones, with their weights or None."""

    rows: np.ndarray
    weight: np.ndarray | None
    fresh: np.ndarray
    fresh_weight: np.ndarray | None = None


def rng_of(*key):
    """The generator of one case and purpose."""
    return np.random.default_rng([2029, *key])


def drawn_kinds(d, rng):
    """Kinds of the columns."""
    names = [*KINDS, COLLINEAR]
    kinds = [str(rng.choice(names)) for _ in range(d)]
    first = [k if k != COLLINEAR else "continuous" for k in kinds[:2]]
    return tuple(first + kinds[2:])


def parameters(kind, rng):
    """Random parameters of a column."""
    if kind == COLLINEAR:
        return {}
    names = KINDS[kind].__code__.co_varnames[1 : KINDS[kind].__code__.co_argcount]
    draws = {
        "share": lambda: rng.uniform(0.05, 0.95),
        "scale": lambda: np.exp(0.5 * rng.standard_normal()),
        "loc": lambda: rng.standard_normal(),
    }
    return {name: float(draws[name.split("_")[0]]()) for name in names}


def moved(params, strength, rng):
    """The same parameters, each changed at random."""
    changes = {
        "share": lambda v, z: 1 / (1 + (1 - v) / v * np.exp(-z)),
        "scale": lambda v, z: v * np.exp(0.5 * z),
        "loc": lambda v, z: v + z,
    }
    steps = {name: strength * rng.standard_normal() for name in params}
    return {k: float(changes[k.split("_")[0]](v, steps[k])) for k, v in params.items()}


def unit_rows(matrix):
    """Rows of length 1, so that mixed normal columns stay standard normal."""
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def sides(kinds, strength, rng):
    """Source and target: the same kinds of columns, parameters and copulas moved."""
    d = len(kinds)
    mixing = np.eye(d) + rng.uniform(0, 1) * rng.standard_normal((d, d))
    sums = rng.choice([-1.0, 0.5, 1.0, 2.0], (d, d))
    params = tuple(parameters(kind, rng) for kind in kinds)
    source = Side(kinds, unit_rows(mixing), params, sums)
    mixing = mixing + 0.3 * strength * rng.standard_normal((d, d))
    params = tuple(moved(p, strength, rng) for p in params)
    if strength and rng.random() < 0.3:
        sums = rng.choice([-1.0, 0.5, 1.0, 2.0], (d, d))
    return source, Side(kinds, unit_rows(mixing), params, sums)


def sample(side, n, weights, rng):
    """Training rows, their weights, and fresh rows of the same distribution.

    Random weights do not depend on the rows. One heavy row is a share of the
    distribution of its own, so that it is among the fresh rows with that share.
    """
    rows, fresh = side.rows(n, rng), side.rows(N_FRESH, rng)
    if weights == "random":
        return Sample(rows, rng.exponential(size=n), fresh)
    if weights == "counts":
        return Sample(rows, rng.integers(0, 6, n).astype(float), fresh)
    if weights == "heavy row":
        share = rng.uniform(0.05, 0.4)
        weight, fresh_weight = np.ones(n), np.full(N_FRESH + 1, (1 - share) / N_FRESH)
        weight[0], fresh_weight[-1] = (n - 1) * share / (1 - share), share
        return Sample(rows, weight, np.vstack([fresh, rows[:1]]), fresh_weight)
    return Sample(rows, None, fresh)


class Case(NamedTuple):
    """Two samples, and what there is to say about them."""

    source: Sample
    target: Sample
    kinds: tuple[str, ...]
    strength: float
    weights: tuple[str, str]


def case(k, most_rows=MOST_ROWS):
    """Case number k; `most_rows` may be lowered for a trial."""
    rng = rng_of(k)
    kinds = drawn_kinds(int(rng.integers(1, MOST_COLUMNS + 1)), rng)
    strength = float(rng.choice(STRENGTHS))
    both = sides(kinds, strength, rng)
    sizes = np.exp(rng.uniform(np.log(20), np.log(MOST_ROWS), 2)).astype(int)
    weights = tuple(str(w) for w in rng.choice(WEIGHTS, 2))
    samples = [
        sample(side, min(int(n), most_rows), w, rng_of(k, 1 + i))
        for i, (side, n, w) in enumerate(zip(both, sizes, weights, strict=True))
    ]
    return Case(*samples, kinds, strength, weights)
