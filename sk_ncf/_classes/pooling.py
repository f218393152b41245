r"""Moments of small classes, estimated jointly.

The sample moments of a class with few rows are mostly noise, and wrong pseudo-labels bias
them. So the moments of all small classes are pooled, as in hierarchical models (Gelman
and Hill, 2007, chapter 12). Five candidates, from the identity to one linear map per
class, are compared by the likelihood of held-out target rows.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._flow.moments import Moments
from sk_ncf._flow.shrinkage import oracle_shrinkage
from sk_ncf._samples.outliers import far_rows, weighted_quantile
from sk_ncf._samples.sample import Sample, random_rows, unique_rows

__all__ = ["ClassMoments", "PooledSample", "pooled_moments"]

MAX_ROWS_PER_FEATURE = 10  # a class with fewer rows per feature is small
MIN_TARGET_ROWS = 20  # with fewer no candidate can be selected
N_FOLDS = 5
N_STANDARD_ERRORS = 2.0  # by which a candidate must be better than a simpler one
MAX_OPERATIONS = 2e8  # multiplications in a fold

ClassMoments = tuple[Moments, Moments]  # of source and target


class PooledSample(NamedTuple):
    """Rows of one domain, their weights and classes."""

    X: np.ndarray  # (n, d)
    weight: np.ndarray  # (n,), in rows: the sum is the number of rows
    codes: np.ndarray  # (n,)
    labelled: np.ndarray | None = None  # (n,), False for a pseudo-label


class Candidate(IntEnum):
    """How the classes are mapped, from simple to complex."""

    IDENTITY = 0
    COMMON_SHIFT = 1
    CLASS_SHIFTS = 2
    COMMON_LINEAR_MAP = 3  # and a shift of every class
    CLASS_LINEAR_MAPS = 4


class _Estimates(NamedTuple):
    """Moments of every class of one domain, with features scaled to unit deviations."""

    size: np.ndarray  # (K,) effective number of rows
    mean: np.ndarray  # (K, d)
    cov: np.ndarray  # (K, d, d), shrunk towards the common one
    common: np.ndarray  # (d, d), within-class covariance of all classes


def pooled_moments(
    source: PooledSample, target: PooledSample, n_classes: int
) -> dict[int, ClassMoments]:
    """Moments of source and target of the small classes, which initialize their maps.

    Parameters
    ----------
    source, target : PooledSample
        The target has `labelled`. A row with a pseudo-label counts for every class.
    n_classes : int

    Returns
    -------
    dict
        ((mean, covariance) of the source, of the target) by class. Large classes are
        left out, classes whose source rows are all outliers, and all classes if there
        are too few rows to select a candidate.
    """
    limit = MAX_ROWS_PER_FEATURE * source.X.shape[1]
    counts = [np.bincount(s.codes, s.weight, n_classes) for s in (source, target)]
    small = np.flatnonzero((np.min(counts, axis=0) < limit) & (counts[0] > 0))
    if len(small) < 2 or not counts[1][small].any():
        return {}
    source = _distinct_rows(source, small)
    present, codes = np.unique(source.codes, return_inverse=True)
    source, small = source._replace(codes=codes), small[present]
    if not counts[1][small].any():
        return {}
    target = _distinct_rows(target, small)
    if len(target.X) < MIN_TARGET_ROWS:
        return {}
    scale = _feature_scales(source, target, len(small))
    if scale is None:
        return {}
    source, target = (s._replace(X=s.X / scale) for s in (source, target))
    candidate = _select_candidate(source, target, len(small))
    x, y = _estimates(source, len(small)), _estimates(target, len(small))
    outer = np.outer(scale, scale)
    return {
        int(k): (
            (mean_x * scale, cov_x * outer),
            (mean_y * scale, cov_y * outer),
        )
        for k, (mean_x, cov_x), (mean_y, cov_y) in zip(
            small, *_candidate_moments(x, y, candidate), strict=True
        )
    }


def _distinct_rows(sample: PooledSample, small: np.ndarray) -> PooledSample:
    """Distinct rows of the small classes in lexicographic order, classes renumbered.

    A weight of two is then the same as a row given twice. Outliers are left out, as
    seen from the medians of their classes.
    """
    mine = np.isin(sample.codes, small)
    columns = [sample.codes[mine]]
    if sample.labelled is not None:
        columns.append(sample.labelled[mine])
    table = np.column_stack([sample.X[mine], *columns]).astype(np.float64)
    distinct = unique_rows(table, sample.weight[mine])
    d, rows = sample.X.shape[1], np.asarray(distinct.X)
    codes = np.searchsorted(small, rows[:, d])
    deviations = _deviations_from_medians(rows[:, :d], distinct.weight, codes)
    near = ~far_rows(deviations, distinct.weight, distinct.effective_size)
    labelled = None if sample.labelled is None else rows[near, d + 1] > 0
    weight = distinct.weight[near] * distinct.total
    return PooledSample(rows[near, :d], weight, codes[near], labelled)


def _deviations_from_medians(
    X: np.ndarray, weight: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Deviations of the rows from the medians of their classes."""
    out = X.copy()
    for k in np.unique(codes):
        mine = codes == k
        for column in out.T:
            column[mine] -= weighted_quantile(column[mine], weight[mine], [0.5])
    return out


