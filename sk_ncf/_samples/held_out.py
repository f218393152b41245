"""Rows that are held out."""

import numpy as np

from sk_ncf._samples.sample import random_rows

__all__ = ["held_out_folds", "split_rows"]


def held_out_folds(sample, ensemble_size, fraction, at_most, rng):
    """For each member the rows it trains on, and those apart that judge it.

    Every member sets `fraction` of the rows apart (all members together `at_most`), as
    far as there are rows each its own; a sample too small to part judges itself.

    Returns
    -------
    list of pairs of Sample
    """
    if sample is None:
        return [(None, None)] * ensemble_size
    n = len(sample)
    size = min(at_most // ensemble_size, int(np.ceil(fraction * n)), n - 2)
    if size < 1:
        return [(sample, sample)] * ensemble_size
    order = random_rows(n, ensemble_size * size, rng)
    folds = []
    for k in range(ensemble_size):
        apart = np.zeros(n, dtype=bool)
        apart[order[np.arange(k * size, (k + 1) * size) % len(order)]] = True
        folds.append((sample.take(~apart), sample.take(apart)))
    return folds


def split_rows(sample, fraction, at_most, rng):
    """Two samples: the kept rows, and `fraction` (at most `at_most`) of them apart."""
    ((kept, apart),) = held_out_folds(sample, 1, fraction, at_most, rng)
    return kept, None if apart is sample else apart
