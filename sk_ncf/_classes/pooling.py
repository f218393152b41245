r"""Moments of small classes, pooled with each other as far as their rows call for it.

A class of few rows whose moments are taken at their word is moved by the noise of those
rows, and rows under a wrong name are moved to where that name would put them. Partial
pooling, as in hierarchical models (Gelman and Hill, 2007, chapter 12): all small classes
stay, move together, or move apart, whichever predicts target rows held out from it.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._flow.moments import effective_size
from sk_ncf._flow.shrinkage import oracle_shrinkage
from sk_ncf._samples.outliers import far_rows, weighted_quantile
from sk_ncf._samples.sample import random_rows, unique_rows

__all__ = ["pooled_moments"]

SMALL = 10  # rows per feature of the smaller side, below which moments are pooled
FEWEST = 20  # target rows that tell anything about a choice
N_FOLDS = 5
N_PLANS = 5  # stay, shift together, shift apart, common matrix, matrix of every class
DOUBT = 2.0  # standard errors that a plan must be better by than a simpler one
AT_MOST = 2e8  # multiplications of a fold


class Moments(NamedTuple):
    """Of every class of one side, in units of the pooled deviations within classes."""

    size: np.ndarray  # (K,) effective rows
    mean: np.ndarray  # (K, d)
    cov: np.ndarray  # (K, d, d), shrunk towards the common one
    common: np.ndarray  # (d, d)


def pooled_moments(source, target, n_classes):
    """Moments of both sides of the small classes, from which their maps start.

    Parameters
    ----------
    source, target : tuple of arrays
        Rows (n, d), their weights (n,), classes (n,) by number and, of the target,
        whether the class was given (n,): a row that was named counts with every class.
    n_classes : int

    Returns
    -------
    dict
        ((mean, covariance) of the source, of the target) by class; large classes, and
        all where the rows are too few to tell, are left out.
    """
    limit = SMALL * source[0].shape[1]
    counts = [np.bincount(side[2], minlength=n_classes) for side in (source, target)]
    few = np.flatnonzero((np.min(counts, axis=0) < limit) & (counts[0] > 0))
    if len(few) < 2:
        return {}
    source, target = (_canonical(side, few) for side in (source, target))
    if len(target[0]) < FEWEST:
        return {}
    unit = _units(source, target, len(few))
    if unit is None:
        return {}
    source, target = ((rows / unit, *rest) for rows, *rest in (source, target))
    plan = _chosen_plan(source, target, len(few))
    x, y = (_moments(side, len(few)) for side in (source, target))
    outer = np.outer(unit, unit)
    return {
        k: tuple((mean * unit, cov * outer) for mean, cov in sides)
        for k, sides in zip(few, zip(*_planned(x, y, plan), strict=True), strict=True)
    }


def _sizes(side, n_classes):
    return np.array(
        [_size(side[1][side[2] == k]) for k in range(n_classes)], dtype=np.float64
    )


def _size(weight):
    return effective_size(weight) if len(weight) else 0.0


def _canonical(side, few):
    """Distinct rows of the small classes, in an order of their own, classes renumbered.

    So that a weight of two is the same as a row given twice. Without those that lie far
    outside the rest, as seen from the medians of their classes.
    """
    rows, weight, *codes = side
    mine = np.isin(codes[0], few)
    table = np.column_stack([rows[mine], *(c[mine] for c in codes)])
    distinct = unique_rows(table.astype(np.float64), weight[mine])
    d, table = rows.shape[1], np.asarray(distinct.X)
    codes = [np.searchsorted(few, table[:, d]), *table[:, d + 1 :].T]
    deviations = _from_medians(table[:, :d], distinct.weight, codes[0])
    near = ~far_rows(deviations, distinct.weight)
    return table[near, :d], distinct.weight[near], *(c[near] for c in codes)


def _from_medians(X, weight, codes):
    """Deviations of the rows from the medians of their classes."""
    out = X.copy()
    for k in np.unique(codes):
        mine = codes == k
        for column in out.T:
            column[mine] -= weighted_quantile(column[mine], weight[mine], [0.5])
    return out


def _units(source, target, n_classes):
    """Pooled deviations within classes, (d,); None where one side has none at all."""
    variances = [_within(*side[:3], n_classes).diagonal() for side in (source, target)]
    if min(v.sum() for v in variances) <= 0:
        return None
    unit = np.sqrt(np.mean(variances, axis=0))
    return np.where(unit > 0, unit, unit.max())


def _within(X, weight, codes, n_classes):
    """Pooled covariance (d, d) of the deviations from the class means."""
    mean = _means(X, weight, codes, n_classes)
    centred = X - mean[codes]
    return centred.T @ (weight[:, None] / weight.sum() * centred)


def _means(X, weight, codes, n_classes):
    total = np.bincount(codes, weight, n_classes)
    sums = np.zeros((n_classes, X.shape[1]))
    np.add.at(sums, codes, weight[:, None] * X)
    return sums / np.maximum(total, np.finfo(float).tiny)[:, None]


def _moments(side, n_classes):
    """Moments of every class; a class counts as much as d rows of the common law."""
    X, weight, codes = side[:3]
    d, size = X.shape[1], _sizes(side, n_classes)
    mean = _means(X, weight, codes, n_classes)
    common = oracle_shrinkage(_within(X, weight, codes, n_classes), size.sum())
    cov = np.repeat(d * common[None], n_classes, axis=0)
    for k in np.flatnonzero(size):
        centred, share = X[codes == k] - mean[k], weight[codes == k]
        cov[k] += size[k] * centred.T @ (share[:, None] / share.sum() * centred)
    return Moments(size, mean, cov / (size + d)[:, None, None], common)


def _planned(x, y, plan):
    """(mean, covariance) of every class, source and target, as far as a plan goes."""
    shift, together = _shifts(x, y)
    if plan < 2:
        shift = np.broadcast_to(together if plan else 0.0, shift.shape)
    stay = (x.cov, x.cov)
    covariances = (stay, stay, stay, (_all(x), _all(y)), (x.cov, y.cov))[plan]
    means = x.mean, x.mean + shift
    return [list(zip(*s, strict=True)) for s in zip(means, covariances, strict=True)]


def _all(side):
    return np.broadcast_to(side.common, side.cov.shape)


def _shifts(x, y):
    r"""Shift of every class (K, d), and the common one (d,).

    What is a class's own is shrunk by :math:`(1 - s^2 / q^2)_+`, q its length in units
    of the deviations within classes and s what it would be by noise alone (James and
    Stein, 1961).
    """
    d = x.mean.shape[1]
    own = y.mean - x.mean
    together = y.size @ own / y.size.sum()
    own = np.where(y.size[:, None] > 0, own - together, 0.0)
    length = np.einsum(
        "ki,ki->k", own, np.linalg.solve((x.common + y.common) / 2, own.T).T
    )
    noise = d * (1 / x.size + 1 / np.maximum(y.size, 1))
    share = 1 - noise / np.maximum(length, noise)
    return together + share[:, None] * own, together


def _chosen_plan(source, target, n_classes):
    """The simplest plan that is not worse than the best one beyond doubt."""
    rng = np.random.RandomState(0)
    X, weight, codes, known = target
    fold = rng.permutation(len(X)) % N_FOLDS
    x = _moments(source, n_classes)
    scores = np.full((N_PLANS, len(X)), np.nan)
    at_most = max(50, int(AT_MOST / (n_classes * X.shape[1] ** 2)))
    for f in range(N_FOLDS):
        train, test = fold != f, np.flatnonzero(fold == f)
        test = test[random_rows(len(test), at_most, rng)]
        y = _moments((X[train], weight[train], codes[train]), n_classes)
        for plan in range(N_PLANS):
            likelihood = _likelihood(X[test], x, y, plan)
            scores[plan, test] = np.where(
                known[test] > 0,
                likelihood[np.arange(len(test)), codes[test]],
                logsumexp(likelihood, axis=1),
            )
    judged = ~np.isnan(scores[0])
    scores, weight = scores[:, judged], weight[judged] / weight[judged].sum()
    behind = (scores @ weight).max() - scores @ weight
    lead = scores[behind.argmin()] - scores
    doubt = np.sqrt(np.square(weight * (lead - behind[:, None])).sum(1))
    return int(np.argmax(behind <= DOUBT * doubt))


def _likelihood(X, x, y, plan):
    """Log of class share times density of rows under the moved source, (n, K)."""
    means, covariances = zip(*_planned(x, y, plan)[1], strict=True)
    if plan == 3:  # the common matrix moves the class's own covariance
        matrix = gaussian_map(x.common, y.common)
        covariances = matrix @ x.cov @ matrix
    share = np.log((y.size + 1) / (y.size + 1).sum())
    out = np.empty((len(X), len(share)))
    for k, root in enumerate(np.linalg.cholesky(np.asarray(covariances))):
        z = solve_triangular(root, (X - means[k]).T, lower=True)
        out[:, k] = share[k] - np.square(z).sum(0) / 2 - np.log(root.diagonal()).sum()
    return out
