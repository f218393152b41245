"""Splits of the rows of one class for training, validation and the score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.held_out import held_out_folds, split_rows
from sk_ncf._samples.sample import RowView, Sample

__all__ = [
    "Splits",
    "held_out_rows",
    "merge_held_out",
    "pad_and_stack",
    "split_samples",
    "training_frames",
]

MAX_HELD_OUT = 4096  # rows of a sample, over all members,
MAX_RATIO = 8  # but at most so many times the rows of the other sample,
MIN_LIMIT = 256  # or this
MIN_HELD_OUT = 32  # rows of a sample that a member holds out,
MAX_FRACTION = 0.25  # but not more than this fraction
MAX_RESERVED = 1024  # rows for the score
RESERVED_FRACTION = 0.05
MIN_RESERVING = 4  # rows that must remain
MIN_DRAWN = 64  # rows drawn from a few rows of unequal weight
MAX_MOMENT_CHANGE = 0.2  # of the standard deviations of training rows, to match moments

Folds = list[Sample | None]  # of every ensemble member; None without rows


class Splits(NamedTuple):
    """The split rows of one class. Folds are None if a stream brought no rows of it.

    Attributes
    ----------
    train : pair of lists of Sample
        Source and target rows that every ensemble member is trained on.
    held_out : pair of lists of Sample
        Source and target rows that every member is validated on.
    score : pair of ndarray
        Rows for the estimator's score, in the original variables.
    all_rows : pair of Sample
        All rows except those reserved for the score.
    """

    train: tuple[Folds, Folds]
    held_out: tuple[Folds, Folds]
    score: tuple[np.ndarray | None, np.ndarray | None]
    all_rows: tuple[Sample | None, Sample | None]


def split_samples(
    source: Sample | None,
    target: Sample | None,
    ensemble_size: int,
    fraction: float | None,
    rng: np.random.RandomState,
) -> Splits:
    """Split the rows of one class.

    Parameters
    ----------
    source, target : Sample or None
    ensemble_size : int
    fraction : float or None
        Fraction of the rows that a member holds out. None: training rows are used for
        validation.
    rng : RandomState
    """
    reserve_rng = np.random.RandomState(0)
    target, target_rows = _reserve(target, reserve_rng)
    source_rows = None
    if ensemble_size > 1:  # no source rows are held out by all members
        source, source_rows = _reserve(source, reserve_rng)
    (source_train, source_test), (target_train, target_test) = (
        _folds(sample, ensemble_size, fraction, _most_held_out(other), rng)
        for sample, other in ((source, target), (target, source))
    )
    source_rows = source_test[0] if source_rows is None else source_rows
    return Splits(
        (source_train, target_train),
        (source_test, target_test),
        (_equally_weighted(source_rows), _equally_weighted(target_rows)),
        (source, target),
    )


def _most_held_out(other: Sample | None) -> int:
    """The number of rows that are held out of a sample at most.

    The smaller sample limits how well two maps can be compared.
    """
    if other is None:
        return MAX_HELD_OUT
    return min(MAX_HELD_OUT, max(MIN_LIMIT, MAX_RATIO * other.n_rows))


def _folds(
    sample: Sample | None,
    ensemble_size: int,
    fraction: float | None,
    at_most: int,
    rng: np.random.RandomState,
) -> tuple[Folds, Folds]:
    """Training rows and held-out rows of every member."""
    if sample is None:
        return [None] * ensemble_size, [None] * ensemble_size
    if fraction is None:
        validation = _validation_rows(sample, at_most, rng)
        return [sample] * ensemble_size, [validation] * ensemble_size
    fraction = max(fraction, min(MIN_HELD_OUT / sample.n_rows, MAX_FRACTION))
    folds = held_out_folds(sample, ensemble_size, fraction, at_most, rng)
    return [train for train, _ in folds], [test for _, test in folds]


def _validation_rows(
    sample: Sample, at_most: int, rng: np.random.RandomState
) -> Sample:
    """All rows, or `at_most` of them; atoms are repeated."""
    if sample.n_rows > at_most:
        return held_out_folds(sample, 1, 1.0, at_most, rng)[0][1]
    return sample.take(np.sort(rng.permutation(len(sample)))).repeated()


def _reserve(
    sample: Sample | None, rng: np.random.RandomState
) -> tuple[Sample | None, Sample | None]:
    """The rows without the reserved ones, and the reserved ones.

    If there are too few rows, both are all rows.
    """
    if sample is None:
        return None, None
    rest, reserved = split_rows(sample, RESERVED_FRACTION, MAX_RESERVED, rng)
    return (
        rest if rest.n_rows >= MIN_RESERVING else sample,
        sample if reserved is None else reserved,
    )


def _equally_weighted(sample: Sample | None) -> np.ndarray | None:
    """Rows in proportion to their weights, about as many as there are."""
    if sample is None:
        return None
    sample = sample.repeated()
    n = min(len(sample), MAX_RESERVED)
    if np.ptp(sample.weight) <= 1e-12:
        if n == len(sample):
            return sample.X[:]
    else:
        n = max(n, MIN_DRAWN)
    return sample.X[sample.quantile_rows(n)]


def held_out_rows(
    splits: Splits, preconditioner: Preconditioner
) -> tuple[Folds, Folds]:
    """Held-out rows of every member in the network's variables, source and target."""
    source, target = splits.held_out
    return (
        _transformed(source, preconditioner.source),
        _transformed(target, preconditioner.target),
    )


