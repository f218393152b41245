"""Shrinkage of the covariances of small samples."""

import numpy as np

__all__ = ["oracle_shrinkage", "shrink_covariances"]

MAX_CAREFUL_INTENSITY = 0.1


def shrink_covariances(
    cov_x: np.ndarray,
    cov_y: np.ndarray,
    n_x: float,
    n_y: float,
    careful: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Invertible covariances of source and target rows.

    Each covariance is shrunk by :func:`oracle_shrinkage`, with all features scaled by
    their pooled standard deviations, so that the units of the features do not matter.
    The shrinkage is negligible for n >> d and large for n < d.

    Features that are constant in both samples get equal variances in both, so that they
    are mapped by the identity. These variances are far below those of the other
    features. If one sample is a single point, this is done for all features.

    Parameters
    ----------
    cov_x, cov_y : ndarray of shape (d, d)
    n_x, n_y : float
        Effective numbers of rows.
    careful : bool, default=False
        Whether to shrink both covariances by at least 8 (d / n)^2 (at most 0.1), with n
        of the smaller sample. This is for classes: noise of few rows that stretches a
        direction would map rows to another class.

    Returns
    -------
    cov_x, cov_y : ndarray of shape (d, d)
    """
    d = len(cov_x)
    least = 0.0
    if careful:
        least = min(MAX_CAREFUL_INTENSITY, 8 * (d / min(n_x, n_y)) ** 2)
    if not (np.trace(cov_x) > 0 and np.trace(cov_y) > 0):
        eye = np.eye(d) * (max(np.trace(cov_x), np.trace(cov_y)) / d or 1.0)
        return eye, eye
    std = np.sqrt((np.diag(cov_x) + np.diag(cov_y)) / 2)
    varies = std > 0
    unit = np.where(varies, std, std.max())
    outer = np.outer(unit, unit)

    def shrink(cov: np.ndarray, n: float) -> np.ndarray:
        block = np.ix_(varies, varies)
        full = 1e-8 * np.eye(d)
        full[block] = oracle_shrinkage((cov / outer)[block], n, least)
        return np.asarray(full * outer)

    return shrink(cov_x, n_x), shrink(cov_y, n_y)


def oracle_shrinkage(cov: np.ndarray, n: float, least: float = 0.0) -> np.ndarray:
    """Covariance (d, d) of n rows, shrunk towards its mean variance.

    This is the oracle approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010),
    with an intensity of at least `least`.
    """
    intensity, mean = max(least, _oas_intensity(cov, n)), np.trace(cov) / len(cov)
    return np.asarray((1 - intensity) * cov + intensity * mean * np.eye(len(cov)))


def _oas_intensity(cov: np.ndarray, n: float) -> float:
    d, trace, square = len(cov), np.trace(cov), (cov**2).sum()
    excess = (n + 1 - 2 / d) * (square - trace**2 / d)
    if excess <= 0:
        return 1.0
    return float(np.clip(((1 - 2 / d) * square + trace**2) / excess, 1e-12, 1.0))
