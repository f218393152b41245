"""Source and target rows of every class, and the classifiers of a fit."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sk_ncf._classes.classifiers import fitted_classifier
from sk_ncf._classes.gaussian_maps import map_by_class
from sk_ncf._classes.labels import common_classes, encode_labels, listed
from sk_ncf._classes.pooling import ClassMoments, PooledSample, pooled_moments
from sk_ncf._classes.pseudo_label_rounds import pseudo_label_rounds
from sk_ncf._classes.pseudo_labels import predict_pseudo_labels
from sk_ncf._inputs.types import Classifier, TransportEstimator
from sk_ncf._inputs.validation import Rows
from sk_ncf._inputs.warn import warn

__all__ = ["ClassLabels", "class_pairs"]

MAX_REMEMBERED = 4096  # rows of a stream that its classifiers are fitted to

LabelledRows = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, weights, codes
RowPair = tuple[Rows | None, Rows | None]  # source, target


@dataclass
class ClassLabels:
    """The classes of a fit, and a classifier for source rows and one for target rows.

    Attributes
    ----------
    classes : ndarray of shape (K,)
    classifier, target_classifier : fitted classifier or None
        Of source and of target rows. None if the map is shared by the classes, or if
        the domain is a reference distribution.
    seen : pair of (rows, weights, codes) or None
        Source and target rows that the classifiers were fitted to, at most 4,096 of
        each. The next call of `partial_fit` adds its rows to these. None if the map is
        shared by the classes.
    pseudo_label_fraction, pseudo_label_accuracy : float
        Fraction of the target rows without a label, and accuracy of their
        pseudo-labels.
    left_out : bool
        Whether the classifiers were left out of the file that was loaded.
    """

    classes: np.ndarray
    classifier: Any = None
    target_classifier: Any = None
    seen: tuple[LabelledRows | None, LabelledRows | None] | None = None
    pseudo_label_fraction: float = 0.0
    pseudo_label_accuracy: float = 1.0
    left_out: bool = False

    @property
    def per_class(self) -> bool:
        """Whether every class has its own map."""
        return self.seen is not None

    def codes(
        self,
        X: np.ndarray,
        labels: np.ndarray,
        source: bool,
        name: str = "sample_label",
    ) -> np.ndarray:
        """Class indices of rows: of their labels, or predicted if they have none."""
        codes = encode_labels(name, labels, self.classes)
        unlabelled = codes == -1
        if not unlabelled.any():
            return codes
        classifier = self.classifier if source else self.target_classifier
        if self.left_out:
            raise ValueError(
                f"{name} must be given for all rows: the classifiers that would predict "
                "the class of the others were left out (classifiers=False) when this "
                "estimator was saved or loaded."
            )
        if classifier is None:
            domain = "source" if source else "target"
            raise ValueError(
                f"{name} must be given for all {domain} rows: in the fit the {domain} "
                "was a reference distribution, so there is no classifier that could "
                "predict the class of its rows."
            )
        codes[unlabelled] = classifier.predict(X if unlabelled.all() else X[unlabelled])
        return codes


def class_pairs(
    estimator: TransportEstimator,
    source: Rows | None,
    target: Rows | None,
    rng: np.random.RandomState,
    previous: ClassLabels | None = None,
) -> tuple[list[RowPair], ClassLabels, dict[int, ClassMoments]]:
    """Source and target rows of every class; target rows without a label get one.

    Parameters
    ----------
    estimator : NCFTransport
    source, target : Rows or None
        With labels; at most one is None, for a reference distribution.
    rng : RandomState
    previous : ClassLabels, default=None
        Of the earlier calls of a stream; these rows need not have all its classes.

    Returns
    -------
    pairs : list of pairs of Rows
        None for a reference distribution.
    labels : ClassLabels
    pooled : dict
        Moments of small classes (:func:`~sk_ncf._classes.pooling.pooled_moments`).
    """
    source, target = _of_positive_weight(source), _of_positive_weight(target)
    labels = ClassLabels(
        _classes(source, target) if previous is None else previous.classes
    )
    codes = _encode("y", source, labels.classes)
    target_codes = _encode("y_target", target, labels.classes)
    per_class, pooled = estimator.class_conditional != "shared", {}
    if source is not None and target is not None:
        assert codes is not None and target_codes is not None
        earlier = None if previous is None else previous.target_classifier
        x = PooledSample(source.X, source.weight, codes)
        y = PooledSample(target.X, target.weight, target_codes, target_codes != -1)
        target_codes = _complete(labels, estimator.classifier, x, y, earlier, rng)
        y = y._replace(codes=target_codes)
        if previous is None:
            target, target_codes = _with_every_class(labels, x, y, target)
        if previous is None and per_class:
            pooled = pooled_moments(x, y, len(labels.classes))
    if per_class:
        given = (source, codes), (target, target_codes)
        _fit_classifiers(labels, estimator.classifier, given, previous, rng)
    sources = _by_class(source, codes, len(labels.classes))
    targets = _by_class(target, target_codes, len(labels.classes))
    return list(zip(sources, targets, strict=True)), labels, pooled


def _classes(source: Rows | None, target: Rows | None) -> np.ndarray:
    return common_classes(
        None if source is None else source.label,
        None if target is None else target.label,
    )


def _encode(name: str, rows: Rows | None, classes: np.ndarray) -> np.ndarray | None:
    """Class indices of the rows; None for a reference distribution."""
    if rows is None or rows.label is None:
        return None
    return encode_labels(name, rows.label, classes)


def _of_positive_weight(rows: Rows | None) -> Rows | None:
    """The rows without those of weight 0, which must not have any effect."""
    return None if rows is None else rows.take(rows.weight > 0)


def _by_class(
    rows: Rows | None, codes: np.ndarray | None, n_classes: int
) -> list[Rows | None]:
    """Rows of every class, None for each if the domain is a distribution."""
    if rows is None or codes is None:
        return [None] * n_classes
    return [rows.take(codes == k) for k in range(n_classes)]


def _complete(
    labels: ClassLabels,
    classifier: Classifier | None,
    source: PooledSample,
    target: PooledSample,
    earlier: Any,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Class indices of all target rows; sets the attributes about pseudo-labels."""
    target_codes = target.codes
    unlabelled = target_codes == -1
    if earlier is not None and unlabelled.any():  # the classifier of the earlier calls
        target_codes = target_codes.copy()
        target_codes[unlabelled] = earlier.predict(target.X[unlabelled])
        labels.pseudo_label_fraction = float(unlabelled.mean())
        labels.pseudo_label_accuracy = np.nan
        return target_codes
    if unlabelled.all():
        labels.pseudo_label_fraction, labels.pseudo_label_accuracy = 1.0, np.nan
        fit = partial(fitted_classifier, classifier)
        rounds = pseudo_label_rounds(fit, source, target, len(labels.classes), rng)
        return rounds.codes
    predicted = predict_pseudo_labels(
        classifier, source.X, source.codes, target.X, target_codes
    )
    labels.pseudo_label_fraction = predicted.fraction
    labels.pseudo_label_accuracy = predicted.accuracy
    return predicted.codes