def _transformed(folds: Folds, frame: AffineMap) -> Folds:
    return [
        None if f is None else Sample(frame.forward(f.X), f.weight, f.total)
        for f in folds
    ]


def training_frames(
    splits: Splits, preconditioner: Preconditioner
) -> tuple[list[AffineMap], list[AffineMap]]:
    """The changes of variables of the training rows of every member, source and target.

    In the new variables the training rows of every member have the moments of all rows,
    held-out rows included, as the initial map has. The difference is sampling error. If
    training had to learn it, the held-out risk would increase.

    If the moments differ too much, as they can for heavy tails, they are not matched.
    """
    frames = preconditioner.source, preconditioner.target
    source, target = (
        [frame if f is None else _moment_matched(frame, f, full) for f in folds]
        for frame, folds, full in zip(
            frames, splits.train, splits.all_rows, strict=True
        )
    )
    return source, target


def _moment_matched(frame: AffineMap, fold: Sample, full: Sample | None) -> AffineMap:
    """The change of variables, then the Gaussian map from the fold to all rows."""
    if full is None or fold is full or fold.n_rows <= 2 * fold.X.shape[1]:
        return frame
    (mean, cov), (own_mean, own_cov) = (
        frame.moments(*sample.moments) for sample in (full, fold)
    )
    ridge = 1e-6 * (np.trace(cov) / len(cov) or 1.0) * np.eye(len(cov))
    values, vectors = np.linalg.eigh(gaussian_map(own_cov + ridge, cov + ridge))
    if not (np.abs(values - 1) <= MAX_MOMENT_CHANGE).all():
        return frame
    return frame.followed_by(own_mean, mean, (vectors * values) @ vectors.T)


def merge_held_out(
    old: Sample, new: Sample | None, rng: np.random.RandomState
) -> Sample:
    """The held-out rows of two calls of a stream, at most `MAX_HELD_OUT` of them."""
    if new is None:
        return old
    rows = np.concatenate([old.X, new.X])
    weight = np.concatenate([old.weight * old.total, new.weight * new.total])
    keep = rng.permutation(len(rows))[:MAX_HELD_OUT]
    total = weight[keep].sum()
    return Sample(rows[keep], weight[keep] / total, total)


def pad_and_stack(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Rows [K, n, d] and weights [K, n]. Small samples are padded with weight 0."""
    n = max(map(len, samples))
    rows = [_padded(s.X, n) for s in samples]
    weights = [np.pad(s.weight, (0, n - len(s))) for s in samples]
    return np.stack(rows), np.stack(weights)


def _padded(X: np.ndarray | RowView, n: int) -> np.ndarray:
    rows = np.asarray(X)
    return np.concatenate([rows, np.repeat(rows[:1], n - len(rows), axis=0)])
