r"""Whether a classifier of mapped source rows is better on the target than one without.

Labels of target rows decide if their accuracies differ by a standard error. Otherwise
the predictions for the target rows do:

- If at least ten of them change, the *likelihood* of the rows, in Gaussians of the
  predicted classes with a common covariance, must rise by half a nat for every one.
- If fewer change, the *mutual information* of a row and its class must rise,
  :math:`H(\bar p) - \overline{H(p)}` with the class probabilities p (Bridle, Heading and
  MacKay, 1991).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from scipy.stats import entropy

from sk_ncf._classes.labelled_domains import LabelledDomains
from sk_ncf._classes.pseudo_label_rounds import (
    MAX_SOURCE_ROWS,
    MAX_TARGET_ROWS,
    Rounds,
    pseudo_label_rounds,
    some_rows,
    take,
    training_rows,
)
from sk_ncf._classes.weighted_fit import CodeFitter
from sk_ncf._flow.shrinkage import oracle_shrinkage

__all__ = ["AdaptationDiagnostics", "compare_classifiers"]

MANY_CHANGES = 10  # of predictions, from which on the likelihood is used
MIN_LIKELIHOOD_GAIN = 0.5  # nats for every changed prediction
MARGIN_FACTOR = 3.0  # of the margins, whose softmax replaces missing probabilities
N_FOLDS = 3


@dataclass(frozen=True)
class AdaptationDiagnostics:
    """What :class:`~sk_ncf.AdaptedClassifier` has chosen, and why.

    Attributes
    ----------
    adapted : bool
        Whether the classifier has learnt from mapped source rows.
    decided_by : {"labels", "predictions", "user", "no target rows"}
        What the choice rests on: accuracy on target labels, the label-free signs
        below, ``guard=False``, or that there was nothing to adapt to.
    changed_fraction : float
        Fraction of the target rows whose predicted class changes with the map.
    information_gain : float
        Gain of mutual information of target rows and their predicted classes, in nats.
    likelihood_gain : float
        Gain of log-likelihood of the target rows in a Gaussian mixture of the predicted
        classes, in nats for every changed prediction.
    n_rounds : int
        Rounds of pseudo-labels, at most five.
    agreement : float
        Fraction of the target rows with the same pseudo-label in the last two rounds.
    label_accuracy, label_accuracy_without_map : float
        Accuracy on target labels that were held out in turn; nan without any.
    label_error : float
        Standard error of the difference of these two.
    """

    adapted: bool = False
    decided_by: str = "no target rows"
    changed_fraction: float = 0.0
    information_gain: float = 0.0
    likelihood_gain: float = 0.0
    n_rounds: int = 0
    agreement: float = 1.0
    label_accuracy: float = np.nan
    label_accuracy_without_map: float = np.nan
    label_error: float = np.nan


def compare_classifiers(
    fit: CodeFitter,
    domains: LabelledDomains,
    rounds: Rounds,
    rng: np.random.RandomState,
) -> AdaptationDiagnostics:
    """Compare classifiers of at most 2,000 source rows, with and without the map."""
    source, target, labelled = domains.source, domains.target, domains.labelled
    some = some_rows(source.codes, MAX_SOURCE_ROWS, rng)
    x, at_most = take(source, some), fit.max_label_weight
    plain, adapted = (
        fit.fitted(*training_rows(x, mapped, labelled, at_most))
        for mapped in ([], [rounds.mapped[some]])
    )
    rows = target.X[some_rows(target.codes, MAX_TARGET_ROWS, rng)]
    found = _compare_predictions(plain, adapted, rows)
    found |= {"n_rounds": rounds.n_rounds, "agreement": rounds.agreement}
    if len(labelled.X) < 2:
        return AdaptationDiagnostics(**found)
    # Pseudo-labels that have not seen the labels which judge them.
    blind = target._replace(codes=np.full_like(target.codes, -1))
    n_classes = len(domains.classes)
    unseen = pseudo_label_rounds(fit, source, blind, n_classes, rng).mapped[some]

    def correct(train: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
        known, hidden = take(labelled, train), take(labelled, test)
        models = (
            fit(*training_rows(x, mapped, known, at_most)) for mapped in ([], [unseen])
        )
        return [model.predict(hidden.X) == hidden.codes for model in models]

    found |= _compare_on_labels(correct, len(labelled.X), rng)
    return AdaptationDiagnostics(**found)


def _compare_predictions(plain: Any, adapted: Any, X: np.ndarray) -> dict[str, Any]:
    """The label-free signs, for rows X (n, d) of the target, and what they say.

    Parameters
    ----------
    plain, adapted : fitted classifiers
        Of the same classes.
    X : ndarray of shape (n, d)
    """
    before, after = (_class_probabilities(model, X) for model in (plain, adapted))
    information = _information(after) - _information(before)
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    n_changed = int((old != new).sum())
    gain = 0.0
    if n_changed:
        difference = _log_likelihood(X, new) - _log_likelihood(X, old)
        gain = difference / n_changed
    helps = information > 0
    if n_changed >= MANY_CHANGES:
        helps = gain >= MIN_LIKELIHOOD_GAIN
    return {
        "adapted": bool(helps),
        "decided_by": "predictions",
        "changed_fraction": n_changed / len(X),
        "information_gain": information,
        "likelihood_gain": gain,
    }


def _class_probabilities(model: Any, X: np.ndarray) -> np.ndarray:
    """Probabilities (n, K) of the classes; from margins or predictions if need be."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(X), dtype=np.float64)
    if hasattr(model, "decision_function"):
        margin = np.asarray(model.decision_function(X), dtype=np.float64)
        if margin.ndim == 1:
            margin = np.stack([-margin, margin], axis=1)
        if margin.shape[1] == len(model.classes_):  # not one for every pair of classes
            return np.asarray(softmax(MARGIN_FACTOR * margin, axis=1))
    return (np.asarray(model.predict(X))[:, None] == model.classes_).astype(np.float64)


