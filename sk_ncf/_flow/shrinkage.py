"""Shrinkage of covariances of few rows."""

import numpy as np

__all__ = ["oracle_shrinkage", "shrink_covariances"]


def shrink_covariances(cov_x, cov_y, n_x, n_y, careful=False):
    r"""Both covariances, made invertible in a common way.

    In units of the pooled standard deviations (so that no feature's unit counts) each
    is shrunk (:func:`oracle_shrinkage`): negligible for n >> d, decisive for n < d. Features
    constant on both sides, and all features where one side is a single point, get equal
    variances (for the former far below the others, so that no other cost than their
    own is met): the identity.

    Where a row must not leave its class, `careful` shrinks both sides by 8 (d / n)^2 at
    least, n of the smaller side, up to a tenth: directions that the noise of few rows
    stretches are what carries rows away.
    """
    d = len(cov_x)
    least = min(0.1, 8 * (d / min(n_x, n_y)) ** 2) if careful else 0.0
    if not (np.trace(cov_x) > 0 and np.trace(cov_y) > 0):
        eye = np.eye(d) * (max(np.trace(cov_x), np.trace(cov_y)) / d or 1.0)
        return eye, eye
    std = np.sqrt((np.diag(cov_x) + np.diag(cov_y)) / 2)
    varies = std > 0
    unit = np.where(varies, std, std.max())
    outer, block = np.outer(unit, unit), np.ix_(varies, varies)
    shrunk = []
    for cov, n in ((cov_x, n_x), (cov_y, n_y)):
        full = 1e-8 * np.eye(d)
        full[block] = oracle_shrinkage((cov / outer)[block], n, least)
        shrunk.append(full * outer)
    return shrunk


def oracle_shrinkage(cov, n, least=0.0):
    """Covariance (d, d) of n rows, shrunk towards its mean variance, by `least` at least.

    The oracle approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010).
    """
    intensity, mean = max(least, _oas_intensity(cov, n)), np.trace(cov) / len(cov)
    return (1 - intensity) * cov + intensity * mean * np.eye(len(cov))


def _oas_intensity(cov, n):
    d, trace, square = len(cov), np.trace(cov), (cov**2).sum()
    excess = (n + 1 - 2 / d) * (square - trace**2 / d)
    if excess <= 0:
        return 1.0
    return np.clip(((1 - 2 / d) * square + trace**2) / excess, 1e-12, 1.0)
