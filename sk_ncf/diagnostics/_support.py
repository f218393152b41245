"""Where the rows of a fit were: a bounded sample of them, and what lies outside."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from sk_ncf._samples.sample import is_equal, random_rows

__all__ = ["Support"]

AT_MOST_KEPT = 256
LEVEL = 0.01  # share of the fit's own law that counts as outside
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Support:
    """A sample of the rows of one side of a fit, in proportion to their weights.

    Every row draws a key from the exponential distribution whose rate is its weight,
    and the least keys are kept: a weighted sample without replacement (Efraimidis and
    Spirakis, 2006) that a stream can go on with.

    Attributes
    ----------
    X : ndarray of shape (n, d)
        At most 256 rows.
    key : ndarray of shape (n,)
    n_seen : int
        Rows of all calls.
    """

    X: np.ndarray
    key: np.ndarray
    n_seen: int = 0

    @classmethod
    def of(cls, sample, old=None):
        """The support of a sample and of what came before; None of neither."""
        if sample is None:
            return old
        n_seen = 0 if old is None else old.n_seen
        # Not the generator of the fit, which must not depend on what is kept.
        rng = np.random.RandomState(n_seen % 2**32)
        place, key = _least_keys(sample.weight, rng)
        X, n_seen = np.array(sample.X[place]), n_seen + len(sample)
        if old is not None:
            X, key = np.concatenate([old.X, X]), np.concatenate([old.key, key])
            least = np.argsort(key)[:AT_MOST_KEPT]
            X, key = X[least], key[least]
        return cls(X, key, n_seen)

    def out_of_support(self, X, frame):
        """Mask of the rows that lie outside, shape (n,).

        These are further from all kept rows than the kept rows are from each other, 99
        in 100 of them. Rows of the fit's own law and the kept rows are exchangeable,
        so that about one in 100 of them is outside, whatever the law and the dimension
        (a conformal test: Vovk, Gammerman and Shafer, 2005). Distances are those of the
        network's variables.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        frame : AffineMap
            The change of variables of this side.
        """
        kept = frame.forward(self.X)
        if len(kept) < 2:
            return np.zeros(len(X), dtype=bool)
        own = cdist(kept, kept)
        np.fill_diagonal(own, np.inf)
        limit = np.quantile(own.min(axis=0), 1 - LEVEL, method="higher")
        parts = (
            cdist(frame.forward(X[start : start + ROWS_AT_ONCE]), kept).min(axis=1)
            for start in range(0, len(X), ROWS_AT_ONCE)
        )
        return np.concatenate(list(parts)) > limit


def _least_keys(weight, rng):
    """Places of the rows with the least keys, and these keys.

    Of n equal weights the least keys are known without the others: their differences
    are exponential with rates n, n - 1, ... (Renyi, 1953).
    """
    n = len(weight)
    size = min(n, AT_MOST_KEPT)
    if is_equal(weight):
        steps = rng.standard_exponential(size) / (n - np.arange(size))
        return random_rows(n, size, rng), steps.cumsum()
    key = rng.standard_exponential(n) / (weight * n)
    place = np.argpartition(key, size - 1)[:size]
    return place, key[place]
