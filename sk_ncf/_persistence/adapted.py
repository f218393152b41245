"""The state of an AdaptedClassifier, and back, by skops."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_ncf._persistence.classifiers import ModelFileError, skops_bytes, skops_object
from sk_ncf.adaptation import AdaptedClassifier

__all__ = ["adapted_state", "is_adapted", "restored_adapted"]

GROUP = "adapted_classifier"
OWN_TYPES = (
    "sk_ncf.adaptation.AdaptedClassifier",
    "sk_ncf._classes.adaptation_guard.AdaptationDiagnostics",
)
WAY_OUT = (
    "Fit with another estimator and without a transport of your own, or use pickle."
)


def adapted_state(model: AdaptedClassifier) -> dict[str, dict[str, np.ndarray]]:
    """The whole classifier as bytes of skops.

    Raises
    ------
    NotFittedError, ValueError, ImportError
        If it is not fitted, skops cannot save it, or skops is not installed.
    """
    check_is_fitted(model)
    return {GROUP: {"skops": skops_bytes("estimator", model, OWN_TYPES, WAY_OUT)}}


def is_adapted(state: dict[str, Any]) -> bool:
    """Whether it is the state of an AdaptedClassifier."""
    return set(state) == {GROUP}


def restored_adapted(state: dict[str, Any]) -> AdaptedClassifier:
    """The classifier.

    Raises
    ------
    ModelFileError
        If the bytes are not those of a fitted AdaptedClassifier.
    """
    model = skops_object(state[GROUP]["skops"], OWN_TYPES)
    if type(model) is not AdaptedClassifier or not hasattr(model, "estimator_"):
        raise ModelFileError("it does not hold a fitted AdaptedClassifier")
    return model
