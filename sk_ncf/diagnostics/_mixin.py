"""The methods of NCFTransport that evaluate a fitted map."""

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from sk_ncf._flow.fork_safety import one_thread_after_fork
from sk_ncf._flow.transport_map import discrete_dual_lower_bound
from sk_ncf._inputs.types import Labels, Seed
from sk_ncf._inputs.validation import (
    checked_rows,
    checked_target,
    checked_weight,
    rows_where,
    source_rows,
)
from sk_ncf.diagnostics._compute import Side, diagnose
from sk_ncf.diagnostics._report import Diagnostics, MapQualityWarning

__all__ = ["DiagnosticsMixin"]


class DiagnosticsMixin:
    """Score, dual potentials, costs and diagnostics of a fitted transport map."""

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

        Greater is better; comparable between fits with the same cost only. It is an
        estimate, from below, of the optimal transport cost, exact for the optimal
        potential.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not in the fit. Those of the target domain are used in place
            of X_target.
        y : array-like of shape (n_samples,), default=None
            Class labels of the source rows of X with
            ``class_conditional="per_class"``; missing ones are predicted. Unread
            otherwise.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows that were not in the fit; None takes rows that the fit reserved.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target; None takes
            `default_domain` for all.

        Returns
        -------
        score : float
            With ``class_conditional="per_class"``, the mean over source rows of the
            value of their class.
        """
        check_is_fitted(self)
        rows = checked_rows(self, X)
        if X_target is not None and sample_domain is None:
            sample_domain = 1
        mask = source_rows(sample_domain, len(rows), self.default_domain)
        source, target = rows_where(mask, rows), rows_where(~mask, rows)
        if X_target is not None:
            target = np.concatenate([target, checked_target(self, X_target)])
        fitted = self._transport_map()
        if not self._maps_per_class():
            kept = [
                np.concatenate(side) for side in zip(*self._score_rows, strict=True)
            ]
            source = source if len(source) else kept[0]
            return fitted.held_out_dual(source, target if len(target) else kept[1])
        label = None if y is None or not mask.any() else y
        codes = (
            self._codes(source, label, mask, name="y"),
            self._codes(target, None, source=False),
        )
        return self._score_of_classes(fitted, (source, target), codes)

    def _score_of_classes(self, fitted, sides, codes):
        """The held-out dual values of the classes, weighted by their source rows."""
        n_rows = np.bincount(codes[0], minlength=len(self.classes_))
        if not len(sides[0]):
            n_rows = np.array([len(source) for source, _ in self._score_rows])
        values = []
        for k, kept in enumerate(self._score_rows):
            rows = [side[of == k] for side, of in zip(sides, codes, strict=True)]
            rows = [r if len(r) else spare for r, spare in zip(rows, kept, strict=True)]
            values.append(fitted.held_out_dual(*rows, k) if n_rows[k] else 0.0)
        return float(np.average(values, weights=n_rows))

    @one_thread_after_fork()
    def dual_potentials(
        self,
        X: ArrayLike,
        *,
        X_target: ArrayLike,
        y: Any = None,
        y_target: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Kantorovich potentials :math:`f = -u(\cdot, 0)`, :math:`g = u(\cdot, 1)`.

        For the exact potential, f(x) + g(y) <= c(x, y) with equality for y = T(x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.
        y : label or array-like of shape (n_samples,), default=None
            Classes of the rows of X, for ``class_conditional="per_class"`` (unread
            otherwise); missing ones are predicted.
        y_target : label or array-like of shape (n_target_samples,), default=None
            Classes of the rows of X_target, likewise.

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
    def transport_cost(self, X: ArrayLike, *, y: Any = None) -> float:
        """Mean cost E c(x, T(x)) of mapping the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : label or array-like of shape (n_samples,), default=None
            Classes of the rows, for ``class_conditional="per_class"`` (unread
            otherwise); missing ones are predicted.

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
    def dual_lower_bound(self, X: ArrayLike, *, X_target: ArrayLike) -> float:
        """A certified lower bound of the optimal transport cost between these rows.

        Two c-transforms over the rows make the fitted potential feasible, so that the
        bound is never above the exact cost of the discrete problem with equal row
        weights, however good the fit is. Takes time proportional to the number of
        pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.

        Returns
        -------
        value : float
            In the units of the cost.
        """
        f, _ = self.dual_potentials(X, X_target=X_target)
        source, target = checked_rows(self, X), checked_target(self, X_target)
        return discrete_dual_lower_bound(self.cost_, source, target, f)

    def diagnostics(
        self,
        X: ArrayLike,
        *,
        X_target: ArrayLike | None = None,
        y: Any = None,
        y_target: Any = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
        n_permutations: int = 199,
        random_state: Seed = None,
    ) -> Diagnostics:
        """Whether to trust the map, evaluated on rows that were not in the fit.

        At most 1,024 source rows and as many target rows are looked at. With
        ``class_conditional="per_class"`` every class is evaluated by itself, and the
        mean over the source rows is returned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows that were not in the fit.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows that were not in the fit; None takes rows that the fit reserved.
        y : label or array-like of shape (n_samples,), default=None
            Classes of the rows of X, for ``class_conditional="per_class"`` (unread
            otherwise); missing ones are predicted.
        y_target : label or array-like of shape (n_target_samples,), default=None
            Classes of the rows of X_target, likewise.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0: rows are drawn in proportion to them.
        target_weight : array-like of shape (n_target_samples,), default=None
            Weights of the rows of X_target, >= 0.
        n_permutations : int, default=199
            Permutations of the two-sample test; the smallest possible p-value is
            1 / (n_permutations + 1).
        random_state : int, RandomState instance or None, default=None
            Seed of the rows that are drawn and of the permutations. None draws it from
            NumPy's global generator.

        Returns
        -------
        diagnostics : Diagnostics
            Printed, it is a table with a verdict.

        Raises
        ------
        ValueError
            If there are fewer than 8 source or target rows of one class at least, or an
            argument is not valid.

        Warns
        -----
        MapQualityWarning
            If the map should not be trusted on these rows.
        """
        check_is_fitted(self)
        check_scalar(n_permutations, "n_permutations", Integral, min_val=1)
        source = self._source_side(checked_rows(self, X), y, sample_weight)
        if X_target is None:
            target = self._reserved(y_target, target_weight)
        else:
            target = checked_target(self, X_target)
            target = self._target_side(target, y_target, target_weight)
        fitted, supports = self._transport_map(), self._session.supports
        rng = check_random_state(random_state)
        found = diagnose(fitted, source, target, supports, rng, n_permutations)
        if not found.trusted:
            warnings.warn(found.verdict, MapQualityWarning, stacklevel=2)
        return found

    def _source_side(self, rows, y, weight):
        codes = self._codes(rows, y, name="y")
        if weight is not None:
            weight = checked_weight("sample_weight", weight, len(rows))
        return Side(rows, codes, weight)

    def _target_side(self, rows, y_target, weight):
        codes = self._codes(rows, y_target, source=False, name="y_target")
        if weight is not None:
            weight = checked_weight("target_weight", weight, len(rows))
        return Side(rows, codes, weight)

    def _reserved(self, y_target, weight):
        """The target rows that the fit reserved."""
        for name, value in (("y_target", y_target), ("target_weight", weight)):
            if value is not None:
                raise ValueError(f"{name} is of the rows of X_target, which is None.")
        kept = [target for _, target in self._score_rows]
        codes = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
        return Side(
            np.concatenate(kept), codes if self._maps_per_class() else None, None
        )
