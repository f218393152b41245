"""Rows that are held out."""

import numpy as np

from sk_ncf._samples.sample import random_rows

__all__ = ["held_out_folds", "split_rows"]


def held_out_folds(sample, ensemble_size, fraction, at_most, rng):
    """For each member the rows it trains on, and those apart that judge it.

    Every member sets `fraction` of the rows apart (all members together `at_most`), as
    far as there are rows each its own; a sample too small to part judges itself. Of the
    copies of an atom each part has its share, and what is held out is repeated; of any
    other row no copy is on both sides.

    Returns
    -------
    list of pairs of Sample
    """
    if sample is None:
        return [(None, None)] * ensemble_size
    n = sample.n_rows
    size = min(at_most // ensemble_size, int(np.ceil(fraction * n)), n - 2)
    atoms = sample.counts > 1
    single = np.flatnonzero(~atoms)
    if size < 1:
        return [(sample, sample)] * ensemble_size
    taken = size if not atoms.any() else int(size * len(single) / n + rng.uniform())
    order = random_rows(len(single), ensemble_size * taken, rng)
    folds = []
    for k in range(ensemble_size):
        share = np.zeros(len(sample))
        share[atoms] = _shares(sample.counts[atoms], size / n, rng)
        if taken:
            places = np.arange(k * taken, (k + 1) * taken) % len(order)
            share[single[order[places]]] = 1.0
        if not share.any():
            share[sample.counts.argmax()] = 1 / sample.counts.max()
        folds.append(_parted(sample, share))
    return folds


def _shares(copies, fraction, rng):
    """The held-out share of each atom: `fraction`, or one copy by chance if that is less."""
    apart = copies * fraction
    one = (rng.uniform(size=len(apart)) < apart) / copies
    return np.where(apart >= 1, fraction, one)


def _parted(sample, share):
    """The kept and the held-out part, from the share of each row that is held out."""
    apart = share > 0
    if (share[apart] == 1).all():
        return sample.take(~apart), sample.take(apart)
    kept, held_out = (sample.reweighted(sample.weight * s) for s in (1 - share, share))
    return kept, held_out.repeated(np.maximum(1, (sample.counts * share)[apart]))


def split_rows(sample, fraction, at_most, rng):
    """Two samples: the kept rows, and `fraction` (at most `at_most`) of them apart."""
    ((kept, apart),) = held_out_folds(sample, 1, fraction, at_most, rng)
    return kept, None if apart is sample else apart
