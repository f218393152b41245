"""What a fitted transport says of its map: value, potentials, cost, trust."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from sk_ncf.diagnosis import Side, diagnose
from sk_ncf.diagnostics import DistrustWarning
from sk_ncf.domains import (
    checked_rows,
    checked_target,
    checked_weight,
    rows_where,
    source_rows,
)
from sk_ncf.forks import one_thread_after_fork
from sk_ncf.transport_map import discrete_dual_value

__all__ = ["JudgedTransport"]


class JudgedTransport:
    """The part of :class:`~sk_ncf.NCFTransport` that judges what was fitted."""

    @one_thread_after_fork()
    def score(self, X, y=None, *, X_target=None, sample_domain=None):
        r"""Minus the held-out semi-dual risk, in the units of the cost.

        .. math:: -J = E_y \min_x [u(x, 0) + c(x, y)] - E_x u(x, 0)

        Greater is better; comparable between fits with the same cost only. It is an
        estimate of the transport cost from below, reached by the optimal potential.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not in the fit. Those of the target domain take the place of
            X_target.
        y : array-like of shape (n_samples,), default=None
            Labels of the source rows of X with ``class_conditional="label"``; those
            without are predicted. Unread otherwise.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows that were not in the fit; None takes rows that the fit reserved.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target; None takes
            `default_domain` for all.

        Returns
        -------
        score : float
            With ``class_conditional="label"``, the mean over source rows of the value
            of their class.
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
        if not self._maps_by_class():
            kept = [
                np.concatenate(side) for side in zip(*self._score_rows, strict=True)
            ]
            source = source if len(source) else kept[0]
            return fitted.held_out_dual(source, target if len(target) else kept[1])
        label = None if y is None or not mask.any() else y
        codes = (
            self._codes(source, label, mask),
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
    def dual_potentials(self, X, X_target):
        r"""Kantorovich potentials :math:`f = -u(\cdot, 0)`, :math:`g = u(\cdot, 1)`.

        Where the potential is exact, f(x) + g(y) <= c(x, y) with equality for y = T(x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.

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
        of_source, of_target = (
            self._codes(rows, None, source=side)
            for rows, side in ((source, True), (target, False))
        )
        f = -fitted.source_potential(source, of_source)
        return f, fitted.target_potential(target, of_target)

    @one_thread_after_fork()
    def transport_cost(self, X):
        """Mean cost E c(x, T(x)) of carrying the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.

        Returns
        -------
        cost : float
            In the units of the cost.
        """
        check_is_fitted(self)
        rows = checked_rows(self, X).astype(np.float64, copy=False)
        fitted = self._transport_map()
        mapped = fitted.forward(rows, self._codes(rows, None))
        return float(fitted.cost(rows, mapped).mean())

    @one_thread_after_fork()
    def dual_value(self, X, X_target):
        """A certified lower bound of the optimal transport cost between these rows.

        The fitted potential, made feasible by two c-transforms over the rows
        themselves: never above the exact cost of the discrete problem with equal row
        weights, whatever the fit is worth. Takes time proportional to the number of
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
        f, _ = self.dual_potentials(X, X_target)
        source, target = checked_rows(self, X), checked_target(self, X_target)
        return discrete_dual_value(self.cost_, source, target, f)

    def diagnostics(
        self,
        X,
        X_target=None,
        *,
        sample_label=None,
        target_label=None,
        sample_weight=None,
        target_weight=None,
        n_permutations=199,
        random_state=None,
    ):
        """Whether the map is to be trusted, judged on rows that were not in the fit.

        At most 1,024 rows of either side are looked at, as many of one as of the other.
        With ``class_conditional="label"`` every class is judged by itself, and the mean
        over the source rows is given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows that were not in the fit.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows that were not in the fit; None takes rows that the fit reserved.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows of X, as in :meth:`transform`.
        target_label : label or array-like of shape (n_target_samples,), default=None
            Classes of the rows of X_target, as in :meth:`inverse_transform`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0: rows are looked at in proportion to them.
        target_weight : array-like of shape (n_target_samples,), default=None
            Weights of the rows of X_target, >= 0.
        n_permutations : int, default=199
            Permutations of the test; the least p-value is 1 / (n_permutations + 1).
        random_state : int, RandomState instance or None, default=None
            Seed of the rows that are looked at and of the permutations. None draws it
            from NumPy's global generator.

        Returns
        -------
        diagnostics : Diagnostics
            See :class:`~sk_ncf.diagnostics.Diagnostics`; printed, it can be read.

        Raises
        ------
        ValueError
            If a side has fewer than 8 rows of one class, or an argument is not valid.

        Warns
        -----
        DistrustWarning
            If the map is not to be trusted on these rows.
        """
        check_is_fitted(self)
        check_scalar(n_permutations, "n_permutations", Integral, min_val=1)
        source = self._side(checked_rows(self, X), sample_label, sample_weight)
        of_target = target_label, target_weight
        if X_target is None:
            target = self._reserved(*of_target)
        else:
            target = self._side(checked_target(self, X_target), *of_target, "target")
        fitted, supports = self._transport_map(), self._session.supports
        rng = check_random_state(random_state)
        found = diagnose(fitted, source, target, supports, rng, n_permutations)
        if not found.trusted:
            warnings.warn(found.verdict, DistrustWarning, stacklevel=2)
        return found

    def _side(self, rows, label, weight, prefix="sample"):
        """Rows to judge by, with their classes and weights."""
        is_source, name = prefix == "sample", f"{prefix}_label"
        codes = self._codes(rows, label, source=is_source, name=name)
        if weight is not None:
            weight = checked_weight(f"{prefix}_weight", weight, len(rows))
        return Side(rows, codes, weight)

    def _reserved(self, label, weight):
        """The target rows that the fit kept apart."""
        for name, value in (("target_label", label), ("target_weight", weight)):
            if value is not None:
                raise ValueError(f"{name} is of the rows of X_target, which is None.")
        kept = [target for _, target in self._score_rows]
        codes = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
        return Side(
            np.concatenate(kept), codes if self._maps_by_class() else None, None
        )
