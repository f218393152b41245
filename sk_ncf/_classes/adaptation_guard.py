r"""Whether a classifier of mapped source rows is better on the target than one without.

Labels of target rows decide if the accuracies on labels that are held out in turn differ
by two standard errors. Otherwise the predictions for the target rows do:

- If at least ten of them change, the *likelihood* of the rows, in Gaussians of the
  predicted classes with a common covariance, must rise by half a nat for every one.
- If fewer change, the *mutual information* of a row and its class must rise,
  :math:`H(\bar p) - \overline{H(p)}` with the class probabilities p (Bridle, Heading and
  MacKay, 1991). With target labels, which no map can take away, it need not.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax
from scipy.stats import entropy

from sk_ncf._classes.label_likelihood import MANY_CHANGES, likelihood_gain
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

__all__ = ["AdaptationDiagnostics", "compare_classifiers"]

MIN_GAIN = 0.5  # nats for every changed prediction
MARGIN_FACTOR = 3.0  # of the margins, whose softmax replaces missing probabilities
N_FOLDS = 3  # of target labels
N_STANDARD_ERRORS = 2.0  # from which on a difference of accuracies decides
N_STANDARD_ERRORS_ALONE = 3.0  # and that of target labels alone


@dataclass(frozen=True)
class AdaptationDiagnostics:
    """What :class:`~sk_ncf.AdaptedClassifier` has chosen, and why.

    Attributes
    ----------
    choice : {"none", "class_maps", "target_labels"}
        What the classifier learns from: source rows and labelled target rows, these and
        mapped source rows, or labelled target rows alone.
    decided_by : {"labels", "predictions", "user", "no target rows"}
        What the choice rests on: accuracy on target labels, the label-free signs
        below, ``guard=False``, or that there was nothing to adapt to.
    changed_fraction : float
        Fraction of the target rows whose predicted class changes with the map.
    information_gain : float
        Gain of mutual information of target rows and their predicted classes, in nats.
    likelihood_gain : float
        Gain of log-likelihood of the target rows in Gaussians of the predicted classes,
        in nats for every changed prediction.
    n_rounds : int
        Rounds of pseudo-labels, at most five.
    agreement : float
        Fraction of the target rows with the same pseudo-label in the last two rounds.
    label_accuracy : dict of float
        Accuracy of every choice on target labels that were held out in turn. Empty with
        fewer than two labels.
    label_error : float
        Standard error of the difference between "class_maps" and "none"; nan without
        labels.
    """

    choice: str = "none"
    decided_by: str = "no target rows"
    changed_fraction: float = 0.0
    information_gain: float = 0.0
    likelihood_gain: float = 0.0
    n_rounds: int = 0
    agreement: float = 1.0
    label_accuracy: dict[str, float] = field(default_factory=dict)
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
        fit.fitted(*training_rows(x, samples, labelled, at_most))
        for samples in ([x.X], rounds.samples(x.X, rounds.mapped[some]))
    )
    rows = target.X[some_rows(target.codes, MAX_TARGET_ROWS, rng)]
    found = _compare_predictions(plain, adapted, rows, len(labelled.X) > 1)
    found |= {"n_rounds": rounds.n_rounds, "agreement": rounds.agreement}
    if len(labelled.X) < 2:
        return AdaptationDiagnostics(**found)
    # Pseudo-labels made without the labels that they are compared with.
    unlabelled = target._replace(codes=np.full_like(target.codes, -1))
    n_classes = len(domains.classes)
    unseen = pseudo_label_rounds(fit, source, unlabelled, n_classes, rng)
    mapped = unseen.samples(x.X, unseen.mapped[some])
    compared = take(labelled, some_rows(labelled.codes, MAX_SOURCE_ROWS, rng))
    counts = np.bincount(compared.codes, minlength=n_classes)
    fold = _folds(compared.codes, rng)
    correct: dict[str, np.ndarray] = {}
    for f in range(fold.max() + 1):
        known, hidden = take(compared, fold != f), take(compared, fold == f)
        candidates = {
            "none": training_rows(x, [x.X], known, at_most),
            "class_maps": training_rows(x, mapped, known, at_most),
        }
        if counts.min() >= N_FOLDS:  # a label of every class is left in every fold
            candidates["target_labels"] = known.X, known.codes, known.weight
        for name, training in candidates.items():
            right = correct.setdefault(name, np.zeros(len(compared.X)))
            right[fold == f] = fit(*training).predict(hidden.X) == hidden.codes
    return AdaptationDiagnostics(**found | _decide_by_labels(correct, found["choice"]))


def _folds(codes: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Fold numbers (n,) that divide every class evenly."""
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    fold = np.empty(len(codes), dtype=int)
    fold[order] = np.arange(len(codes)) % N_FOLDS
    return fold


def _decide_by_labels(correct: dict[str, np.ndarray], choice: str) -> dict[str, Any]:
    """What held-out labels say, or else the choice of the label-free signs.

    Parameters
    ----------
    correct : dict of ndarray of shape (n,)
        Whether each choice predicts the label.
    choice : str
    """
    decided_by = "predictions"
    gain, error = _mean_and_error(correct["class_maps"] - correct["none"])
    if abs(gain) > N_STANDARD_ERRORS * error:
        choice, decided_by = "class_maps" if gain > 0 else "none", "labels"
    if "target_labels" in correct:
        alone = _mean_and_error(correct["target_labels"] - correct[choice])
        if alone[0] > N_STANDARD_ERRORS_ALONE * alone[1]:
            choice, decided_by = "target_labels", "labels"
    accuracy = {name: float(right.mean()) for name, right in correct.items()}
    return {
        "choice": choice,
        "decided_by": decided_by,
        "label_accuracy": accuracy,
        "label_error": error,
    }


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _compare_predictions(
    plain: Any, adapted: Any, X: np.ndarray, has_labels: bool
) -> dict[str, Any]:
    """The label-free signs, for rows X (n, d) of the target, and what they say.

    Parameters
    ----------
    plain, adapted : fitted classifiers
        Of the same classes.
    X : ndarray of shape (n, d)
    has_labels : bool
        Whether there are labelled rows among those of the target.
    """
    before, after = (_class_probabilities(model, X) for model in (plain, adapted))
    information = _information(after) - _information(before)
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    n_changed, gain = likelihood_gain(X, old, new)
    helps = information > 0 or has_labels
    if n_changed >= MANY_CHANGES:
        helps = gain >= MIN_GAIN
    return {
        "choice": "class_maps" if helps else "none",
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
