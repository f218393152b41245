"""The state of a fitted estimator as plain values."""

from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_ncf._classes.class_pairs import ClassLabels
from sk_ncf._flow.discrete_potential import DiscretePotential
from sk_ncf._flow.potential import BasePotential, MeanPotential, Potential
from sk_ncf._flow.separable_potential import PotentialSum
from sk_ncf._persistence.potentials import discrete_state, separable_state
from sk_ncf._persistence.preconditioners import preconditioner_states
from sk_ncf.estimator import CLASS_ATTRIBUTES, NCFTransport

__all__ = ["RECONSTRUCTED", "WEIGHTS", "estimator_state"]

WEIGHTS = ("input_weight", "hidden_weight", "output_weight")
# Fitted attributes that are built from other values, or (net_) not saved.
RECONSTRUCTED = {"cost_", "flow_", "net_", "preconditioners_", *CLASS_ATTRIBUTES}
PRIVATE = {"_score_rows", "_session", "_labels", "_sklearn_output_config"}
PRIVATE |= {"_metadata_request"}

State = dict[str, Any]


def estimator_state(estimator: NCFTransport, classifiers: bool = True) -> State:
    """The state of a fitted estimator, in groups of plain values by name.

    Parameters
    ----------
    estimator : NCFTransport
    classifiers : bool, default=True
        Whether to include scikit-learn's classifiers.

    Raises
    ------
    TypeError, ValueError
        If it is not an NCFTransport, not fitted, or has unknown attributes.
    """
    if type(estimator) is not NCFTransport:
        raise TypeError(
            "estimator must be an NCFTransport or AdaptedClassifier, got "
            f"{type(estimator).__name__}: save the NCFTransport alone, or use pickle for "
            "the whole."
        )
    check_is_fitted(estimator)
    estimator._check_parameters()
    params = estimator.get_params(deep=False)
    fitted = {k: v for k, v in vars(estimator).items() if k not in params}
    for name in fitted.keys() - RECONSTRUCTED - PRIVATE:
        if name.startswith("_"):
            raise ValueError(
                f"The estimator's attribute {name} cannot be saved, got "
                f"{fitted[name]!r}. Use pickle, or save a fit without it."
            )
    if not classifiers:
        params["classifier"] = None
    return {
        "parameters": params,
        "fitted": {k: fitted[k] for k in fitted if k not in RECONSTRUCTED | PRIVATE},
        "settings": _settings(estimator),
        "cost": {"cost_": estimator.cost_},
        "potential": _potential_state(estimator),
        "preconditioners": preconditioner_states(estimator.preconditioners_),
        "score_rows": [list(pair) for pair in estimator._score_rows],
        "supports": [
            [None if side is None else dict(vars(side)) for side in pair]
            for pair in estimator._session.supports
        ],
        "stream": _stream_state(estimator),
        "classes": _class_state(estimator._labels, classifiers),
    }


def _settings(estimator: NCFTransport) -> State:
    """Those of set_output, and metadata requests that differ from the class's own."""
    requests = None
    if "_metadata_request" in vars(estimator):
        routing = estimator.get_metadata_routing()
        requests = {
            name: dict(getattr(routing, name).requests)
            for name in vars(routing)
            if getattr(getattr(routing, name), "requests", None)
        }
    output = getattr(estimator, "_sklearn_output_config", {})
    return {"output": dict(output), "requests": requests}


def _potential_state(estimator: NCFTransport) -> State:
    potential: BasePotential | None = estimator.flow_.potential
    discrete = None
    if isinstance(potential, DiscretePotential):
        discrete, potential = discrete_state(potential), potential.network
        if potential is None:  # no network was trained
            size = int(estimator._session.ensemble_size)
            return {"ensemble_size": size, "discrete": discrete}
    ensemble_size = 1
    if isinstance(potential, MeanPotential):
        ensemble_size, potential = potential.ensemble_size, potential.members
    separable = None
    if isinstance(potential, PotentialSum):
        separable = separable_state(potential.separable)
        potential = potential.network
    if type(potential) is not Potential:
        raise ValueError(
            "skorch_net cannot be saved, got a module of your own, which only its code "
            f"can rebuild: {potential!r}. Use pickle, for files that "
            "only you open."
        )
    weights: dict[str, np.ndarray] = {
        name: getattr(potential, name).detach().numpy() for name in WEIGHTS
    }
    return {
        "ensemble_size": int(ensemble_size),
        "sharpness": potential.sharpness,
        "exact_inverse": potential.exact_inverse,
        "discrete": discrete,
        "separable": separable,
        **weights,
    }


def _stream_state(estimator: NCFTransport) -> State:
    """What `partial_fit` continues with.

    The random generator may be the parameter `random_state` or NumPy's global one.
    """
    session = estimator._session
    rng = session.rng
    if rng is estimator.random_state:
        rng = "random_state"
    elif rng is check_random_state(None):
        rng = None
    return {
        "n_samples": int(session.n_samples),
        "rng": rng,
        "ensemble_size": int(session.ensemble_size),
    }


def _class_state(labels: ClassLabels | None, classifiers: bool) -> State | None:
    if labels is None:
        return None
    state = dict(vars(labels))
    if not classifiers:
        state["left_out"] = labels.per_class
        state["classifier"] = state["target_classifier"] = None
    return state
