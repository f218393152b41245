"""Errors of transport maps, and scorers for a search over their parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sk_ncf._inputs.errors import check_finite, is_number
from sk_ncf._inputs.types import Labels
from sk_ncf._inputs.validation import float_rows
from sk_ncf.diagnostics import MapQualityWarning
from sk_ncf.estimator import NCFTransport

__all__ = [
    "energy_distance",
    "l2_uvp",
    "make_classifier_scorer",
    "neg_energy_distance",
    "neg_estimated_error",
]

CHUNK_SIZE = 1024  # rows whose distances are computed at a time
Scorer = Callable[..., float]


def l2_uvp(
    mapped: ArrayLike, exact: ArrayLike, reference_variance: float | None = None
) -> float:
    r"""Unexplained variance percentage :math:`100 \, E|\hat T - T|^2 / Var(\nu)`.

    It is 0 for the exact map, and 100 for the constant map to the mean (Korotin et al.,
    "Do Neural Optimal Transport Solvers Work?", NeurIPS 2021).

    Parameters
    ----------
    mapped : array-like of shape (n_samples, n_features)
        Rows mapped by an estimator.
    exact : array-like of shape (n_samples, n_features)
        The same rows mapped by the exact map.
    reference_variance : float or None, default=None
        Total variance of the target distribution. If None, the total variance of
        `exact` is used.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    ValueError
        If the shapes differ, or an argument is not valid.
    """
    mapped, exact = float_rows("mapped", mapped), float_rows("exact", exact)
    if mapped.shape != exact.shape:
        raise ValueError(
            f"mapped and exact must have the same shape, got {mapped.shape} and "
            f"{exact.shape}."
        )
    with np.errstate(all="ignore"):
        if reference_variance is None:
            reference_variance = exact.var(axis=0).sum()
        if not is_number(reference_variance, 1e-300, 1e300):
            raise ValueError(
                f"reference_variance must be > 0, got {reference_variance!r}."
            )
        error = np.square(mapped - exact).sum(axis=1).mean()
        return check_finite(float(100 * error / reference_variance), "The error")


def energy_distance(X: ArrayLike, Y: ArrayLike) -> float:
    r"""Squared energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|` of two samples.

    It is 0 for equal distributions. Pairs of a row with itself are left out, so that it
    is unbiased, and can be slightly negative (Szekely and Rizzo, 2013). Every row
    contributes its distance and not its square, so that a single row cannot dominate.
    Features should have similar scales. `scipy.stats.energy_distance` is the square root
    of it, for one feature.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    Y : array-like of shape (m_samples, n_features)

    Returns
    -------
    float
        In the unit of the features.

    Raises
    ------
    ValueError
        If a sample has fewer than two rows, or the numbers of features differ.
    """
    x, y = float_rows("X", X), float_rows("Y", Y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"X and Y must have the same number of features, got {x.shape[1]} and "
            f"{y.shape[1]}."
        )
    if min(len(x), len(y)) < 2:
        raise ValueError(
            f"X and Y must have at least two rows each, got {len(x)} and {len(y)}."
        )
    between = _sum_of_distances(x, y) / (len(x) * len(y))
    within = sum(_sum_of_distances(z, z) / (len(z) * (len(z) - 1)) for z in (x, y))
    return float(2 * between - within)


def neg_energy_distance(estimator: Any, X: ArrayLike, y: Labels | None = None) -> float:
    """Minus the energy distances between mapped rows and the rows they should match.

    A scorer for ``scoring=`` of a search. The rows of X are mapped and compared with
    target rows that the fit reserved, and these are mapped back and compared with X. Unlike
    :meth:`NCFTransport.score`, it can be compared between costs and objectives.

    Parameters
    ----------
    estimator : NCFTransport or Pipeline
        Fitted. Of a pipeline, the last NCFTransport is scored, on rows that the steps
        before it have transformed.
    X : array-like of shape (n_samples, n_features)
        Source rows that were not in the fit.
    y : ignored
        With classes, the classes of the rows are predicted.

    Returns
    -------
    float
        At most about 0, greater is better.
    """
    transport, rows = _fitted_transport(estimator, X)
    reserved = _reserved_target(transport)
    mapped = transport.transform(rows, sample_domain=1)
    back = transport.inverse_transform(reserved)
    return -energy_distance(mapped, reserved) - energy_distance(back, rows)


def neg_estimated_error(estimator: Any, X: ArrayLike, y: Labels | None = None) -> float:
    """Minus the estimated error of the map in percent.

    The error is that of :class:`~sk_ncf.diagnostics.Diagnostics`. A scorer for
    ``scoring=`` of a search, which can be compared between costs. It uses target rows
    that the fit reserved. Takes longer than :func:`neg_energy_distance`.

    Parameters
    ----------
    estimator : NCFTransport or Pipeline
        As in :func:`neg_energy_distance`.
    X : array-like of shape (n_samples, n_features)
        At least 8 source rows that were not in the fit.
    y : ignored

    Returns
    -------
    float
        At most 0, greater is better.
    """
    transport, rows = _fitted_transport(estimator, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapQualityWarning)
        found = transport.diagnostics(rows, n_permutations=1, random_state=0)
    return -found.error


def make_classifier_scorer(classifier: Any) -> Scorer:
    """A scorer: the accuracy of a classifier of the target domain on mapped rows.

    Parameters
    ----------
    classifier : classifier
        Fitted to rows of the target domain (in the variables of the transport).

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)`` for ``scoring=`` of a search. The estimator is an
        NCFTransport or a pipeline (see :func:`neg_energy_distance`), X are source rows
        and y their true classes, which are not used to map them.
    """
    check_is_fitted(classifier)

    def scorer(estimator: Any, X: ArrayLike, y: Labels) -> float:
        transport, rows = _fitted_transport(estimator, X)
        predicted = classifier.predict(transport.transform(rows, sample_domain=1))
        return float(np.mean(predicted == np.asarray(y)))

    return scorer


def _sum_of_distances(x: np.ndarray, y: np.ndarray) -> float:
    starts = range(0, len(x), CHUNK_SIZE)
    return float(sum(cdist(x[s : s + CHUNK_SIZE], y).sum() for s in starts))


def _fitted_transport(estimator: Any, X: ArrayLike) -> tuple[NCFTransport, Any]:
    """The transport of an estimator, and the rows as it gets them."""
    if isinstance(estimator, NCFTransport):
        return estimator, X
    steps = estimator.steps if isinstance(estimator, Pipeline) else []
    places = [i for i, (_, step) in enumerate(steps) if isinstance(step, NCFTransport)]
    if not places:
        raise ValueError(
            f"estimator must be an NCFTransport or a Pipeline with one, got {estimator!r}."
        )
    last = places[-1]
    return steps[last][1], estimator[:last].transform(X) if last else X


def _reserved_target(transport: NCFTransport) -> np.ndarray:
    check_is_fitted(transport)
    return np.concatenate([target for _, target in transport._score_rows])
