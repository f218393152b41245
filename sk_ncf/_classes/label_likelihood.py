"""Which of two labellings of the same rows fits them better."""

import numpy as np

from sk_ncf._flow.shrinkage import oracle_shrinkage

__all__ = ["MANY_CHANGES", "likelihood_gain"]

MANY_CHANGES = 10  # of labels, from which on the gain is no accident of single rows


def likelihood_gain(
    X: np.ndarray, old: np.ndarray, new: np.ndarray, mixture: bool = False
) -> tuple[int, float]:
    """Number of changed labels, and gain of log-likelihood in nats for every change.

    It is the likelihood of the rows in one Gaussian for every class, with a common
    covariance: it rises if the new classes are tighter clusters.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    old, new : ndarray of int, shape (n,)
    mixture : bool, default=False
        Whether the Gaussians have the proportions of the classes as their weights. A
        cluster that is divided between two classes is then less likely.
    """
    n_changed = int((old != new).sum())
    if not n_changed:
        return 0, 0.0
    gain = _log_likelihood(X, new) - _log_likelihood(X, old)
    if mixture:
        gain += _log_proportions(new) - _log_proportions(old)
    return n_changed, gain / n_changed


def _log_proportions(codes: np.ndarray) -> float:
    """Sum over all rows of the logarithm of the proportion of their class."""
    counts = np.unique(codes, return_counts=True)[1]
    return float(counts @ np.log(counts / len(codes)))


def _log_likelihood(X: np.ndarray, codes: np.ndarray) -> float:
    """Of all rows, but for a constant."""
    centred = np.array(X, dtype=np.float64)
    for k in np.unique(codes):
        centred[codes == k] -= centred[codes == k].mean(axis=0)
    scale = centred.std(axis=0)
    scale = np.where(scale > 0, scale, scale.max() or 1.0)
    centred /= scale
    n, d = centred.shape
    cov = oracle_shrinkage(centred.T @ centred / n + 1e-12 * np.eye(d), n)
    root = np.linalg.cholesky(cov)
    z = np.linalg.solve(root, centred.T)
    volume = np.log(root.diagonal()).sum() + np.log(scale).sum()
    return float(-np.square(z).sum() / 2 - n * volume)
