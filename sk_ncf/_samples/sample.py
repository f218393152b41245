"""Samples: distinct rows and their weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sk_ncf._flow.moments import weighted_moments

__all__ = [
    "RowView",
    "Sample",
    "equal_weights",
    "is_equal",
    "random_rows",
    "unique_rows",
]


MIN_COPIES = 5  # of a row that counts as an atom
MIN_ATOM_WEIGHT = 1e-3  # of a row that counts as an atom


class RowView:
    """Some rows of an array, by index. Rows are copied when they are accessed.

    Parameters
    ----------
    base : ndarray of shape (N, d)
        May be a memory map.
    index : ndarray of int, shape (n,)
    """

    def __init__(self, base: np.ndarray, index: np.ndarray) -> None:
        self.base, self.index = base, index
        self.shape = (len(index), base.shape[1])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self.base[self.index[key]])

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class Sample:
    """Distinct rows with positive weights that sum to one.

    A row with several copies in the data is an atom if there are at least five copies
    with a thousandth of the weight. The copies of an atom count as independent rows.
    The copies of all other rows count as one row: oversampling adds no information.

    Attributes
    ----------
    X : ndarray or RowView of shape (n, d)
    weight : ndarray of shape (n,)
        Equal weights take no memory (:func:`equal_weights`).
    total : float, default=n
        Number of rows in the data, copies included: a row of weight w has `total` w
        copies.
    """

    X: np.ndarray | RowView
    weight: np.ndarray
    total: float = 0.0  # replaced by n

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", float(self.total or len(self.X)))

    def __len__(self) -> int:
        return len(self.X)

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of independent rows (n,): the copies of an atom, 1 for other rows."""
        n = len(self)
        if is_equal(self.weight):
            all_atoms = self.total / n >= MIN_COPIES and n * MIN_ATOM_WEIGHT <= 1
            return np.broadcast_to(self.total / n if all_atoms else 1.0, n)
        copies = self.total * self.weight
        is_atom = (copies >= MIN_COPIES) & (self.weight >= MIN_ATOM_WEIGHT)
        return np.where(is_atom, copies, 1.0)

    @cached_property
    def n_rows(self) -> int:
        """Number of independent rows in all."""
        return len(self) if self.counts.max() == 1 else round(self.counts.sum())

    @cached_property
    def effective_size(self) -> float:
        """Number of equally weighted rows with the same sampling error (Kish, 1965)."""
        if is_equal(self.weight):
            return float(self.counts.sum())
        return float(1 / np.sum(np.square(self.weight) / self.counts))

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d)."""
        return weighted_moments(self.X, self.weight)

    def take(self, index: np.ndarray) -> "Sample":
        """The rows of `index`, an array of indices or a mask; weights are normalised."""
        X = self._rows(index)
        if is_equal(self.weight):
            total = self.total * len(X) / len(self)
            return Sample(X, equal_weights(len(X)), total)
        weight = self.weight[index]
        share = weight.sum()
        return Sample(X, weight / share, self.total * share)

    def reweighted(self, weight: np.ndarray) -> "Sample":
        """The rows of positive new weight.

        Parameters
        ----------
        weight : ndarray of shape (n,)
            At most the present weights. `total` decreases in proportion to the sum.
        """
        keep = np.flatnonzero(weight > 0)
        weight = weight[keep]
        return Sample(
            self._rows(keep), weight / weight.sum(), self.total * weight.sum()
        )

    def repeated(self, times: np.ndarray | None = None) -> "Sample":
        """The same sample with several equal rows in place of one.

        Parameters
        ----------
        times : ndarray of shape (n,), default=None
            How often every row is repeated, rounded; its weight is divided equally.
            None: as often as it counts, so that only atoms are repeated.
        """
        times = np.rint(self.counts if times is None else times).astype(int)
        if times.max() == 1:
            return self
        X = self._rows(np.repeat(np.arange(len(self)), times))
        return Sample(X, np.repeat(self.weight / times, times), self.total)

    def quantile_rows(self, n: int) -> np.ndarray:
        """Indices (n,) of the rows at n quantiles of the weight, in the given order."""
        quantiles = (np.arange(n) + 0.5) / n
        index = np.searchsorted(np.cumsum(self.weight), quantiles)
        return np.minimum(index, len(self) - 1)

    def representative(self, at_most: int) -> "Sample":
        """All rows, or `at_most` quantiles of the rows in the given order.

        A row that is heavier than a quantile keeps its weight, up to rounding.
        """
        if len(self) <= at_most:
            return self
        index, counts = np.unique(self.quantile_rows(at_most), return_counts=True)
        return Sample(np.asarray(self.X[index]), counts / at_most, float(at_most))

    def _rows(self, index: np.ndarray) -> np.ndarray | RowView:
        if isinstance(self.X, RowView):
            return RowView(self.X.base, self.X.index[index])
        return self.X[index]


def equal_weights(n: int) -> np.ndarray:
    """n weights that sum to one, in the memory of a single number."""
    return np.broadcast_to(1 / n, n)


def is_equal(weight: np.ndarray) -> bool:
    """Whether `weight` is a single number in memory, broadcast to n."""
    return weight.strides == (0,)


def unique_rows(X: np.ndarray, weight: np.ndarray | None = None) -> Sample:
    """Distinct rows in lexicographic order, with the sum of the weights of equal rows.

    So the sample does not depend on the order of the rows, and a row of weight 2 is the
    same as the row given twice.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,), default=None
        Their sum is the number of rows. None: every row counts once.
    """
    weight = np.broadcast_to(1.0, len(X)) if weight is None else np.asarray(weight)
    order, first = _lexicographic(X)
    if is_equal(weight) and first.all():
        total = weight[0] * len(order)
        return Sample(RowView(X, order), equal_weights(len(order)), total)
    summed = np.add.reduceat(weight[order].astype(float), np.flatnonzero(first))
    order, total = order[first], summed.sum()
    if np.ptp(summed) == 0:
        return Sample(RowView(X, order), equal_weights(len(order)), total)
    keep = summed > 0
    return Sample(RowView(X, order[keep]), summed[keep] / total, total)


def _lexicographic(
    X: np.ndarray, at_once: int = 2**20
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows in lexicographic order, and which are the first of equal rows.

    Works on some rows at a time, with 13 bytes per row in all.
    """
    order = np.argsort(X[:, 0], kind="stable")
    order = order.astype(np.int32 if len(X) < 2**31 else np.int64)
    first, start = np.ones(len(X), dtype=bool), 0
    first[1:] = _changes(X[order, 0])
    while start < len(X):
        stop = min(start + at_once, len(X))
        while stop < len(X) and not first[stop]:  # tied rows stay together
            stop += 1
        _untie(X, order[start:stop], first[start:stop])
        start = stop
    return order, first


def _untie(X: np.ndarray, order: np.ndarray, first: np.ndarray) -> None:
    """Sort rows with equal first columns by the other columns, in place."""
    for column in range(1, X.shape[1]):
        tied = ~first
        tied[:-1] |= tied[1:]
        at = np.flatnonzero(tied)
        if not len(at):
            return
        rows = order[at]
        values = X[rows, column]
        inner = np.lexsort((values, np.cumsum(first[at])))
        order[at] = rows[inner]
        first[at[1:]] |= _changes(values[inner])


def _changes(values: np.ndarray) -> np.ndarray:
    """Whether each value but the first differs from the one before."""
    return np.asarray(values[1:] != values[:-1])


def random_rows(n: int, size: int, rng: np.random.RandomState) -> np.ndarray:
    """Indices of `size` of n rows in random order; of all rows if n is smaller."""
    if n <= 100 * size:
        return rng.permutation(n)[:size]
    drawn = np.empty(0, dtype=int)  # faster than a permutation of many rows
    while len(drawn) < size:
        drawn = np.unique(np.append(drawn, rng.randint(n, size=size)))
    return rng.permutation(drawn)[:size]
