"""Means and covariances of weighted rows."""

from typing import Any, Protocol

import numpy as np

__all__ = ["RowArray", "WeightedRows", "effective_size", "weighted_moments"]


LEAST_VARIANCE = 1e-280  # below which covariances lose their digits


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
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d)."""
        ...

    def __len__(self) -> int: ...


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
