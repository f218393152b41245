"""Means and covariances of weighted rows."""

from typing import Any, Protocol

import numpy as np

__all__ = [
    "Moments",
    "RowArray",
    "WeightedRows",
    "effective_size",
    "evenly_spaced",
    "weighted_moments",
]

Moments = tuple[np.ndarray, np.ndarray]  # mean (d,), covariance (d, d)


LEAST_VARIANCE = 1e-280  # covariances below this lose accuracy


class RowArray(Protocol):
    """An array of rows (n, d), or a view of some rows of a larger one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of features."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> np.ndarray: ...


class WeightedRows(Protocol):
    """What the maps need of a :class:`~sk_ncf._samples.sample.Sample`."""

    @property
    def X(self) -> RowArray:
        """Distinct rows."""
        ...

    @property
    def n_rows(self) -> int:
        """Number of rows, repeated ones included."""
        ...

    @property
    def effective_size(self) -> float:
        """Effective number of rows (Kish, 1965)."""
        ...

    @property
    def moments(self) -> Moments:
        """Mean (d,) and covariance (d, d)."""
        ...

    def __len__(self) -> int: ...


def weighted_moments(X: RowArray, weight: np.ndarray, chunk: int = 65536) -> Moments:
    """Mean (d,) and covariance (d, d) of weighted rows, in float64, by chunks.

    They are computed relative to the first row, so the variance of a constant feature
    is exactly zero. A variance that is too small for its accuracy is set to zero too.
    More rows than `chunk` are read once, relative to the mean of some of them.
    """
    total = weight.sum()
    origin = X[0].astype(np.float64)
    some = evenly_spaced(len(X), chunk)
    centre = weight[some] @ (X[some] - origin) / weight[some].sum()
    shift = np.zeros(X.shape[1])
    cov = np.zeros((X.shape[1], X.shape[1]))
    for s in _chunks(X, chunk):
        centred, share = X[s] - origin - centre, weight[s] / total
        shift += share @ centred
        cov += centred.T @ (share[:, None] * centred)
    if len(X) > chunk:
        centre = centre + shift
        cov -= np.outer(shift, shift)
    varies = np.diag(cov) > LEAST_VARIANCE
    return origin + centre, np.where(np.outer(varies, varies), cov, 0.0)


def evenly_spaced(n: int, at_most: int) -> slice:
    """At most so many of n rows, all of them if there are no more."""
    return slice(None, None, -(-n // at_most))


def _chunks(X: RowArray, size: int) -> list[slice]:
    return [slice(i, i + size) for i in range(0, len(X), size)]


def effective_size(weight: np.ndarray) -> float:
    """Number of equally weighted rows with the same sampling error (Kish, 1965)."""
    return float(weight.sum() ** 2 / np.einsum("i,i", weight, weight))
