"""Rows, their weights and classes; the held-out split; paired minibatches."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import IterableDataset

from sk_ncf.preconditioner import gaussian_map, weighted_moments

DRAWN = 2_000_000  # values of either side drawn at a time

__all__ = [
    "PairSampler",
    "RowView",
    "Sample",
    "equal_weights",
    "held_out_folds",
    "is_equal",
    "matched_to",
    "random_rows",
    "smoothing_scale",
    "split_rows",
    "unique_rows",
]


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
    """

    X: np.ndarray | RowView
    weight: np.ndarray

    def __len__(self):
        return len(self.X)

    @cached_property
    def moments(self):
        """Mean (d,) and covariance (d, d)."""
        return weighted_moments(self.X, self.weight)

    def take(self, index):
        """The rows of `index`, their weights made to sum to one again."""
        view = isinstance(self.X, RowView)
        X = RowView(self.X.base, self.X.index[index]) if view else self.X[index]
        if is_equal(self.weight):
            return Sample(X, equal_weights(len(X)))
        weight = self.weight[index]
        return Sample(X, weight / weight.sum())


def equal_weights(n):
    """n weights that sum to one, in the memory of a single number."""
    return np.broadcast_to(1 / n, n)


def is_equal(weight):
    """Whether `weight` is one number, seen n times."""
    return weight.strides == (0,)


def unique_rows(X, weight=None):
    """Distinct rows in lexicographic order, the weights of equal rows added up.

    A row of weight 2 and the same row given twice are then the same sample, whatever
    the order of rows; and no copy of a training row is ever held out.
    """
    weight = equal_weights(len(X)) if weight is None else np.asarray(weight)
    order, first = _lexicographic(X)
    if is_equal(weight) and first.all():
        return Sample(RowView(X, order), equal_weights(len(order)))
    summed = np.add.reduceat(weight[order].astype(float), np.flatnonzero(first))
    order = order[first]
    if np.ptp(summed) == 0:
        return Sample(RowView(X, order), equal_weights(len(order)))
    keep = summed > 0
    return Sample(RowView(X, order[keep]), summed[keep] / summed.sum())


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


