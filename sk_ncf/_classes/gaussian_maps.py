"""Source rows mapped by Gaussian maps, of all rows or class by class."""

import numpy as np

from sk_ncf._classes.pooling import PooledSample, pooled_moments
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf.costs import SquaredEuclidean

__all__ = ["map_all_rows", "map_by_class"]


def map_all_rows(
    X: np.ndarray,
    X_target: np.ndarray,
    weight: np.ndarray | None = None,
    target_weight: np.ndarray | None = None,
) -> np.ndarray:
    """X (n, d) under the Gaussian map from its rows to those of X_target (m, d)."""
    weights = _weights(X, weight), _weights(X_target, target_weight)
    frame = Preconditioner.fit(X, X_target, SquaredEuclidean(), *weights)
    return frame.initial_map(X)


def map_by_class(
    source: PooledSample, target: PooledSample, n_classes: int
) -> np.ndarray:
    """Source rows (n, d) under the Gaussian map of their class.

    The moments of small classes are pooled. A class without target rows is shifted by
    the mean of the shifts of the others.

    Parameters
    ----------
    source, target : PooledSample
        The target has `labelled`: False for a pseudo-label.
    n_classes : int
    """
    mapped = source.X.astype(np.float64)
    pooled = pooled_moments(source, target, n_classes)
    seen = np.zeros(len(mapped), dtype=bool)
    for k in np.intersect1d(source.codes, target.codes):
        of_class, same = source.codes == k, target.codes == k
        x, seen[of_class] = source.X[of_class], True
        if k in pooled:
            frame = Preconditioner.of_moments(SquaredEuclidean(), pooled[k])
            mapped[of_class] = frame.initial_map(x)
        else:
            weights = source.weight[of_class], target.weight[same]
            mapped[of_class] = map_all_rows(x, target.X[same], *weights)
    if not seen.all():
        mapped[~seen] += _mean_shift(source, target, seen)
    return mapped


def _mean_shift(
    source: PooledSample, target: PooledSample, seen: np.ndarray
) -> np.ndarray:
    """Mean (d,) of the shifts of the classes that the target has, by its weights."""
    size = np.bincount(target.codes, target.weight)
    own = np.bincount(source.codes[seen], source.weight[seen], len(size))
    weight = source.weight[seen] * (size / np.maximum(own, 1e-300))[source.codes[seen]]
    shift = np.average(target.X, axis=0, weights=target.weight)
    return np.asarray(shift - np.average(source.X[seen], axis=0, weights=weight))


def _weights(X: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return np.ones(len(X)) if weight is None else weight
