"""The rows of a sample that a fit leaves out: outliers, and codes of missing values."""

from typing import NamedTuple, Protocol

import numpy as np

from sk_ncf._flow.moments import effective_size
from sk_ncf._samples.missing_codes import MAX_SHARE, coded_rows
from sk_ncf._samples.outliers import far_rows
from sk_ncf._samples.sample import RowView, Sample

__all__ = ["Outliers", "without_far_rows"]

CLEAN_ROW = 5.0  # standard deviations of the farthest row of a clean sample


class EarlierRows(Protocol):
    """The subsample of earlier rows in a :class:`~sk_ncf.diagnostics._support.Support`."""

    @property
    def X(self) -> np.ndarray:
        """Some of the rows."""
        ...

    @property
    def n_seen(self) -> int:
        """Number of all rows."""
        ...


class Outliers(NamedTuple):
    """The outliers that were left out of a sample."""

    n: int  # distinct rows
    variance_share: float  # largest share that they would have in a feature's variance


def without_far_rows(
    sample: Sample, support: EarlierRows | None = None
) -> tuple[Sample, Outliers]:
    """The sample without outliers, and how many they are and how much they matter.

    Parameters
    ----------
    sample : Sample
    support : Support, default=None
        Rows of the earlier calls of a stream, which the sample is compared with too.
    """
    X: np.ndarray | RowView = sample.X
    weight = sample.weight
    if support is None:
        far = _far_or_coded(X, weight, sample.effective_size)
    else:
        earlier = np.full(len(support.X), 1 / len(support.X))
        share = support.n_seen / (support.n_seen + len(sample))
        X = np.concatenate([X[:], support.X])
        weight = np.concatenate([(1 - share) * weight, share * earlier])
        far = _far_or_coded(X, weight, effective_size(weight))[: len(sample)]
    if far.all() or not far.any():
        return sample, Outliers(0, 0.0)
    rest = sample.take(~far)
    return rest, Outliers(int(far.sum()), _variance_share(sample, far, rest))


def _far_or_coded(
    X: np.ndarray | RowView, weight: np.ndarray, n_rows: float
) -> np.ndarray:
    """Mask of the outliers and of the rows with codes of missing values.

    Either can hide the other, and a code a second one that is nearer, so the codes are
    searched for again in the rest.
    """
    left_out, most, total = np.zeros(len(X), dtype=bool), MAX_SHARE, weight.sum()
    for _ in range(2):
        coded = coded_rows(*_rest(X, weight, left_out), most)
        if left_out.any() and not coded.any():
            break
        left_out[~left_out] = coded
        rows, share = _rest(X, weight, left_out)
        far = far_rows(rows, share, n_rows * share.sum() / total)
        left_out[~left_out] = far
        if not (far.any() or coded.any()):
            break
        most = 1 - (1 - MAX_SHARE) * total / weight[~left_out].sum()
    return left_out


def _rest(
    X: np.ndarray | RowView, weight: np.ndarray, left_out: np.ndarray
) -> tuple[np.ndarray | RowView, np.ndarray]:
    """The other rows and their weights."""
    if not left_out.any():
        return X, weight
    index = np.flatnonzero(~left_out)
    if isinstance(X, RowView):
        return RowView(X.base, X.index[index]), weight[index]
    return RowView(X, index), weight[index]


def _variance_share(sample: Sample, far: np.ndarray, rest: Sample) -> float:
    """Largest share of the outliers in the second moment of a feature about the mean.

    0 if it is not more than that of a row at five standard deviations, which a sample of
    few rows may have without an error in the data.
    """
    mean, cov = rest.moments
    weight = np.asarray(sample.weight)[far]
    deviation = np.asarray(sample.X[np.flatnonzero(far)], dtype=np.float64) - mean
    with np.errstate(over="ignore"):
        own = np.minimum(weight @ np.square(deviation), np.finfo(float).max / 4)
    others = (1 - weight.sum()) * cov.diagonal()
    total = own + others
    share = float((own[total > 0] / total[total > 0]).max(initial=0.0))
    return share if share > min(0.5, CLEAN_ROW**2 / sample.n_rows) else 0.0
