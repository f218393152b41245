"""A fitted estimator put together again from values, each of which is checked."""

from dataclasses import replace

import numpy as np
import sklearn
import torch
from sklearn.utils import check_random_state

from sk_ncf._classes.class_pairs import ClassLabels
from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import MeanPotential, Potential
from sk_ncf._flow.preconditioner import (
    QUADRATIC,
    AffineMap,
    Preconditioner,
    common_cost,
)
from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.state import REBUILT, WEIGHTS
from sk_ncf._training.fit_session import FitSession
from sk_ncf.costs import Cost
from sk_ncf.costs._checks import check_cost_parameters
from sk_ncf.diagnostics._support import Support
from sk_ncf.estimator import NCFTransport

__all__ = ["estimator_of"]

REQUESTS = ("fit", "partial_fit", "transform", "inverse_transform", "score")
OF_EVERY_FIT = {
    "n_features_in_",
    "n_iter_",
    "best_iter_",
    "stop_reason_",
    "history_",
    "map_kind_",
    "n_outliers_",
}
CONTAINERS = ("default", "pandas", "polars")
KINDS = ("gaussian", "mean_shift", "identity")


def estimator_of(state, classifiers=True):
    """The fitted estimator of a state, all of whose values are checked.

    Parameters
    ----------
    state : dict
        What :func:`~sk_ncf._persistence.state.state_of` says of it.
    classifiers : bool, default=True
        False where its classifiers were not read.

    Raises
    ------
    ModelFileError, KeyError, TypeError, ValueError
        If it is no state of a fitted estimator.
    """
    estimator = NCFTransport(**state["parameters"])
    estimator._check_parameters()
    _set_fitted(estimator, state["fitted"])
    d = _whole("n_features_in_", getattr(estimator, "n_features_in_", None), 1)
    _set_settings(estimator, **state["settings"])
    estimator.cost_ = state["cost"]["cost_"]
    if not isinstance(estimator.cost_, Cost):
        raise ModelFileError("its cost_ is no cost")
    check_cost_parameters(estimator.cost_, d)
    labels = _labels(state["classes"], d)
    if labels is not None and labels.per_class and not classifiers:
        labels.left_out = True
    n_classes = 1 if labels is None else len(labels.classes)
    one_map = labels is None or not labels.per_class
    frames = _frames(state["preconditioners"], estimator.cost_, d, one_map, n_classes)
    n_maps = len(state["preconditioners"])
    estimator.flow_ = _flow(state["potential"], frames[:n_maps], d)
    estimator.net_, estimator.preconditioners_ = None, frames
    estimator._score_rows = _score_rows(state["score_rows"], d, n_classes)
    estimator._session = _session(estimator, labels, state)
    _set_labels(estimator, labels)
    return estimator


def _set_fitted(estimator, values):
    if not values.keys() >= OF_EVERY_FIT:
        raise ModelFileError(f"it lacks {sorted(OF_EVERY_FIT - values.keys())}")
    for name, value in values.items():
        if not name.endswith("_") or name.startswith("_") or name in REBUILT:
            raise ModelFileError(f"it has an attribute {name}, which no fit sets")
        setattr(estimator, name, value)
    _whole("n_iter_", values["n_iter_"], 0)
    steps = np.asarray(values["best_iter_"])
    known = isinstance(values["history_"], list), type(values["stop_reason_"]) is str
    if not all(known) or steps.dtype.kind != "i":
        raise ModelFileError("its best_iter_, stop_reason_ or history_ is none")
    if not np.isin(values["map_kind_"], (*KINDS, "network")).all():
        raise ModelFileError(f"its map_kind_ is not known: {values['map_kind_']!r}")
    counts = values["n_outliers_"]
    _array("n_outliers_", counts, (2,), "i")
    names = values.get("feature_names_in_")
    if names is not None and np.shape(names) != (values["n_features_in_"],):
        raise ModelFileError("feature_names_in_ are not as many as n_features_in_")


