"""The methods of NCFTransport that evaluate a fitted map."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from sk_ncf._flow.fork_safety import one_thread_after_fork
from sk_ncf._flow.transport_map import TransportMap, discrete_dual_lower_bound
from sk_ncf._inputs.types import Classifier, Labels, Seed
from sk_ncf._inputs.validation import (
    check_y,
    checked_rows,
    checked_target,
    checked_weight,
    select_rows,
    source_mask,
)
from sk_ncf._inputs.warn import warn
from sk_ncf.costs import Cost
from sk_ncf.diagnostics._compute import SupportPair, diagnose
from sk_ncf.diagnostics._evaluation_sample import EvaluationSample
from sk_ncf.diagnostics._report import Diagnostics, MapQualityWarning

__all__ = ["DiagnosticsMixin"]


class Session(Protocol):
    """What the diagnostics need from the training session of a fit."""

    @property
    def supports(self) -> list[SupportPair]:
        """Subsamples of the rows of both samples of every class."""


class DiagnosticsMixin:
    """Score, dual potentials, costs and diagnostics of a fitted transport map."""

    # Set by NCFTransport.
    default_domain: Literal["source", "target"]
    class_conditional: bool | Literal["per_class", "shared"]
    classifier: Classifier | None
    n_features_in_: int
    classes_: np.ndarray
    cost_: Cost
    # Source and target rows of every class, reserved by the fit.
    _score_rows: list[tuple[np.ndarray, np.ndarray]]
    _session: Session
    _transport_map: Callable[[], TransportMap]
    _maps_per_class: Callable[[], bool]
    _codes: Callable[..., Any]  # class indices of rows, None if there is one map

    @one_thread_after_fork()
    def score(
        self,
        X: ArrayLike,
        y: Labels | None = None,
        *,
        X_target: ArrayLike | None = None,
        sample_domain: ArrayLike | None = None,
    ) -> float:
        r"""Minus the held-out semi-dual risk, in the units of the cost.

        .. math:: -J = E_y \min_x [u(x, 0) + c(x, y)] - E_x u(x, 0)

        Greater is better. Scores are comparable between fits with the same cost only.
        The score estimates the optimal transport cost from below, and is exact for the
        optimal potential.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not in the fit. Rows of the target domain are used like those
            of X_target.
        y : array-like of shape (n_samples,), default=None
            Class labels of the source rows of X, for
            ``class_conditional="per_class"`` (ignored otherwise). Missing labels are
            predicted.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows that were not in the fit. If None, target rows that the fit
            reserved are used.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target. If None, all rows are of
            `default_domain`, or source rows if `X_target` is given.

        Returns
        -------
        score : float
            In the units of the cost. With ``class_conditional="per_class"``, the mean
            over the source rows of the score of their class.
        """
        check_is_fitted(self)
        check_y(X, y)
        source, target, mask = self._samples_to_score(X, X_target, sample_domain)
        fitted = self._transport_map()
        if not self._maps_per_class():
            kept_source, kept_target = zip(*self._score_rows, strict=True)
            source = source if len(source) else np.concatenate(kept_source)
            target = target if len(target) else np.concatenate(kept_target)
            return fitted.held_out_dual(source, target)
        label = None if y is None or not mask.any() else y
        codes = self._codes(source, label, mask, name="y")
        target_codes = self._codes(target, None, source=False)
        return self._score_of_classes(fitted, source, codes, target, target_codes)

    def _samples_to_score(
        self,
        X: ArrayLike,
        X_target: ArrayLike | None,
        sample_domain: ArrayLike | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source rows, target rows, and the mask of the source rows in X."""
        rows = checked_rows(self, X)
        if X_target is not None and sample_domain is None:
            sample_domain = 1
        mask = source_mask(sample_domain, len(rows), self.default_domain)
        source, target = select_rows(rows, mask), select_rows(rows, ~mask)
        if X_target is not None:
            target = np.concatenate([target, checked_target(self, X_target)])
        return source, target, mask

    def _score_of_classes(
        self,
        fitted: TransportMap,
        source: np.ndarray,
        codes: np.ndarray,
        target: np.ndarray,
        target_codes: np.ndarray,
    ) -> float:
        """The scores of the classes, weighted by their source rows."""
        n_rows = np.bincount(codes, minlength=len(self.classes_))
        if not len(source):
            n_rows = np.array([len(kept) for kept, _ in self._score_rows])
        scores = []
        for k, (kept_source, kept_target) in enumerate(self._score_rows):
            x, y = source[codes == k], target[target_codes == k]
            x, y = x if len(x) else kept_source, y if len(y) else kept_target
            scores.append(fitted.held_out_dual(x, y, k) if n_rows[k] else 0.0)
        return float(np.average(scores, weights=n_rows))

    @one_thread_after_fork()
    def dual_potentials(
        self,
        X: ArrayLike,
        *,
        X_target: ArrayLike,
        y: Labels | None = None,
        y_target: Labels | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Kantorovich potentials :math:`f = -u(\cdot, 0)`, :math:`g = u(\cdot, 1)`.

        For the exact potential, f(x) + g(y) <= c(x, y), with equality for y = T(x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.
        y : label or array-like of shape (n_samples,), default=None
            Class labels of the rows of X, for ``class_conditional="per_class"``
            (ignored otherwise). Missing labels are predicted.
        y_target : label or array-like of shape (n_target_samples,), default=None
            Class labels of the rows of X_target, likewise.

        Returns
        -------
        f : ndarray of shape (n_samples,)
            In the units of the cost.
        g : ndarray of shape (n_target_samples,)
            In the units of the cost.
        """
        check_is_fitted(self)
        source, target = checked_rows(self, X), checked_target(self, X_target)
        fitted = self._transport_map()
        codes = self._codes(source, y, name="y")
        target_codes = self._codes(target, y_target, source=False, name="y_target")
        f = -fitted.source_potential(source, codes)
        return f, fitted.target_potential(target, target_codes)

    @one_thread_after_fork()
    def transport_cost(self, X: ArrayLike, *, y: Labels | None = None) -> float:
        """Mean cost E c(x, T(x)) of mapping the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : label or array-like of shape (n_samples,), default=None
            Class labels of the rows, for ``class_conditional="per_class"`` (ignored
            otherwise). Missing labels are predicted.

        Returns
        -------
        cost : float
            In the units of the cost.
        """
        check_is_fitted(self)
        rows = checked_rows(self, X).astype(np.float64, copy=False)
        fitted = self._transport_map()
        mapped = fitted.forward(rows, self._codes(rows, y, name="y"))
        return float(fitted.cost(rows, mapped).mean())

    @one_thread_after_fork()
    def dual_lower_bound(
        self,
        X: ArrayLike,
        *,
        X_target: ArrayLike,
        y: Labels | None = None,
        y_target: Labels | None = None,
    ) -> float:
        """A certified lower bound of the optimal transport cost between these rows.

        The fitted potential is made feasible by two c-transforms over the rows. So the
        bound is never above the exact cost of the discrete problem with equal row
        weights, however good or bad the fit is. The plans of that problem may map a row
        to any class. The time is proportional to the number of pairs of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.
        y : label or array-like of shape (n_samples,), default=None
            Class labels of the rows of X, for ``class_conditional="per_class"``
            (ignored otherwise). Missing labels are predicted. The bound starts from the
            potential of the class of each row.
        y_target : label or array-like of shape (n_target_samples,), default=None
            Class labels of the rows of X_target, likewise. They are validated, but the
            bound does not depend on them.

        Returns
        -------
        bound : float
            In the units of the cost.
        """
        f, _ = self.dual_potentials(X, X_target=X_target, y=y, y_target=y_target)
        source, target = checked_rows(self, X), checked_target(self, X_target)
        return discrete_dual_lower_bound(self.cost_, source, target, f)

    def diagnostics(
        self,
        X: ArrayLike,
        *,
        X_target: ArrayLike | None = None,
        y: Labels | None = None,
        y_target: Labels | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
        n_permutations: int = 199,
        random_state: Seed = None,
    ) -> Diagnostics:
        """Evaluate the map on rows that were not in the fit, and whether to trust it.

        At most 1,024 source rows are used, and equally many target rows. With
        ``class_conditional="per_class"`` every class is evaluated separately, and the
        mean over the source rows is returned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows that were not in the fit.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows that were not in the fit. If None, target rows that the fit
            reserved are used.
        y, y_target
            As in :meth:`dual_potentials`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0. Rows are drawn in proportion to them.
        target_weight : array-like of shape (n_target_samples,), default=None
            Weights of the rows of X_target, >= 0.
        n_permutations : int, default=199
            Number of permutations of the two-sample test. The smallest possible p-value
            is 1 / (n_permutations + 1).
        random_state : int, RandomState instance or None, default=None
            Seed for drawing rows and for the permutations. None draws the seed from
            NumPy's global generator.

        Returns
        -------
        diagnostics : Diagnostics
            Printed, it is a table with a verdict.

        Raises
        ------
        ValueError
            If no class has 8 source rows and 8 target rows, or if an argument is not
            valid.

        Warns
        -----
        MapQualityWarning
            If the map should not be trusted on these rows.
        """
        check_is_fitted(self)
        check_scalar(n_permutations, "n_permutations", Integral, min_val=1)
        source = checked_rows(self, X)
        codes = self._codes(source, y, name="y")
        source_sample = _weighted(source, codes, "sample_weight", sample_weight)
        if X_target is None:
            target_sample = self._reserved_target(y_target, target_weight)
        else:
            target = checked_target(self, X_target)
            codes = self._codes(target, y_target, source=False, name="y_target")
            target_sample = _weighted(target, codes, "target_weight", target_weight)
        found = diagnose(
            self._transport_map(),
            source_sample,
            target_sample,
            self._session.supports,
            check_random_state(random_state),
            n_permutations,
            getattr(self, "weight_to_split_", 0.0),  # older files have none
        )
        if not found.trusted:
            warn(found.verdict, MapQualityWarning)
        return found

    def _reserved_target(
        self, y_target: Labels | None, target_weight: ArrayLike | None
    ) -> EvaluationSample:
        """The target rows that the fit reserved."""
        for name, value in (("y_target", y_target), ("target_weight", target_weight)):
            if value is not None:
                raise ValueError(
                    f"{name} belongs to the rows of X_target, which is None."
                )
        kept = [target for _, target in self._score_rows]
        codes = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
        per_class = self._maps_per_class()
        return EvaluationSample(
            np.concatenate(kept), codes if per_class else None, None
        )


def _weighted(
    rows: np.ndarray, codes: np.ndarray | None, name: str, weight: ArrayLike | None
) -> EvaluationSample:
    """Rows with their checked weights."""
    if weight is None:
        return EvaluationSample(rows, codes, None)
    return EvaluationSample(rows, codes, checked_weight(name, weight, len(rows)))
