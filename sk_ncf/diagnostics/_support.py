"""The support of the training rows: a bounded sample, and which rows lie outside."""

from dataclasses import dataclass
from typing import Optional, Protocol

import numpy as np
from scipy.spatial.distance import cdist

from sk_ncf._samples.sample import Sample, is_equal, random_rows

__all__ = ["LEVEL", "Support"]

AT_MOST_KEPT = 256
LEVEL = 0.01  # fraction of rows of the training distribution that counts as outside
ROWS_AT_ONCE = 8192


class ChangeOfVariables(Protocol):
    """From the original variables to those of the network."""

    def forward(self, X: np.ndarray, /) -> np.ndarray:
        """Rows in the new variables, shape (n, d)."""
        ...


@dataclass(frozen=True)
class Support:
    """A sample of the training rows of one domain, in proportion to their weights.

    Every row draws a key from the exponential distribution whose rate is its weight,
    and the rows with the smallest keys are kept. This is a weighted sample without
    replacement that can be extended in a stream (Efraimidis and Spirakis, 2006).

    Attributes
    ----------
    X : ndarray of shape (n, d)
        At most 256 rows.
    key : ndarray of shape (n,)
    n_seen : int
        Number of training rows in all calls.
    """

    X: np.ndarray
    key: np.ndarray
    n_seen: int = 0

    @classmethod
    def of(
        cls, sample: Sample | None, old: Optional["Support"] = None
    ) -> Optional["Support"]:
        """The support of a sample and of the earlier ones; None if there are none."""
        if sample is None:
            return old
        n_seen = 0 if old is None else old.n_seen
        # A generator of its own: the support must not change the results of the fit.
        rng = np.random.RandomState(n_seen % 2**32)
        index, key = _smallest_keys(sample.weight, rng)
        key = key * (len(sample) / sample.total)  # rates in rows, as in earlier calls
        X, n_seen = np.array(sample.X[index]), n_seen + len(sample)
        if old is not None:
            X, key = np.concatenate([old.X, X]), np.concatenate([old.key, key])
            kept = np.argsort(key)[:AT_MOST_KEPT]
            X, key = X[kept], key[kept]
        return cls(X, key, n_seen)

    def out_of_support(self, X: np.ndarray, frame: ChangeOfVariables) -> np.ndarray:
        """Mask of the rows outside the support, shape (n,).

        A row is outside if its distance to the nearest kept row is larger than that of
        99 % of the kept rows. New rows of the training distribution and the kept rows
        are exchangeable. So about 1 % of them are outside, whatever the distribution
        and the dimension (a conformal test: Vovk, Gammerman and Shafer, 2005).
        Distances are in the variables of the network.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        frame : AffineMap
            The change of variables of this domain.
        """
        kept = frame.forward(self.X)
        if len(kept) < 2:
            return np.zeros(len(X), dtype=bool)
        own = cdist(kept, kept)
        np.fill_diagonal(own, np.inf)
        limit = np.quantile(own.min(axis=0), 1 - LEVEL, method="higher")
        parts = [
            cdist(frame.forward(X[start : start + ROWS_AT_ONCE]), kept).min(axis=1)
            for start in range(0, len(X), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts) > limit


def _smallest_keys(
    weight: np.ndarray, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows with the smallest keys, and these keys.

    The smallest keys of n equal weights can be drawn without the others: their
    differences are exponential with rates n, n - 1, ... (Renyi, 1953).
    """
    n = len(weight)
    size = min(n, AT_MOST_KEPT)
    if is_equal(weight):
        steps = rng.standard_exponential(size) / (n - np.arange(size))
        return random_rows(n, size, rng), steps.cumsum()
    key = rng.standard_exponential(n) / (weight * n)
    index = np.argpartition(key, size - 1)[:size]
    return index, key[index]
