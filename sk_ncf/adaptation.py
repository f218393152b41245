"""AdaptedClassifier: domain adaptation of any classifier, without target labels."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sk_ncf._classes.adaptation_guard import AdaptationDiagnostics, compare_classifiers
from sk_ncf._classes.labelled_domains import LabelledDomains, labelled_domains
from sk_ncf._classes.pseudo_label_rounds import (
    Rounds,
    pseudo_label_rounds,
    training_rows,
)
from sk_ncf._classes.transported import check_transport, transported_rows
from sk_ncf._classes.weighted_fit import CodeFitter, fit_with_weights
from sk_ncf._inputs.types import Classifier, Labels, Seed
from sk_ncf._inputs.validation import DTYPES, checked_rows
from sk_ncf._inputs.warn import warn

__all__ = ["AdaptedClassifier"]


def _estimator_has(name: str) -> Any:
    """A check for ``available_if``: whether the classifier has the method."""

    def check(self: AdaptedClassifier) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class AdaptedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    r"""A classifier of labelled source rows, adapted to rows of another domain.

    `estimator` is fitted to the source rows and to the same rows mapped class by class
    to the target rows. The class of a target row without a label is predicted first, in
    rounds: every class of source rows is mapped to the target rows of that prediction
    by a Gaussian map (its moments are pooled for small classes), the classifier learns
    from source rows and mapped rows, and predicts again. Labelled target rows keep their
    label, and the classifier learns from them too.

    A map can cost accuracy. So a classifier without it is compared on target labels, or
    on label-free signs, and kept if the map does not help (`adapted_`).

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn classifier, or a pipeline that ends in one. It is cloned.
    transport : transformer, default=None
        Maps the source rows for the last fit, by ``fit_transform(X, y, X_target=...,
        y_target=...)`` with the predicted target labels, such as
        ``NCFTransport(class_conditional=True)``. None: the Gaussian maps of the classes,
        which are as accurate where classes have few rows, and far faster.
    guard : bool, default=True
        Whether to compare with a classifier without a map. If False, the map is always
        used.
    random_state : int, RandomState instance or None, default=None
        Seed of the rows that are drawn from large samples and of the folds of target
        labels. `estimator` and `transport` have their own.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    transport_ : transformer
        The fitted transport. Only if `transport` is given and was used.
    classes_ : ndarray of shape (n_classes,)
        The classes of the source.
    adapted_ : {"none", "class_maps", "transport", "target_labels"}
        What the classifier has learnt from, apart from source rows and labelled target
        rows: nothing, source rows under the Gaussian maps of their classes, or under
        `transport`. "target_labels": from labelled target rows alone.
    diagnostics_ : AdaptationDiagnostics
        The figures behind that choice.
    target_labels_ : ndarray of shape (n_target_samples,)
        The class of every target row of the fit: its label, or its pseudo-label. Target
        rows of X come first, then those of X_target.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has string names.

    See Also
    --------
    NCFTransport : The map alone.

    Notes
    -----
    Classes are assumed to be the same in both samples. Their proportions may differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sk_ncf import AdaptedClassifier
    >>> rng = np.random.RandomState(0)
    >>> y, y_target = rng.randint(2, size=(2, 300))
    >>> X = rng.randn(300, 2) + 4 * np.c_[y, -y]
    >>> X_target = 2 * rng.randn(300, 2) + 8 * np.c_[y_target, -y_target] + [3, 3]
    >>> model = AdaptedClassifier(LogisticRegression(), random_state=0)
    >>> model.fit(X, y, X_target=X_target).adapted_
    'class_maps'
    >>> model.score(X_target, y_target) > 0.97
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "transport": [HasMethods(["fit_transform"]), None],
        "guard": ["boolean"],
        "random_state": ["random_state"],
    }

    # Routed without any set_fit_request call.
    __metadata_request__fit = {
        "X_target": True,
        "y_target": True,
        "sample_domain": True,
        "sample_weight": True,
    }

    def __init__(
        self,
        estimator: Classifier,
        *,
        transport: Any = None,
        guard: bool = True,
        random_state: Seed = None,
    ):
        self.estimator = estimator
        self.transport = transport
        self.guard = guard
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: Labels,
        *,
        X_target: ArrayLike | None = None,
        y_target: Labels | None = None,
        sample_domain: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit the classifier to the source rows, adapted to the target rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows; or rows of both samples, told apart by `sample_domain`.
        y : array-like of shape (n_samples,)
            Classes of the rows of X. Missing (-1, NaN or None) for target rows only.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows. If there are none, neither here nor in X, `estimator` is fitted
            to X and y as they are.
        y_target : array-like of shape (n_target_samples,), default=None
            Classes of the rows of X_target; -1, NaN or None if missing.
        sample_domain : int or array-like of shape (n_samples,), default=None
            Rows of X with values >= 0 are source, < 0 target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows of X, >= 0. If `estimator` takes none, they must be whole
            numbers, and rows are repeated.

        Returns
        -------
        self : AdaptedClassifier

        Raises
        ------
        ValueError
            If a parameter or the data are not valid; the message names which.
        """
        self._check_parameters()
        domains = labelled_domains(
            self, X, y, X_target, y_target, sample_domain, sample_weight
        )
        self.__dict__.pop("transport_", None)  # of an earlier fit
        if domains is None:
            return self._fit_without_target(X, y, sample_weight)
        self.classes_ = domains.classes
        rng = check_random_state(self.random_state)
        fit = CodeFitter(self.estimator, self.classes_)
        rounds = pseudo_label_rounds(
            fit,
            domains.source,
            domains.target,
            len(self.classes_),
            rng,
            fit.max_label_weight,
        )
        self.target_labels_ = self.classes_[rounds.codes]
        if self.guard:
            self.diagnostics_ = compare_classifiers(fit, domains, rounds, rng)
        else:
            self.diagnostics_ = AdaptationDiagnostics(
                "class_maps",
                "user",
                n_rounds=rounds.n_rounds,
                agreement=rounds.agreement,
            )
        self.adapted_, labelled = self.diagnostics_.choice, domains.labelled
        if self.adapted_ == "target_labels":
            self.estimator_ = fit.fitted(labelled.X, labelled.codes, labelled.weight)
            missing = domains.target.codes == -1
            if missing.any():
                predicted = self.estimator_.predict(domains.target.X[missing])
                self.target_labels_[missing] = predicted
            return self
        samples = self._samples(domains, rounds)
        rows = training_rows(domains.source, samples, labelled, fit.max_label_weight)
        self.estimator_ = fit.fitted(*rows)
        return self

    def _samples(self, domains: LabelledDomains, rounds: Rounds) -> list[np.ndarray]:
        """Source rows to learn from, mapped or not; `transport_` is set."""
        source = domains.source.X
        if self.adapted_ == "none":
            return [source]
        if self.transport is None:
            return rounds.samples(source, rounds.mapped)
        fitted = transported_rows(self.transport, domains, rounds)
        self.transport_, mapped, has_moved = fitted
        self.adapted_ = "transport"
        if not has_moved:
            self.adapted_ = "none"
            warn(
                f"transport={self.transport!r} returned the source rows as they were "
                "instead of mapping them to the target rows: the classifier is that of "
                "the source rows."
            )
        return rounds.samples(source, mapped)

    def _check_parameters(self) -> None:
        self._validate_params()
        for name in ("estimator", "transport"):
            if isinstance(getattr(self, name), type):
                raise ValueError(
                    f"{name} must be an instance, got the class {getattr(self, name)!r}."
                )
        if self.transport is not None:
            check_transport(self.transport)

    def _fit_without_target(self, X: Any, y: Any, sample_weight: Any) -> Self:
        X, y = validate_data(self, X, y, dtype=DTYPES)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.estimator_ = fit_with_weights(self.estimator, X, y, sample_weight)
        self.classes_ = self.estimator_.classes_
        self.adapted_, self.diagnostics_ = "none", AdaptationDiagnostics()
        self.target_labels_ = y[:0]
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the classes of rows of the target domain.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        return np.asarray(self._call("predict", X))

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
        """
        return np.asarray(self._call("predict_proba", X))

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        return np.asarray(self._call("predict_log_proba", X))

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Evaluate the decision function of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        margins : ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return np.asarray(self._call("decision_function", X))

    def _call(self, method: str, X: ArrayLike) -> Any:
        check_is_fitted(self)
        return getattr(self.estimator_, method)(checked_rows(self, X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator).classifier_tags
        if inner is not None:
            tags.classifier_tags.multi_class = inner.multi_class
            tags.classifier_tags.poor_score = inner.poor_score
        return tags
