"""How a map of tables is measured: units, splits, corrupt rows, distances."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

MAX_ROWS = 4000  # of a sample: at most 2,000 to train on and 2,000 fresh ones
CORRUPT_SHARE = 0.001
DISTANCES = (20, 1e3, 1e6)  # of corrupt rows, in standard deviations
SIDES = ("source", "target", "both")
BOUND = 4.0  # units of a column beyond which bounded distances hardly grow


class Split(NamedTuple):
    """Training rows, and fresh rows that only measure."""

    X: np.ndarray
    Y: np.ndarray
    X_fresh: np.ndarray
    Y_fresh: np.ndarray


class Units(NamedTuple):
    """Location and scale of every column."""

    centre: np.ndarray
    scale: np.ndarray

    def __call__(self, rows):
        return (rows - self.centre) / self.scale


def robust_units(X, Y):
    """Mean and standard deviation of both samples together, columns clipped.

    Both samples count the same. Each column is clipped at its 1 % and 99 % quantiles
    first; if that makes it constant, its range is the scale, or 1 if it was constant.
    """
    size = min(len(X), len(Y))
    rows = np.vstack([Z[np.linspace(0, len(Z) - 1, size).astype(int)] for Z in (X, Y)])
    clipped = np.clip(rows, *np.quantile(rows, [0.01, 0.99], axis=0))
    centre, scale = clipped.mean(axis=0), clipped.std(axis=0)
    tiny = scale <= 1e-9 * np.abs(rows).max(axis=0)
    scale = np.where(tiny, np.ptp(rows, axis=0), scale)
    return Units(centre, np.where(scale > 0, scale, 1.0))


def split(sides, seed, max_rows=MAX_ROWS):
    """Half of the rows of each sample to train on, the others fresh, in robust units."""
    rng = np.random.default_rng([seed, 17])
    parts = []
    for rows in sides:
        rows = rows[rng.permutation(len(rows))[:max_rows]]
        parts.append(np.array_split(rows, 2))
    (X, X_fresh), (Y, Y_fresh) = parts
    units = robust_units(X, Y)
    return Split(*map(units, (X, Y, X_fresh, Y_fresh)))


def corruptions(seed):
    """Sides and distances of corrupt rows; three seeds go through all nine."""
    n = len(DISTANCES)
    return [(side, DISTANCES[(seed + k) % n]) for k, side in enumerate(SIDES)]


def corrupted(case, side, distance, seed):
    """Training rows with corrupt ones added; the fresh rows stay as they are."""
    rng = np.random.default_rng([seed, 29])
    add = lambda rows: np.vstack([rows, far_rows(rows, distance, rng)])
    X = add(case.X) if side in ("source", "both") else case.X
    Y = add(case.Y) if side in ("target", "both") else case.Y
    return case._replace(X=X, Y=Y)


def far_rows(rows, distance, rng):
    """A thousandth as many rows, at least one, at a distance in random directions."""
    k = max(1, round(CORRUPT_SHARE * len(rows)))
    directions = rng.standard_normal((k, rows.shape[1]))
    return distance * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def uniform(rows):
    """Equal weights of sum 1."""
    return np.full(len(rows), 1 / len(rows))


def mean_distance(X, Y, wx, wy, block=2000):
    """Weighted mean of the Euclidean distances between rows of X and rows of Y."""
    parts = range(0, len(X), block)
    return sum(wx[i : i + block] @ (cdist(X[i : i + block], Y) @ wy) for i in parts)


def energy(X, Y, wx=None, wy=None):
    """100 times the squared energy distance; not finite rows make it infinite."""
    if not (np.isfinite(X).all() and np.isfinite(Y).all()):
        return np.inf
    wx = uniform(X) if wx is None else wx / wx.sum()
    wy = uniform(Y) if wy is None else wy / wy.sum()
    within = mean_distance(X, X, wx, wx) + mean_distance(Y, Y, wy, wy)
    return 100 * max(0.0, 2 * mean_distance(X, Y, wx, wy) - within)


def noise_floor(Y, n, m):
    """Expected energy distance of n and m rows of the distribution that Y is drawn of."""
    w = uniform(Y)
    between = mean_distance(Y, Y, w, w) * len(Y) / max(1, len(Y) - 1)
    return 100 * between * (1 / n + 1 / m)


def bounded(rows):
    """Columns bent to a finite range, so that no row outweighs the others."""
    return BOUND * np.arctan(rows / BOUND)


def correlation_error(X, Y):
    """Largest difference between the correlations of the columns of two samples."""
    if X.shape[1] < 2:
        return 0.0
    if not np.isfinite(X).all():
        return np.nan
    return float(np.abs(correlations(X) - correlations(Y)).max())


def correlations(rows):
    """Pearson correlations; 0 for a constant column."""
    centred = rows - rows.mean(axis=0)
    scale = centred.std(axis=0)
    centred = centred / np.where(scale > 0, scale, 1.0)
    return centred.T @ centred / len(rows)
