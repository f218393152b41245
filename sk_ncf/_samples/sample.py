"""Samples: distinct rows and their weights."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sk_ncf._flow.moments import weighted_moments

__all__ = [
    "RowView",
    "Sample",
    "equal_weights",
    "is_equal",
    "random_rows",
    "unique_rows",
]


# A row is an atom if it has this many copies and this share of the weight.
COPIES, ATOM = 5, 1e-3


class RowView:
    """Some rows of an array, by index: the rows are copied where they are looked at.

    Parameters
    ----------
    base : ndarray of shape (N, d)
        May be a memory map.
    index : ndarray of int, shape (n,)
    """

    def __init__(self, base, index):
        self.base, self.index = base, index
        self.shape = (len(index), base.shape[1])

    def __len__(self):
        return len(self.index)

    def __getitem__(self, key):
        return np.asarray(self.base[self.index[key]])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class Sample:
    """Distinct rows with positive weights that sum to one.

    Attributes
    ----------
    X : ndarray or RowView of shape (n, d)
    weight : ndarray of shape (n,)
        Equal weights take no memory (:func:`equal_weights`).
    total : float
        Rows that the weights stand for: a row of weight w is worth `total` w copies.
        By default there is one copy of each row.
    """

    X: np.ndarray | RowView
    weight: np.ndarray
    total: float = 0.0  # becomes n

    def __post_init__(self):
        object.__setattr__(self, "total", float(self.total or len(self.X)))

    def __len__(self):
        return len(self.X)

    @cached_property
    def counts(self):
        """Draws that every row stands for (n,): its copies if it is an atom, else one.

        A few copies of a light row, as oversampling makes them, say no more than one.
        """
        n = len(self)
        if is_equal(self.weight):
            copies = self.total / n
            atoms = copies >= COPIES and n * ATOM <= 1
            return np.broadcast_to(copies if atoms else 1.0, n)
        copies = self.total * self.weight
        return np.where((copies >= COPIES) & (self.weight >= ATOM), copies, 1.0)

    @cached_property
    def n_rows(self):
        """Number of draws that the sample stands for: its size, atoms counted by copy."""
        return len(self) if self.counts.max() == 1 else round(self.counts.sum())

    @cached_property
    def effective_size(self):
        """Kish's number of equally weighted draws worth these."""
        if is_equal(self.weight):
            return float(self.counts.sum())
        return 1 / np.sum(np.square(self.weight) / self.counts)

    @cached_property
    def moments(self):
        """Mean (d,) and covariance (d, d)."""
        return weighted_moments(self.X, self.weight)

    def take(self, index):
        """The rows of `index`, their weights made to sum to one again."""
        view = isinstance(self.X, RowView)
        X = RowView(self.X.base, self.X.index[index]) if view else self.X[index]
        if is_equal(self.weight):
            total = self.total * len(X) / len(self)
            return Sample(X, equal_weights(len(X)), total)
        weight = self.weight[index]
        share = weight.sum()
        return Sample(X, weight / share, self.total * share)

    def reweighted(self, weight):
        """The rows whose new weight is positive; these are parts of the present ones."""
        keep = np.flatnonzero(weight > 0)
        part, weight = self.take(keep), weight[keep]
        return Sample(part.X, weight / weight.sum(), self.total * weight.sum())

    def repeated(self, times=None):
        """Every row as so many equal rows: an atom by default as often as it has copies."""
        times = self.counts if times is None else times
        times = np.rint(times).astype(int)
        if times.max() == 1:
            return self
        part = self.take(np.repeat(np.arange(len(self)), times))
        return Sample(part.X, np.repeat(self.weight / times, times), self.total)


def equal_weights(n):
    """n weights that sum to one, in the memory of a single number."""
    return np.broadcast_to(1 / n, n)


def is_equal(weight):
    """Whether `weight` is one number, seen n times."""
    return weight.strides == (0,)


def unique_rows(X, weight=None):
    """Distinct rows in lexicographic order, the weights of equal rows added up.

    A row of weight 2 and the same row given twice are then the same sample, whatever
    the order of rows. Weights are in rows: their sum is the number of rows they stand
    for. Without weights every row counts once.
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


def _lexicographic(X, at_once=2**20):
    """Places of the rows in lexicographic order, and which of them come first of equals.

    Some rows at a time: a row takes 13 bytes here, whatever its length.
    """
    order = np.argsort(X[:, 0], kind="stable")
    order = order.astype(np.int32 if len(X) < 2**31 else np.int64)
    first, start = np.ones(len(X), dtype=bool), 0
    first[1:] = _changes(X[order, 0])
    while start < len(X):
        stop = min(start + at_once, len(X))
        while stop < len(X) and not first[stop]:  # no run of ties is cut
            stop += 1
        _untie(X, order[start:stop], first[start:stop])
        start = stop
    return order, first


def _untie(X, order, first):
    """Sort runs of rows with equal first column by the others, in place."""
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


def _changes(values):
    return values[1:] != values[:-1]


def random_rows(n, size, rng):
    """Places of `size` of n rows (all, where there are not so many), in random order."""
    if n <= 100 * size:
        return rng.permutation(n)[:size]
    drawn = np.empty(0, dtype=int)  # no permutation of millions for a few of them
    while len(drawn) < size:
        drawn = np.unique(np.append(drawn, rng.randint(n, size=size)))
    return rng.permutation(drawn)[:size]
