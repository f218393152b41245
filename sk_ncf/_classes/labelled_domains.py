"""Validation of the rows of AdaptedClassifier: both domains and their classes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data

from sk_ncf._classes.labels import encode_labels
from sk_ncf._classes.pooling import PooledSample
from sk_ncf._classes.pseudo_label_rounds import take
from sk_ncf._inputs.errors import check_size, errors_mention
from sk_ncf._inputs.labels import checked_labels
from sk_ncf._inputs.validation import (
    DTYPES,
    check_no_target_values,
    check_y,
    checked_target,
    checked_weight,
    source_mask,
)
from sk_ncf._inputs.warn import warn

__all__ = ["LabelledDomains", "labelled_domains"]

ZERO_WEIGHT = "sample_weight must not be all zero in one of the domains."


class LabelledDomains(NamedTuple):
    """Source and target rows with class indices; -1 for an unlabelled target row."""

    source: PooledSample
    target: PooledSample
    classes: np.ndarray  # (K,)

    @property
    def labelled(self) -> PooledSample:
        """The labelled target rows."""
        return take(self.target, np.flatnonzero(self.target.codes != -1))


def labelled_domains(
    estimator: Any,
    X: ArrayLike,
    y: Any,
    X_target: ArrayLike | None,
    y_target: Any,
    sample_domain: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> LabelledDomains | None:
    """The checked rows of a fit; None if there are no target rows.

    Rows of weight zero are left out.
    """
    if X_target is None:
        check_no_target_values(y_target=y_target)
        if sample_domain is None:
            return None
    if y is None:
        raise ValueError(
            "y must hold the class of every source row, got None: AdaptedClassifier "
            "requires y to be passed, but the target y is None."
        )
    check_y(X, y, "the classes of the rows of X")
    with errors_mention("X"):
        rows = validate_data(estimator, X, dtype=DTYPES)
    check_size("X", rows)
    n = len(rows)
    is_source = source_mask(sample_domain, n, "source")
    labels = checked_labels("y", y, n)
    weight = checked_weight("sample_weight", sample_weight, n)
    if not is_source.any():
        raise ValueError(
            "sample_domain must have values >= 0, of source rows, got a maximum of "
            f"{np.max(np.asarray(sample_domain))}."
        )
    if X_target is None and is_source.all():
        warn(
            "There are no target rows: sample_domain has no value below 0 and X_target "
            "is None. The classifier is fitted to the source rows as they are."
        )
        return None
    rows, weight, labels, is_source = (
        part[weight > 0] for part in (rows, weight, labels, is_source)
    )
    if not is_source.any():
        raise ValueError(ZERO_WEIGHT)
    classes = _source_classes(labels[is_source])
    codes = encode_labels("y", labels, classes)
    source, target = (
        PooledSample(rows[mask].astype(np.float64), weight[mask], codes[mask])
        for mask in (is_source, ~is_source)
    )
    if X_target is not None:
        extra = checked_target(estimator, X_target)
        m = len(extra)
        given = np.full(m, None, dtype=object)
        if y_target is not None:
            given = checked_labels("y_target", y_target, m)
        given_codes = encode_labels("y_target", given, classes)
        target = PooledSample(
            np.concatenate([target.X, extra]),
            np.concatenate([target.weight, np.ones(m)]),
            np.concatenate([target.codes, given_codes]),
        )
    if not len(target.X):
        raise ValueError(ZERO_WEIGHT)
    return LabelledDomains(source, target, classes)


def _source_classes(labels: np.ndarray) -> np.ndarray:
    """The sorted classes of the source rows."""
    n_missing = sum(label is None for label in labels)
    if n_missing:
        raise ValueError(
            f"y must hold the class of every source row, got {n_missing} missing labels "
            "(-1, NaN or None). If -1 is a class, recode it in both samples, for example "
            "with numpy.where(y == -1, 0, y)."
        )
    classes = np.unique(labels.tolist())
    if len(classes) < 2:
        raise ValueError(
            "y must have at least two classes among the source rows, got one class: "
            f"{classes.tolist()}."
        )
    return classes
