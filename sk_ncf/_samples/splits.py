"""Rows to train on, to judge by and to score with, of one class or of all."""

from typing import NamedTuple

import numpy as np

from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._samples.held_out import held_out_folds, split_rows
from sk_ncf._samples.sample import Sample, random_rows

__all__ = ["Parts", "held_out_rows", "joined", "parted", "stacked", "training_frames"]

AT_MOST_HELD_OUT = 4096
AT_MOST_RESERVED = 1024
MOST_MOVED = 0.2  # of the spread of training rows, to match that of all


class Parts(NamedTuple):
    """The rows of one class, parted; None where a stream brought none of it.

    Attributes
    ----------
    train : pair of lists of Sample
        Source and target rows of every member.
    apart : pair of lists of Sample
        Rows that judge them.
    score : pair of ndarray
        Rows for the estimator's score, in the original variables.
    whole : pair of Sample
        All rows but those of the score.
    """

    train: tuple
    apart: tuple
    score: tuple
    whole: tuple


def parted(source, target, ensemble_size, fraction, rng):
    """The parts of the rows of one class.

    Parameters
    ----------
    source, target : Sample or None
    ensemble_size : int
    fraction : float or None
        Share of the rows that are held out by a member; None where the training rows
        themselves judge.
    rng : RandomState
    """
    reserve = np.random.RandomState(0)
    target, target_rows = _reserved(target, reserve)
    source_rows = None
    if ensemble_size > 1:  # no source rows are held out by all members
        source, source_rows = _reserved(source, reserve)
    sides = [_folds(side, ensemble_size, fraction, rng) for side in (source, target)]
    train, apart = (
        tuple([fold[part] for fold in side] for side in sides) for part in (0, 1)
    )
    source_rows = apart[0][0] if source_rows is None else source_rows
    score = tuple(map(_equally_weighted, (source_rows, target_rows)))
    return Parts(train, apart, score, (source, target))


def _folds(sample, ensemble_size, fraction, rng):
    """Training rows and rows to judge by of every member, on one side."""
    if fraction is None and sample is not None:
        every = np.sort(random_rows(len(sample), AT_MOST_HELD_OUT, rng))
        return [(sample, sample.take(every))] * ensemble_size
    if sample is None:
        return [(None, None)] * ensemble_size
    share = max(fraction, min(64 / len(sample), 0.25))
    return held_out_folds(sample, ensemble_size, share, AT_MOST_HELD_OUT, rng)


def _reserved(sample, rng):
    """Rows to go on with, and rows to score with: all, where they are too few."""
    if sample is None:
        return None, None
    kept, apart = split_rows(sample, 0.05, AT_MOST_RESERVED, rng)
    return kept if len(kept) >= 4 else sample, sample if apart is None else apart


def _equally_weighted(sample, n=AT_MOST_RESERVED):
    """Rows drawn in proportion to their weights where these differ."""
    if sample is None:
        return None
    if np.ptp(sample.weight) <= 1e-12:
        return sample.X[:n]
    places = (np.arange(n) + 0.5) / n
    index = np.searchsorted(np.cumsum(sample.weight), places)
    return sample.X[np.minimum(index, len(sample) - 1)]


def held_out_rows(parts, preconditioner):
    """Held-out rows of every member in the network's variables, source and target."""
    frames = preconditioner.source, preconditioner.target
    return [
        [None if f is None else Sample(side.forward(f.X), f.weight) for f in folds]
        for side, folds in zip(frames, parts.apart, strict=True)
    ]


def training_frames(parts, preconditioner):
    """The changes of variables of every member's training rows, source and target.

    In the network's variables they have the moments of the whole sample, which training
    starts from: the difference is that of the rows held out, nothing to be learnt, and
    to unlearn it would count against whatever else is learnt. Of heavy tails, whose
    moments differ by more than `MOST_MOVED`, it is taken no further than that.
    """
    frames = preconditioner.source, preconditioner.target
    return [
        [side if f is None else _matched(side, f, full) for f in folds]
        for side, folds, full in zip(frames, parts.train, parts.whole, strict=True)
    ]


def _matched(side, fold, full):
    if fold is full or len(fold) <= 2 * fold.X.shape[1]:
        return side
    (mean, cov), (own_mean, own_cov) = (
        side.moments(*sample.moments) for sample in (full, fold)
    )
    ridge = 1e-6 * (np.trace(cov) / len(cov) or 1.0) * np.eye(len(cov))
    values, vectors = np.linalg.eigh(gaussian_map(own_cov + ridge, cov + ridge))
    if not (np.abs(values - 1) <= MOST_MOVED).all():
        return side
    return side.followed_by(own_mean, mean, (vectors * values) @ vectors.T)


def joined(old, new, rng):
    """At most AT_MOST_HELD_OUT of the rows of two samples, the second None or not."""
    if new is None:
        return old
    rows = np.concatenate([old.X, new.X])
    weight = np.concatenate([old.weight * len(old), new.weight * len(new)])
    keep = rng.permutation(len(rows))[:AT_MOST_HELD_OUT]
    return Sample(rows[keep], weight[keep] / weight[keep].sum())


def stacked(samples):
    """Rows [K, n, d] and weights [K, n]; short samples are filled up with weight 0."""
    n = max(map(len, samples))
    rows = [_filled(np.asarray(s.X), n) for s in samples]
    weights = [np.pad(s.weight, (0, n - len(s))) for s in samples]
    return np.stack(rows), np.stack(weights)


def _filled(rows, n):
    return np.concatenate([rows, np.repeat(rows[:1], n - len(rows), axis=0)])