def _set_settings(estimator, output, requests):
    for key, container in output.items():
        if key != "transform" or container not in CONTAINERS:
            raise ModelFileError(f"its output format is {output!r}")
        estimator.set_output(transform=container)
    if requests is None:
        return
    with sklearn.config_context(enable_metadata_routing=True):
        for method, asked in requests.items():
            if method not in REQUESTS:
                raise ModelFileError(f"it has metadata requests of {method!r}")
            getattr(estimator, f"set_{method}_request")(**asked)


def _labels(state, d):
    if state is None:
        return None
    labels = ClassLabels(**state)
    classes, seen = labels.classes, labels.seen
    if not isinstance(classes, np.ndarray) or classes.dtype.kind not in "biuU":
        raise ModelFileError("its classes_ are no labels")
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes) or not len(classes):
        raise ModelFileError("its classes_ are not distinct")
    _float("pseudo_label_fraction_", labels.pseudo_label_fraction)
    _float("pseudo_label_accuracy_", labels.pseudo_label_accuracy, or_nan=True)
    for rows in () if seen is None else seen:
        _check_seen(rows, len(classes), d)
    for classifier in (labels.classifier, labels.target_classifier):
        known = getattr(classifier, "n_features_in_", d)
        if classifier is not None and (
            known != d or not hasattr(classifier, "predict")
        ):
            raise ModelFileError(f"its classifier is none of {d} features")
    return labels


def _check_seen(rows, n_classes, d):
    if rows is None:
        return
    X, weight, codes = rows
    _array("the rows of its classifiers", X, (None, d), "f")
    _array("the weights of its classifiers", weight, (len(X),), "f")
    _array("the classes of its classifiers' rows", codes, (len(X),), "i")
    if codes.min() < 0 or codes.max() >= n_classes:
        raise ModelFileError("its classifiers' rows are of classes that are not there")


def _set_labels(estimator, labels):
    estimator._labels = labels
    if labels is None:
        return
    estimator.classes_ = labels.classes
    estimator.pseudo_label_fraction_ = labels.pseudo_label_fraction
    estimator.pseudo_label_accuracy_ = labels.pseudo_label_accuracy
    if labels.per_class:
        estimator.classifier_ = labels.classifier
        estimator.target_classifier_ = labels.target_classifier


def _frames(states, cost, d, one_map, n_classes):
    """The changes of variables of all classes."""
    if len(states) != (1 if one_map else n_classes):
        raise ModelFileError(f"it has {len(states)} maps for {n_classes} classes")
    frames = [_frame(cost=cost, d=d, **state) for state in states]
    return frames * n_classes if one_map else frames


def _frame(source, target, unit, extent, kind, cost, d):
    if kind not in KINDS:
        raise ModelFileError(f"it starts from a map {kind!r}, which is not known")
    unit = _float("the unit of a cost", unit, positive=True)
    if extent is not None:
        cost = cost.within(_float("the extent of the rows", extent, positive=True))
    sides = [_affine_map(**side, d=d) for side in (source, target)]
    if not isinstance(cost, QUADRATIC):
        _check_scale(*sides, np.eye(d))
    return replace(Preconditioner.of_maps(*sides, unit, cost), kind=kind)


def _check_scale(source, target, eye):
    """Other costs have one scale for all features of both sides."""
    scale = _float("the scale of the rows", source.inverse_matrix[0, 0], positive=True)
    for side in (source, target):
        one = np.array_equal(side.inverse_matrix, eye * scale)
        if not one or not np.array_equal(side.matrix, eye / scale):
            raise ModelFileError("its changes of variables do not fit its cost")


def _affine_map(mean, matrix, inverse_matrix, radius, d):
    if not (isinstance(radius, float) and radius > 0):
        raise ModelFileError(f"the radius of the rows must be > 0, got {radius!r}")
    _array("the mean of a change of variables", mean, (d,), "f")
    for part in (matrix, inverse_matrix):
        _array("the matrix of a change of variables", part, (d, d), "f")
    return AffineMap(mean, matrix, inverse_matrix, radius)


