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
    return frame.target.inverse(frame.source.forward(X))


def map_by_class(
    source: PooledSample, target: PooledSample, n_classes: int
) -> np.ndarray:
    """Source rows (n, d) under the Gaussian map of their class.

    The moments of small classes are pooled. A class without target rows moves like the
    other small classes; if nothing is pooled, by the map of all rows.

    Parameters
    ----------
    source, target : PooledSample
        The target has `labelled`: False for a pseudo-label.
    n_classes : int
    """
    mapped, everything = source.X.astype(np.float64), None
    pooled = pooled_moments(source, target, n_classes)
    for k in np.unique(source.codes):
        of_class, same = source.codes == k, target.codes == k
        x = source.X[of_class]
        if k in pooled:
            frame = Preconditioner.of_moments(SquaredEuclidean(), pooled[k])
            mapped[of_class] = frame.target.inverse(frame.source.forward(x))
        elif same.any():
            weights = source.weight[of_class], target.weight[same]
            mapped[of_class] = map_all_rows(x, target.X[same], *weights)
        else:
            if everything is None:
                samples = source.X, target.X, source.weight, target.weight
                everything = map_all_rows(*samples)
            mapped[of_class] = everything[of_class]
    return mapped


def _weights(X: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return np.ones(len(X)) if weight is None else weight
