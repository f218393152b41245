"""What a class-conditional fit knows of classes: who is who, and who says so."""

from dataclasses import dataclass

import numpy as np

from sk_ncf._classes.classifiers import fitted_classifier
from sk_ncf._classes.labels import common_classes, encoded, known_labels
from sk_ncf._classes.pooling import pooled_moments
from sk_ncf._classes.pseudo_labels import predict_pseudo_labels

__all__ = ["ClassLabels", "class_pairs"]

AT_MOST_SEEN = 4096  # rows of a stream that the classifiers remember, of either side


@dataclass
class ClassLabels:
    """The classes of a fit, and a classifier of each side.

    Attributes
    ----------
    classes : ndarray of shape (K,)
    classifier, target_classifier : fitted classifier or None
        Of source and of target rows; None for a map that needs no class, and for a side
        that is a distribution.
    seen : pair of (rows, codes)
        Some of what they were fitted to, for the next call of a stream.
    pseudo_label_fraction, pseudo_label_accuracy : float
        Of the target rows without a label, and of the classifier that named them.
    left_out : bool
        Whether the classifiers were left out of the file that this comes from.
    """

    classes: np.ndarray
    classifier: object = None
    target_classifier: object = None
    seen: tuple | None = None
    pseudo_label_fraction: float = 0.0
    pseudo_label_accuracy: float = 1.0
    left_out: bool = False

    @property
    def per_class(self):
        """Whether every class has a map of its own."""
        return self.seen is not None

    def codes(self, X, labels, source, name="sample_label"):
        """Classes of rows by number: of the checked labels, or as a classifier says."""
        codes = encoded(name, labels, self.classes)
        unknown = codes == -1
        if not unknown.any():
            return codes
        classifier = self.classifier if source else self.target_classifier
        if self.left_out:
            raise ValueError(
                "sample_label must be given for all rows to be mapped: the classifiers "
                "that would name their classes were left out (classifiers=False) when "
                "this estimator was saved or loaded."
            )
        if classifier is None:
            raise ValueError(
                f"{name} must be given for all {'source' if source else 'target'} "
                "rows: that side of the fit was a distribution, so that nothing tells "
                "the class of its rows."
            )
        codes[unknown] = classifier.predict(X if unknown.all() else X[unknown])
        return codes


def class_pairs(estimator, source, target, rng, known=None):
    """Source and target rows of every class, and what is known of the classes.

    Parameters
    ----------
    estimator : NCFTransport
    source, target : Rows
        With labels; one of them None for a distribution.
    rng : RandomState
    known : ClassLabels, default=None
        Of the earlier calls of a stream: classes may be missing from these rows.

    Returns
    -------
    pairs : list of pairs of Rows
        None for a distribution.
    labels : ClassLabels
    pooled : dict
        Moments of classes of few rows (:func:`~sk_ncf._classes.pooling.pooled_moments`).
    """
    sides = [_of_weight(rows) for rows in (source, target)]
    given = [None if rows is None else rows.label for rows in sides]
    labels = ClassLabels(common_classes(*given) if known is None else known.classes)
    codes = [
        None if label is None else encoded(name, label, labels.classes)
        for name, label in zip(("y", "y_target"), given, strict=True)
    ]
    shared, pooled = estimator.class_conditional == "shared", {}
    if source is not None and target is not None:
        earlier = None if known is None or shared else known.target_classifier
        given_codes = codes[1] != -1
        codes[1] = _named(labels, estimator.classifier, sides, codes, earlier)
        if known is None and not shared:
            pooled = _pooled(sides, codes, given_codes, len(labels.classes))
    if not shared:
        old = (None, None) if known is None else known.seen
        seen = [_joined(*of_side) for of_side in zip(old, sides, codes, strict=True)]
        fitted = [_fitted(estimator.classifier, rows) for rows in seen]
        labels.classifier, labels.target_classifier = fitted
        labels.seen = tuple(_some(rows, rng) for rows in seen)
    parts = [_by_class(*of_side, labels) for of_side in zip(sides, codes, strict=True)]
    return list(zip(*parts, strict=True)), labels, pooled


def _of_weight(rows):
    """The rows but those of weight 0, which are as good as not there."""
    return None if rows is None else rows.take(rows.weight > 0)


def _by_class(rows, codes, labels):
    """Rows of every class, None for each where there are none at all."""
    numbers = range(len(labels.classes))
    return [None if rows is None else rows.take(codes == k) for k in numbers]


def _named(labels, classifier, sides, codes, earlier):
    """Codes of all target rows; what is said of the naming is noted in `labels`."""
    (source, target), (source_codes, target_codes) = sides, codes
    unknown = target_codes == -1
    if earlier is not None and unknown.any():  # a stream: as before
        target_codes = target_codes.copy()
        target_codes[unknown] = earlier.predict(target.X[unknown])
        labels.pseudo_label_fraction, labels.pseudo_label_accuracy = (
            float(unknown.mean()),
            np.nan,
        )
        return target_codes
    known_labels(target.label)
    named = predict_pseudo_labels(
        classifier, source.X, source_codes, target.X, target_codes
    )
    labels.pseudo_label_fraction, labels.pseudo_label_accuracy = (
        named.share,
        named.accuracy,
    )
    return named.codes


def _pooled(sides, codes, known, n_classes):
    (x, y), (codes_x, codes_y) = sides, codes
    sides = (x.X, x.weight, codes_x), (y.X, y.weight, codes_y, known)
    return pooled_moments(*sides, n_classes)


def _joined(old, rows, codes):
    """(rows, weights, codes) of this call and of what is left of the earlier ones."""
    if rows is None:
        return None
    new = rows.X, rows.weight, codes
    if old is None:
        return new
    return tuple(np.concatenate(pair) for pair in zip(old, new, strict=True))


def _some(seen, rng):
    if seen is None or len(seen[0]) <= AT_MOST_SEEN:
        return seen
    keep = rng.permutation(len(seen[0]))[:AT_MOST_SEEN]
    return tuple(part[keep] for part in seen)


def _fitted(classifier, seen):
    if seen is None:
        return None
    X, weight, codes = seen
    return fitted_classifier(
        classifier, X, codes, None if np.ptp(weight) == 0 else weight
    )