def _feature_scales(
    source: PooledSample, target: PooledSample, n_classes: int
) -> np.ndarray | None:
    """Standard deviations within classes, (d,); None if a domain has none at all."""
    variances = [
        _within_covariance(s, _class_means(s, n_classes)).diagonal()
        for s in (source, target)
    ]
    if min(v.sum() for v in variances) <= 0:
        return None
    scale = np.sqrt(np.mean(variances, axis=0))
    return np.where(scale > 0, scale, scale.max())


def _within_covariance(sample: PooledSample, mean: np.ndarray) -> np.ndarray:
    """Covariance (d, d) of the deviations from the class means."""
    centred = sample.X - mean[sample.codes]
    return centred.T @ (sample.weight[:, None] / sample.weight.sum() * centred)


def _class_means(sample: PooledSample, n_classes: int) -> np.ndarray:
    total = np.bincount(sample.codes, sample.weight, n_classes)
    sums = np.zeros((n_classes, sample.X.shape[1]))
    np.add.at(sums, sample.codes, sample.weight[:, None] * sample.X)
    return sums / np.maximum(total, np.finfo(float).tiny)[:, None]


def _effective_sizes(sample: PooledSample, n_classes: int) -> np.ndarray:
    sizes = np.zeros(n_classes)
    for k in np.unique(sample.codes):
        of_class = sample.codes == k
        weight = sample.weight[of_class]
        distinct = Sample(sample.X[of_class], weight / weight.sum(), weight.sum())
        sizes[k] = distinct.effective_size
    return sizes


def _estimates(sample: PooledSample, n_classes: int) -> _Estimates:
    """Moments of every class; the common covariance has the weight of d rows."""
    d, size = sample.X.shape[1], _effective_sizes(sample, n_classes)
    mean = _class_means(sample, n_classes)
    common = oracle_shrinkage(_within_covariance(sample, mean), size.sum())
    cov = np.repeat(d * common[None], n_classes, axis=0)
    for k in np.flatnonzero(size):
        of_class = sample.codes == k
        centred, weight = sample.X[of_class] - mean[k], sample.weight[of_class]
        cov[k] += size[k] * centred.T @ (weight[:, None] / weight.sum() * centred)
    return _Estimates(size, mean, cov / (size + d)[:, None, None], common)


def _candidate_moments(
    x: _Estimates, y: _Estimates, candidate: int
) -> tuple[list[Moments], list[Moments]]:
    """Moments of every class, source and target, whose Gaussian map is the candidate."""
    shift, common_shift = _mean_shifts(x, y)
    if candidate < Candidate.CLASS_SHIFTS:
        none = candidate == Candidate.IDENTITY
        shift = np.broadcast_to(0.0 if none else common_shift, shift.shape)
    cov_x, cov_y = x.cov, x.cov
    if candidate == Candidate.COMMON_LINEAR_MAP:
        cov_x = np.broadcast_to(x.common, x.cov.shape)
        cov_y = np.broadcast_to(y.common, y.cov.shape)
    elif candidate == Candidate.CLASS_LINEAR_MAPS:
        cov_y = y.cov
    target_mean = x.mean + shift
    return (
        list(zip(x.mean, cov_x, strict=True)),
        list(zip(target_mean, cov_y, strict=True)),
    )


