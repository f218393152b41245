"""Means and covariances of weighted rows."""

import numpy as np

__all__ = ["effective_size", "weighted_moments"]


LEAST_VARIANCE = 1e-280  # below which covariances lose their digits


def weighted_moments(X, weight, chunk=65536):
    """Mean (d,) and covariance (d, d) of weighted rows, in float64, by chunks.

    Relative to the first row, so that a constant feature has variance zero exactly; and
    so has one whose variance is no normal floating-point number.
    """
    total = weight.sum()
    origin = X[0].astype(np.float64)
    shift = sum(weight[s] @ (X[s] - origin) for s in _chunks(X, chunk)) / total
    cov = np.zeros((X.shape[1], X.shape[1]))
    for s in _chunks(X, chunk):
        centred = X[s] - origin - shift
        cov += centred.T @ (weight[s, None] / total * centred)
    seen = np.diag(cov) > LEAST_VARIANCE
    return origin + shift, np.where(np.outer(seen, seen), cov, 0.0)


def _chunks(X, size):
    return [slice(i, i + size) for i in range(0, len(X), size)]


def effective_size(weight):
    """Kish's number of equally weighted rows worth these weights."""
    return weight.sum() ** 2 / np.einsum("i,i", weight, weight)