def _with_every_class(
    labels: ClassLabels, x: PooledSample, y: PooledSample, target: Rows
) -> tuple[Rows, np.ndarray]:
    """Target rows and class indices, with rows for the classes that nobody predicts.

    These are the source rows of the class, shifted by the mean shift of the others, so
    that the fit is that shift.
    """
    empty = np.setdiff1d(x.codes, y.codes)
    if not len(empty):
        return target, y.codes
    warn(
        "No target row was predicted to be of these classes, which are mapped by the "
        f"mean shift of the others: {listed(labels.classes[empty].tolist())}."
    )
    mine = np.isin(x.codes, empty)
    mapped = map_by_class(x, y, len(labels.classes))[mine].astype(target.X.dtype)
    X = np.concatenate([target.X, mapped])
    weight = np.concatenate([target.weight, x.weight[mine]])
    return Rows(X, weight), np.concatenate([y.codes, x.codes[mine]])


def _fit_classifiers(
    labels: ClassLabels,
    classifier: Classifier | None,
    given: tuple[tuple[Rows | None, np.ndarray | None], ...],
    previous: ClassLabels | None,
    rng: np.random.RandomState,
) -> None:
    """Fit a classifier to the source rows and one to the target rows."""
    old = (None, None) if previous is None else previous.seen or (None, None)
    source, target = (
        _append(earlier, rows, codes)
        for earlier, (rows, codes) in zip(old, given, strict=True)
    )
    labels.classifier = _fitted(classifier, source)
    labels.target_classifier = _fitted(classifier, target)
    labels.seen = _subsample(source, rng), _subsample(target, rng)


def _append(
    old: LabelledRows | None, rows: Rows | None, codes: np.ndarray | None
) -> LabelledRows | None:
    """The rows of this call after those kept of the earlier calls."""
    if rows is None or codes is None:
        return None
    new = rows.X, rows.weight, codes
    if old is None:
        return new
    X, weight, codes = (np.concatenate(pair) for pair in zip(old, new, strict=True))
    return X, weight, codes


def _subsample(
    rows: LabelledRows | None, rng: np.random.RandomState
) -> LabelledRows | None:
    if rows is None or len(rows[0]) <= MAX_REMEMBERED:
        return rows
    keep = rng.permutation(len(rows[0]))[:MAX_REMEMBERED]
    X, weight, codes = (part[keep] for part in rows)
    return X, weight, codes


def _fitted(classifier: Classifier | None, rows: LabelledRows | None) -> Any:
    if rows is None:
        return None
    X, weight, codes = rows
    equal = np.ptp(weight) == 0
    return fitted_classifier(classifier, X, codes, None if equal else weight)