def _mean_shifts(x: _Estimates, y: _Estimates) -> tuple[np.ndarray, np.ndarray]:
    r"""Shift of the mean of every class (K, d), and their common shift (d,).

    The difference to the common shift is shrunk by :math:`(1 - s^2 / q^2)_+`. Here q is
    its length in units of the deviations within classes, and s is the length expected
    from noise alone (James and Stein, 1961).
    """
    d = x.mean.shape[1]
    own = y.mean - x.mean
    common = y.size @ own / y.size.sum()
    own = np.where(y.size[:, None] > 0, own - common, 0.0)
    length = np.einsum(
        "ki,ki->k", own, np.linalg.solve((x.common + y.common) / 2, own.T).T
    )
    noise = d * (1 / x.size + 1 / np.maximum(y.size, 1))
    factor = 1 - noise / np.maximum(length, noise)
    return common + factor[:, None] * own, common


def _select_candidate(
    source: PooledSample, target: PooledSample, n_classes: int
) -> int:
    """The simplest candidate within two standard errors of the best one."""
    scores = _cross_validated_scores(source, target, n_classes)
    scored = ~np.isnan(scores[0])
    weight = target.weight[scored] / target.weight[scored].sum()
    scores = scores[:, scored]
    behind = (scores @ weight).max() - scores @ weight
    lead = scores[behind.argmin()] - scores
    error = np.sqrt(np.square(weight * (lead - behind[:, None])).sum(1))
    return int(np.argmax(behind <= N_STANDARD_ERRORS * error))


def _cross_validated_scores(
    source: PooledSample, target: PooledSample, n_classes: int
) -> np.ndarray:
    """Held-out log-likelihood of every target row, (n_candidates, n); some are nan."""
    assert target.labelled is not None
    rng, n = np.random.RandomState(0), len(target.X)
    fold = rng.permutation(n) % N_FOLDS
    x = _estimates(source, n_classes)
    scores = np.full((len(Candidate), n), np.nan)
    at_most = max(50, int(MAX_OPERATIONS / (n_classes * target.X.shape[1] ** 2)))
    for f in range(N_FOLDS):
        train, test = fold != f, np.flatnonzero(fold == f)
        test = test[random_rows(len(test), at_most, rng)]
        part = (target.X[train], target.weight[train], target.codes[train])
        y = _estimates(PooledSample(*part), n_classes)
        for candidate in Candidate:
            likelihood = _log_likelihood(target.X[test], x, y, candidate)
            scores[candidate, test] = np.where(
                target.labelled[test],
                likelihood[np.arange(len(test)), target.codes[test]],
                logsumexp(likelihood, axis=1),
            )
    return scores


def _log_likelihood(
    X: np.ndarray, x: _Estimates, y: _Estimates, candidate: int
) -> np.ndarray:
    """Log of the class prior times the density of rows in the mapped class, (n, K)."""
    means, covariances = zip(*_candidate_moments(x, y, candidate)[1], strict=True)
    if candidate == Candidate.COMMON_LINEAR_MAP:  # applied to the class's covariance
        matrix = gaussian_map(x.common, y.common)
        covariances = matrix @ x.cov @ matrix
    prior = np.log((y.size + 1) / (y.size + 1).sum())
    out = np.empty((len(X), len(prior)))
    for k, root in enumerate(np.linalg.cholesky(np.asarray(covariances))):
        z = solve_triangular(root, (X - means[k]).T, lower=True)
        out[:, k] = prior[k] - np.square(z).sum(0) / 2 - np.log(root.diagonal()).sum()
    return out
