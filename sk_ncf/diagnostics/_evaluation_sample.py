"""The rows on which a map is evaluated."""

from typing import NamedTuple

import numpy as np

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._samples.atoms import REPORTED_SHARE
from sk_ncf._samples.sample import random_rows

__all__ = [
    "MAX_ROWS",
    "MIN_ROWS",
    "EvaluationSample",
    "equally_many",
    "without_outliers",
]

MAX_ROWS = 1024  # of a sample, all classes together
MAX_ROWS_OF_CLASS = 64  # of a class, if that is more than its part of MAX_ROWS
MAX_OUTLIERS = 0.05  # of the rows; if more are far, they are evaluated too
MIN_ROWS = 8  # of a class in a sample; classes with fewer rows are left out


class EvaluationSample(NamedTuple):
    """Source or target rows that were not in the fit."""

    X: np.ndarray  # (n, d)
    codes: np.ndarray | None  # (n,), classes
    weight: np.ndarray | None  # (n,)

    def of_class(self, k: int | None) -> "EvaluationSample":
        """The rows of class k; all rows if there are no classes."""
        if k is None or self.codes is None:
            return self
        mask = self.codes == k
        weight = None if self.weight is None else self.weight[mask]
        return EvaluationSample(self.X[mask], self.codes[mask], weight)


def without_outliers(
    sample: EvaluationSample, frame: AffineMap
) -> tuple[EvaluationSample, int]:
    """The rows that are not far outside the training rows, and how many are far.

    If many are far, they are kept.
    """
    if not len(sample.X):
        return sample, 0
    far = frame.is_far(sample.X)
    if not far.any() or far.mean() > MAX_OUTLIERS:
        return sample, int(far.sum())
    X, codes, weight = (None if part is None else part[~far] for part in sample)
    assert X is not None
    return EvaluationSample(X, codes, weight), int(far.sum())


def equally_many(
    samples: tuple[EvaluationSample, EvaluationSample],
    at_most: int,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Random rows of both samples, an equal and even number; None if there are too few.

    Rows of unequal weight are thinned: each is kept in proportion to its weight, and
    none is drawn twice. The rest are independent rows of the weighted distribution,
    which a permutation test needs. Only rows with more than a twentieth of the weight
    are repeated, as often as they would be in a sample without weights.
    """
    kept = []
    for X, _, weight in samples:
        if weight is not None and not weight.any():  # of one class
            X = X[:0]
        elif weight is not None:
            light = weight[weight <= REPORTED_SHARE * weight.sum()]
            unit = light.max() if light.any() else weight.mean()
            times = np.floor(weight / unit + rng.uniform(size=len(X)))
            X = np.repeat(X, np.minimum(times, MAX_ROWS).astype(int), axis=0)
        kept.append(X)
    n = min(*map(len, kept), max(at_most, MAX_ROWS_OF_CLASS)) // 2 * 2
    if n < MIN_ROWS:
        return None
    source, target = (X[random_rows(len(X), n, rng)].astype(np.float64) for X in kept)
    return source, target