def _flow(state, frames, d):
    """Potential and cost of the classes, on the CPU."""
    ensemble_size, sharpness = (
        _whole("ensemble_size", state["ensemble_size"], 1),
        state["sharpness"],
    )
    first = _array("input_weight", state["input_weight"], (None, None, d + 2, None))
    n_potentials, depth, _, width = first.shape
    if n_potentials != ensemble_size * len(frames):
        raise ModelFileError(
            f"it has {n_potentials} potentials for {len(frames)} maps of {ensemble_size}"
        )
    hidden, last = state["hidden_weight"], state["output_weight"]
    _array("hidden_weight", hidden, (n_potentials, depth - 1, width, width))
    _array("output_weight", last, (n_potentials, width, 1))
    sharpness = _float("the sharpness of its potential", sharpness, positive=True)
    potential = Potential(d, (width,) * depth, n_potentials, sharpness)
    weights = zip(WEIGHTS, (first, hidden, last), strict=True)
    potential.load_state_dict({name: torch.from_numpy(w) for name, w in weights})
    if ensemble_size > 1:
        potential = MeanPotential(potential, ensemble_size)
    return CharacteristicFlow(potential, common_cost(frames)).requires_grad_(False)


def _score_rows(pairs, d, n_classes):
    if len(pairs) != n_classes:
        raise ModelFileError(f"it has rows to score of {len(pairs)} classes")
    for rows in (rows for pair in pairs for rows in pair if rows is not None):
        _array("the rows to score with", rows, (None, d), "f")
    return [(source, target) for source, target in pairs]


def _session(estimator, labels, state):
    stream, rng = state["stream"], state["stream"]["rng"]
    if isinstance(rng, str | None):
        rng = check_random_state(estimator.random_state if rng else None)
    if not isinstance(rng, np.random.RandomState):
        raise ModelFileError("its random generator is none")
    n_samples = _whole("n_samples", stream["n_samples"], 1)
    shared = labels is not None and not labels.per_class
    ensemble_size = state["potential"]["ensemble_size"]
    n_classes = 1 if labels is None else len(labels.classes)
    supports = _supports(state["supports"], estimator.n_features_in_, n_classes)
    return FitSession.restored(
        estimator, rng, n_samples, ensemble_size, shared, supports
    )


def _supports(pairs, d, n_classes):
    if len(pairs) != n_classes:
        raise ModelFileError(f"it has supports of {len(pairs)} classes")
    return [(_support(source, d), _support(target, d)) for source, target in pairs]


def _support(values, d):
    if values is None:
        return None
    support = Support(**values)
    _array("the rows of a support", support.X, (None, d), "f")
    _array("the keys of a support", support.key, (len(support.X),), "f")
    _whole("n_seen", support.n_seen, 1)
    return support


def _array(name, value, shape, kind=np.float32):
    """An array of finite numbers, of a dtype or a kind; None stands for any length."""
    fits = isinstance(value, np.ndarray) and value.ndim == len(shape)
    fits = fits and all(
        n > 0 if wanted is None else n == wanted
        for n, wanted in zip(value.shape, shape, strict=True)
    )
    fits = fits and (value.dtype.kind == kind or value.dtype == kind)
    if not fits:
        got = value
        if isinstance(value, np.ndarray):
            got = f"shape {value.shape} of {value.dtype}"
        raise ModelFileError(f"{name} must be numbers of shape {shape}, got {got}")
    if not np.isfinite(value).all():
        raise ModelFileError(f"{name} must be finite, got NaN or infinity")
    return value


def _whole(name, value, least):
    if type(value) is not int or not least <= value < 2**53:
        raise ModelFileError(f"{name} must be a whole number >= {least}, got {value!r}")
    return value


def _float(name, value, positive=False, or_nan=False):
    number = isinstance(value, float) and (
        np.isfinite(value) or (or_nan and value != value)
    )
    if not number or (positive and not value > 0):
        raise ModelFileError(f"{name} must be a finite number, got {value!r}")
    return value