def held_out_folds(sample, n_members, fraction, at_most, rng):
    """For each member the rows it trains on, and those apart that judge it.

    Every member sets `fraction` of the rows apart (all members together `at_most`), as
    far as there are rows each its own; a sample too small to part judges itself.

    Returns
    -------
    list of pairs of Sample
    """
    if sample is None:
        return [(None, None)] * n_members
    n = len(sample)
    size = min(at_most // n_members, int(np.ceil(fraction * n)), n - 2)
    if size < 1:
        return [(sample, sample)] * n_members
    order = random_rows(n, n_members * size, rng)
    folds = []
    for k in range(n_members):
        apart = np.zeros(n, dtype=bool)
        apart[order[np.arange(k * size, (k + 1) * size) % len(order)]] = True
        folds.append((sample.take(~apart), sample.take(apart)))
    return folds


def random_rows(n, size, rng):
    """Places of `size` of n rows (all, where there are not so many), in random order."""
    if n <= 100 * size:
        return rng.permutation(n)[:size]
    drawn = np.empty(0, dtype=int)  # no permutation of millions for a few of them
    while len(drawn) < size:
        drawn = np.unique(np.append(drawn, rng.randint(n, size=size)))
    return rng.permutation(drawn)[:size]


def split_rows(sample, fraction, at_most, rng):
    """Two samples: the kept rows, and `fraction` (at most `at_most`) of them apart."""
    ((kept, apart),) = held_out_folds(sample, 1, fraction, at_most, rng)
    return kept, None if apart is sample else apart


def matched_to(rows, weight, mean, cov):
    """Rows moved to the given mean and covariance by the optimal linear map.

    The held-out risk of a small sample is mostly noise of its first two moments, which
    the full sample knows better.
    """
    own_mean, own_cov = weighted_moments(rows, weight)
    if len(rows) <= 2 * rows.shape[1]:
        return rows - own_mean + mean
    ridge = 1e-9 * (np.trace(cov) / len(cov) or 1.0) * np.eye(len(cov))
    return (rows - own_mean) @ gaussian_map(own_cov + ridge, cov + ridge) + mean


def smoothing_scale(n_samples, n_features):
    """Standard deviation of the noise on training rows, in standard deviations of theirs.

    Few rows are learnt by heart within seconds; a kernel density estimate of either
    side, which this noise draws from, cannot be. Its bias is of the second order and
    the same on both sides; it vanishes faster than the sampling error as n grows.
    """
    return min(0.2, 50 * n_features / n_samples)


class PairSampler(IterableDataset):
    """Minibatches of rows of both sides, already in the network's variables.

    Iterating draws many minibatches at once, by inverse transform sampling from the
    weights: the cost of a step does not depend on the number of rows.

    Parameters
    ----------
    sources, targets : sequence of Sample or None
        One of each for every potential (class or member); None where there are no rows
        now: its potential rests.
    preconditioners : sequence of Preconditioner
        Of every potential.
    batch_size : int
        Rows of each side in a minibatch.
    n_batches : int
        Minibatches per epoch.
    n_steps : int
        Minibatches in all; the last epoch may be shorter for it.
    seed : int
    dtype : torch.dtype
    device : torch.device
    smoothing : float, default=0.0
        Standard deviation of Gaussian noise on the rows, in the network's variables.
    """

    def __init__(
        self,
        sources,
        targets,
        preconditioners,
        batch_size,
        n_batches,
        n_steps,
        seed,
        dtype,
        device,
        smoothing=0.0,
    ):
        frames = zip(*((p.source, p.target) for p in preconditioners), strict=True)
        self.sources, self.targets = (
            [(s, _cumulative(s), frame) for s, frame in zip(side, sides, strict=True)]
            for side, sides in zip((sources, targets), frames, strict=True)
        )
        pairs = zip(sources, targets, strict=True)
        present = [not (s is None or t is None) for s, t in pairs]
        self.present = torch.tensor(present, dtype=dtype, device=device)
        self.n_features = len(preconditioners[0].source.mean)
        self.batch_size, self.n_batches = batch_size, n_batches
        self.n_left = n_steps
        self.rng = np.random.RandomState(seed)
        self.dtype, self.device = dtype, torch.device(device)
        self.smoothing = smoothing
        values = len(self.sources) * batch_size * self.n_features
        self.at_once = max(1, DRAWN // values)  # minibatches

    @property
    def n_epochs(self):
        """Epochs to come."""
        return math.ceil(self.n_left / self.n_batches)

    def __len__(self):
        return self.n_batches

    def _draw(self, samples, n_batches):
        """Rows of shape [n_batches, K, batch_size, d]."""
        drawn = []
        for sample, cumulative, side in samples:
            if sample is None:
                drawn.append(np.zeros((n_batches, self.batch_size, self.n_features)))
                continue
            places = self.rng.uniform(size=n_batches * self.batch_size)
            if cumulative is None:
                index = (places * len(sample)).astype(np.intp)
            else:
                index = np.searchsorted(cumulative, places, side="right")
            rows = side.forward(sample.X[np.minimum(index, len(sample) - 1)])
            if self.smoothing:
                rows += self.smoothing * self.rng.standard_normal(rows.shape)
            drawn.append(rows.reshape(n_batches, self.batch_size, -1))
        return self._placed(np.stack(drawn, 1))

    def _placed(self, values):
        """On the device, in one go for many steps, which need not wait for it."""
        values = torch.from_numpy(values).to(self.dtype)
        if self.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)

    def __iter__(self):
        n = min(self.n_batches, self.n_left)
        self.n_left -= n
        for start in range(0, n, self.at_once):
            yield from self._minibatches(min(self.at_once, n - start))

    def _minibatches(self, n):
        xs, ys = self._draw(self.sources, n), self._draw(self.targets, n)
        times = self.rng.uniform(size=(n, len(self.sources), self.batch_size))
        ts = self._placed(times)
        for x, y, t in zip(xs, ys, ts, strict=True):
            yield {"x": x, "y": y, "t": t, "present": self.present}, y.new_zeros(())


def _cumulative(sample):
    """Cumulative weights; None where they are equal."""
    equal = sample is None or is_equal(sample.weight)
    return None if equal else np.cumsum(sample.weight)
