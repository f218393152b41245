"""Random splits of a sample into training rows and held-out rows."""

import numpy as np

from sk_ncf._samples.sample import Sample, random_rows

__all__ = ["held_out_folds", "split_rows"]


def held_out_folds(
    sample: Sample,
    ensemble_size: int,
    fraction: float,
    at_most: int,
    rng: np.random.RandomState,
) -> list[tuple[Sample, Sample]]:
    """Training rows and held-out rows of every ensemble member.

    Every member holds out `fraction` of the rows (all members together `at_most`). As
    long as there are enough rows, every member holds out other rows. If a sample is too
    small to be split, its rows are used for training and validation.

    The copies of an atom are divided in proportion, and held-out copies are repeated.
    The copies of all other rows stay together.

    Parameters
    ----------
    sample : Sample
    ensemble_size : int
    fraction : float
        Between 0 and 1.
    at_most : int
    rng : RandomState

    Returns
    -------
    list of pairs of Sample
    """
    n = sample.n_rows
    size = min(at_most // ensemble_size, int(np.ceil(fraction * n)), n - 2)
    if size < 1:
        return [(sample, sample)] * ensemble_size
    is_atom = sample.counts > 1
    others = np.flatnonzero(~is_atom)
    n_others = size
    if is_atom.any():
        n_others = int(size * len(others) / n + rng.uniform())
    order = random_rows(len(others), ensemble_size * n_others, rng)
    folds = []
    for k in range(ensemble_size):
        held_out = np.zeros(len(sample))  # fraction of every row
        held_out[is_atom] = _held_out_copies(sample.counts[is_atom], size / n, rng)
        if n_others:
            index = np.arange(k * n_others, (k + 1) * n_others) % len(order)
            held_out[others[order[index]]] = 1.0
        if not held_out.any():
            held_out[sample.counts.argmax()] = 1 / sample.counts.max()
        folds.append(_split(sample, held_out))
    return folds


def _held_out_copies(
    copies: np.ndarray, fraction: float, rng: np.random.RandomState
) -> np.ndarray:
    """The fraction of every atom that is held out.

    It is `fraction`. If this is less than one copy, one copy is held out with the
    probability that gives the same mean.
    """
    expected = copies * fraction
    single = (rng.uniform(size=len(copies)) < expected) / copies
    return np.where(expected >= 1, fraction, single)


def _split(sample: Sample, held_out: np.ndarray) -> tuple[Sample, Sample]:
    """Training rows and held-out rows, from the held-out fraction of every row (n,)."""
    some = held_out > 0
    if (held_out[some] == 1).all():
        return sample.take(~some), sample.take(some)
    train, test = (
        sample.reweighted(sample.weight * s) for s in (1 - held_out, held_out)
    )
    return train, test.repeated(np.maximum(1, (sample.counts * held_out)[some]))


def split_rows(
    sample: Sample, fraction: float, at_most: int, rng: np.random.RandomState
) -> tuple[Sample, Sample | None]:
    """The sample without `fraction` of its rows (at most `at_most`), and these rows.

    The second is None if the sample is too small to be split.
    """
    ((rest, held_out),) = held_out_folds(sample, 1, fraction, at_most, rng)
    return rest, None if held_out is sample else held_out