def _information(probabilities: np.ndarray) -> float:
    each = entropy(probabilities, axis=1).mean()
    return float(entropy(probabilities.mean(axis=0)) - each)


def _log_likelihood(X: np.ndarray, codes: np.ndarray) -> float:
    """Log-likelihood of all rows in the Gaussians of their classes, but a constant."""
    centred = np.array(X, dtype=np.float64)
    for k in np.unique(codes):
        centred[codes == k] -= centred[codes == k].mean(axis=0)
    scale = centred.std(axis=0)
    scale = np.where(scale > 0, scale, scale.max() or 1.0)
    centred /= scale
    n, d = centred.shape
    cov = oracle_shrinkage(centred.T @ centred / n + 1e-12 * np.eye(d), n)
    root = np.linalg.cholesky(cov)
    z = np.linalg.solve(root, centred.T)
    one = np.log(root.diagonal()).sum() + np.log(scale).sum()
    return float(-np.square(z).sum() / 2 - n * one)


def _compare_on_labels(
    correct: Callable[[np.ndarray, np.ndarray], list[np.ndarray]],
    n_labels: int,
    rng: np.random.RandomState,
) -> dict[str, Any]:
    """Accuracies on labels that are held out in turn, and what they say.

    Parameters
    ----------
    correct : callable
        For indices of training labels and of held-out labels, whether the classifier
        without a map, and that with it, predict the latter.
    n_labels : int
    rng : RandomState

    Returns
    -------
    dict
        Fields of :class:`AdaptationDiagnostics`; "adapted" only if the difference is
        larger than its standard error.
    """
    folds = rng.permutation(n_labels) % N_FOLDS
    parts = [
        correct(np.flatnonzero(folds != f), np.flatnonzero(folds == f))
        for f in range(min(N_FOLDS, n_labels))
    ]
    plain, mapped = (np.concatenate(p).astype(float) for p in zip(*parts, strict=True))
    difference = mapped - plain
    error = float(difference.std(ddof=1) / np.sqrt(n_labels))
    found: dict[str, Any] = {
        "label_accuracy": float(mapped.mean()),
        "label_accuracy_without_map": float(plain.mean()),
        "label_error": error,
    }
    if abs(difference.mean()) > error:
        found |= {"adapted": bool(difference.mean() > 0), "decided_by": "labels"}
    return found
