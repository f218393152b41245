"""A fitted estimator rebuilt from its state; every value is checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils import check_random_state

from sk_ncf._classes.class_pairs import ClassLabels
from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import BasePotential, MeanPotential, Potential
from sk_ncf._flow.preconditioner import Preconditioner, common_cost
from sk_ncf._flow.separable_potential import PotentialSum
from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.potentials import restored_discrete, restored_separable
from sk_ncf._persistence.preconditioners import KINDS, restored_preconditioners
from sk_ncf._persistence.state import RECONSTRUCTED, WEIGHTS, State
from sk_ncf._persistence.value_checks import (
    checked_array,
    checked_float,
    checked_int,
)
from sk_ncf._training.fit_session import FitSession
from sk_ncf.costs import Cost
from sk_ncf.costs._checks import check_cost_parameters
from sk_ncf.diagnostics._support import Support
from sk_ncf.estimator import NCFTransport

__all__ = ["restored_estimator"]

REQUESTS = ("fit", "partial_fit", "transform", "inverse_transform", "score")
REQUIRED = {
    "n_features_in_",
    "n_iter_",
    "best_iter_",
    "stop_reason_",
    "history_",
    "map_kind_",
    "n_outliers_",
}
CONTAINERS = ("default", "pandas", "polars")

SupportPair = tuple[Support | None, Support | None]


def restored_estimator(state: State, classifiers: bool = True) -> NCFTransport:
    """The fitted estimator with this state.

    Parameters
    ----------
    state : dict
        As returned by :func:`~sk_ncf._persistence.state.estimator_state`.
    classifiers : bool, default=True
        False if the classifiers were not loaded.

    Raises
    ------
    ModelFileError, KeyError, TypeError, ValueError
        If it is not the state of a fitted estimator.
    """
    estimator = NCFTransport(**state["parameters"])
    estimator._check_parameters()
    _set_fitted(estimator, state["fitted"])
    d = checked_int("n_features_in_", getattr(estimator, "n_features_in_", None), 1)
    _set_settings(estimator, **state["settings"])
    estimator.cost_ = state["cost"]["cost_"]
    if not isinstance(estimator.cost_, Cost):
        raise ModelFileError("its cost_ is not a cost")
    check_cost_parameters(estimator.cost_, d)
    labels = _labels(state["classes"], d)
    if labels is not None and labels.per_class and not classifiers:
        labels.left_out = True
    n_classes = 1 if labels is None else len(labels.classes)
    one_map = labels is None or not labels.per_class
    maps = state["preconditioners"]
    preconditioners = restored_preconditioners(
        maps, estimator.cost_, d, one_map, n_classes
    )
    estimator.flow_ = _flow(state["potential"], preconditioners[: len(maps)], d)
    estimator.net_, estimator.preconditioners_ = None, preconditioners
    estimator._score_rows = _score_rows(state["score_rows"], d, n_classes)
    estimator._session = _session(estimator, labels, state)
    estimator._labels = labels
    estimator._set_class_attributes(labels)
    return estimator


def _set_fitted(estimator: NCFTransport, values: State) -> None:
    if not values.keys() >= REQUIRED:
        raise ModelFileError(f"it lacks {sorted(REQUIRED - values.keys())}")
    for name, value in values.items():
        if not name.endswith("_") or name.startswith("_") or name in RECONSTRUCTED:
            raise ModelFileError(f"it has an attribute {name}, which no fit sets")
        setattr(estimator, name, value)
    checked_int("n_iter_", values["n_iter_"], 0)
    checked_float("weight_to_split_", values.get("weight_to_split_", 0.0))
    steps = np.asarray(values["best_iter_"])
    valid = isinstance(values["history_"], list) and type(values["stop_reason_"]) is str
    if not valid or steps.dtype.kind != "i":
        raise ModelFileError(
            "its best_iter_, stop_reason_ or history_ has another type"
        )
    if not np.isin(values["map_kind_"], (*KINDS, "network", "discrete")).all():
        raise ModelFileError(f"its map_kind_ is {values['map_kind_']!r}")
    checked_array("n_outliers_", values["n_outliers_"], (2,), "i")
    names = values.get("feature_names_in_")
    if names is not None and np.shape(names) != (values["n_features_in_"],):
        raise ModelFileError("feature_names_in_ does not have n_features_in_ names")


def _set_settings(
    estimator: NCFTransport, output: State, requests: State | None
) -> None:
    for key, container in output.items():
        if key != "transform" or container not in CONTAINERS:
            raise ModelFileError(f"its output format is {output!r}")
        estimator.set_output(transform=container)
    if requests is None:
        return
    with sklearn.config_context(enable_metadata_routing=True):
        for method, requested in requests.items():
            if method not in REQUESTS:
                raise ModelFileError(f"it has metadata requests of {method!r}")
            getattr(estimator, f"set_{method}_request")(**requested)


def _labels(state: State | None, d: int) -> ClassLabels | None:
    if state is None:
        return None
    labels = ClassLabels(**state)
    classes, seen = labels.classes, labels.seen
    if not isinstance(classes, np.ndarray) or classes.dtype.kind not in "biuU":
        raise ModelFileError("its classes_ are not labels")
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes) or not len(classes):
        raise ModelFileError("its classes_ are not distinct")
    checked_float("pseudo_label_fraction_", labels.pseudo_label_fraction)
    checked_float(
        "pseudo_label_accuracy_", labels.pseudo_label_accuracy, allow_nan=True
    )
    for rows in () if seen is None else seen:
        _check_seen(rows, len(classes), d)
    for classifier in (labels.classifier, labels.target_classifier):
        known = getattr(classifier, "n_features_in_", d)
        if classifier is not None and (
            known != d or not hasattr(classifier, "predict")
        ):
            raise ModelFileError(f"its classifier is not one of {d} features")
    return labels


def _check_seen(rows: Any, n_classes: int, d: int) -> None:
    """Raise ModelFileError unless these can be rows that a classifier was fitted to."""
    if rows is None:
        return
    X, weight, codes = rows
    checked_array("the rows of its classifiers", X, (None, d), "f")
    checked_array("the weights of its classifiers", weight, (len(X),), "f")
    checked_array("the classes of its classifiers' rows", codes, (len(X),), "i")
    if codes.min() < 0 or codes.max() >= n_classes:
        raise ModelFileError("its classifiers' rows have unknown classes")


def _flow(
    state: State, preconditioners: Sequence[Preconditioner], d: int
) -> CharacteristicFlow:
    """Potential and cost of all classes, on the CPU."""
    cost = common_cost(preconditioners)
    potential: BasePotential | None = None
    if "input_weight" in state or state.get("discrete") is None:
        potential = _network(state, len(preconditioners), d)
    if state.get("discrete") is not None:
        n_maps = len(preconditioners)
        potential = restored_discrete(state["discrete"], potential, cost, n_maps, d)
    assert potential is not None
    return CharacteristicFlow(potential, cost).requires_grad_(False)


def _network(state: State, n_maps: int, d: int) -> BasePotential:
    """The trained potentials, or their mean."""
    ensemble_size = checked_int("ensemble_size", state["ensemble_size"], 1)
    first = checked_array(
        "input_weight", state["input_weight"], (None, None, d + 2, None)
    )
    n_potentials, depth, _, width = first.shape
    if n_potentials != ensemble_size * n_maps:
        raise ModelFileError(
            f"it has {n_potentials} potentials for {n_maps} maps of {ensemble_size}"
        )
    hidden, last = state["hidden_weight"], state["output_weight"]
    checked_array("hidden_weight", hidden, (n_potentials, depth - 1, width, width))
    checked_array("output_weight", last, (n_potentials, width, 1))
    sharpness = checked_float(
        "the sharpness of its potential", state["sharpness"], positive=True
    )
    network = Potential(d, (width,) * depth, n_potentials, sharpness)
    weights = zip(WEIGHTS, (first, hidden, last), strict=True)
    network.load_state_dict({name: torch.from_numpy(w) for name, w in weights})
    exact_inverse = state.get("exact_inverse", False)  # older files have none
    if not isinstance(exact_inverse, bool):
        raise ModelFileError(f"its exact_inverse is {exact_inverse!r}")
    network.exact_inverse = exact_inverse
    members: BasePotential = network
    if state.get("separable") is not None:
        separable = restored_separable(state["separable"], n_potentials, d)
        members = PotentialSum(network, separable)
    return MeanPotential(members, ensemble_size) if ensemble_size > 1 else members


def _score_rows(
    pairs: Sequence[Any], d: int, n_classes: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(pairs) != n_classes:
        raise ModelFileError(f"it has score rows of {len(pairs)} classes")
    for rows in (rows for pair in pairs for rows in pair if rows is not None):
        checked_array("the rows to score with", rows, (None, d), "f")
    return [(source, target) for source, target in pairs]


def _session(
    estimator: NCFTransport, labels: ClassLabels | None, state: State
) -> FitSession:
    stream, rng = state["stream"], state["stream"]["rng"]
    if isinstance(rng, str | None):
        rng = check_random_state(estimator.random_state if rng else None)
    if not isinstance(rng, np.random.RandomState):
        raise ModelFileError("its random generator is not a RandomState")
    n_samples = checked_int("n_samples", stream["n_samples"], 1)
    shared = labels is not None and not labels.per_class
    # Older files have none. A network may have replaced the ensemble.
    ensemble_size = stream.get("ensemble_size", state["potential"]["ensemble_size"])
    checked_int("ensemble_size", ensemble_size, 1)
    n_classes = 1 if labels is None else len(labels.classes)
    supports = _supports(state["supports"], estimator.n_features_in_, n_classes)
    return FitSession.from_saved_state(
        estimator, rng, n_samples, ensemble_size, shared, supports
    )


def _supports(pairs: Sequence[Any], d: int, n_classes: int) -> list[SupportPair]:
    if len(pairs) != n_classes:
        raise ModelFileError(f"it has supports of {len(pairs)} classes")
    return [(_support(source, d), _support(target, d)) for source, target in pairs]


def _support(values: State | None, d: int) -> Support | None:
    if values is None:
        return None
    support = Support(**values)
    checked_array("the rows of a support", support.X, (None, d), "f")
    checked_array("the keys of a support", support.key, (len(support.X),), "f")
    checked_int("n_seen", support.n_seen, 1)
    return support
