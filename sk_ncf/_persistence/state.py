"""What a fitted estimator is made of, as plain values."""

from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_ncf._flow.potential import MeanPotential, Potential
from sk_ncf.estimator import CLASS_ATTRIBUTES, NCFTransport

__all__ = ["REBUILT", "WEIGHTS", "state_of"]

WEIGHTS = ("input_weight", "hidden_weight", "output_weight")
SIDES = ("source", "target")
# What is put together again from other values, or (net_) not kept.
REBUILT = {"cost_", "flow_", "net_", "preconditioners_", *CLASS_ATTRIBUTES}
PRIVATE = {"_score_rows", "_session", "_labels", "_sklearn_output_config"}
PRIVATE |= {"_metadata_request"}


def state_of(estimator, classifiers=True):
    """The state of a fitted estimator, in groups of plain values by name.

    Parameters
    ----------
    estimator : NCFTransport
    classifiers : bool, default=True
        Whether scikit-learn's classifiers are part of it.

    Raises
    ------
    TypeError, ValueError
        If it is no estimator of this package, not fitted, or has what is not known here.
    """
    if type(estimator) is not NCFTransport:
        raise TypeError(
            f"estimator must be an NCFTransport, got {type(estimator).__name__}: save "
            "the NCFTransport alone, or use pickle for the whole."
        )
    check_is_fitted(estimator)
    estimator._check_parameters()
    params = estimator.get_params(deep=False)
    own = {k: v for k, v in vars(estimator).items() if k not in params}
    for name in own.keys() - REBUILT - PRIVATE:
        if name.startswith("_"):
            raise ValueError(
                f"The estimator's attribute {name} cannot be saved, got {own[name]!r}. "
                "Use pickle, or save a fit without it."
            )
    if not classifiers:
        params["classifier"] = None
    return {
        "parameters": params,
        "fitted": {k: own[k] for k in own if k not in REBUILT | PRIVATE},
        "settings": _settings(estimator),
        "cost": {"cost_": estimator.cost_},
        "potential": _of_potential(estimator),
        "preconditioners": _of_preconditioners(estimator),
        "score_rows": [list(pair) for pair in estimator._score_rows],
        "supports": [
            [None if side is None else dict(vars(side)) for side in pair]
            for pair in estimator._session.supports
        ],
        "stream": _of_stream(estimator),
        "classes": _of_classes(estimator._labels, classifiers),
    }


def _settings(estimator):
    """set_output and the metadata requests that differ from the class's own."""
    requests = None
    if "_metadata_request" in vars(estimator):
        asked = estimator.get_metadata_routing()
        requests = {
            name: dict(getattr(asked, name).requests)
            for name in vars(asked)
            if getattr(getattr(asked, name), "requests", None)
        }
    output = getattr(estimator, "_sklearn_output_config", {})
    return {"output": dict(output), "requests": requests}


def _of_potential(estimator):
    potential, ensemble_size = estimator.flow_.potential, 1
    if isinstance(potential, MeanPotential):
        potential, ensemble_size = potential.members, potential.ensemble_size
    if type(potential) is not Potential:
        raise ValueError(
            "net cannot be saved, got a module of its own, which takes its code to be "
            f"read back: {estimator.flow_.potential!r}. Use pickle, for files that you "
            "open yourself."
        )
    weights = {name: getattr(potential, name).detach().numpy() for name in WEIGHTS}
    return {
        "ensemble_size": int(ensemble_size),
        "sharpness": potential.sharpness,
        **weights,
    }


def _of_preconditioners(estimator):
    """Of every class; one where the classes share it."""
    several = estimator.preconditioners_
    shared = all(frame is several[0] for frame in several)
    return [_of_frame(frame) for frame in (several[:1] if shared else several)]


def _of_frame(frame):
    sides = {side: dict(vars(getattr(frame, side))) for side in SIDES}
    extent = getattr(frame.original_cost, "_extent", None)
    return {**sides, "unit": frame.unit, "extent": extent, "kind": frame.kind}


def _of_stream(estimator):
    """What training goes on with: the generator may be the parameter, or NumPy's own."""
    session = estimator._session
    rng = session.rng
    if rng is estimator.random_state:
        rng = "random_state"
    elif rng is check_random_state(None):
        rng = None
    return {"n_samples": int(session.n_samples), "rng": rng}


def _of_classes(labels, classifiers):
    if labels is None:
        return None
    state = dict(vars(labels))
    if not classifiers:
        state["left_out"] = labels.per_class
        state["classifier"] = state["target_classifier"] = None
    return state
