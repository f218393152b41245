"""Everything that a training step changes, as tensors and built-in values."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.minibatches import PairSampler

__all__ = ["restore_training_state", "training_state"]

# Attributes of the callbacks that a step changes.
SCHEDULE_STATE = ("step", "turn", "high", "shortened", "base", "end")
AVERAGE_STATE = ("average", "step")
SELECTION_STATE = ("kept_weights", "kept_step", "best_step", "n_restarts")
RISKS = ("best", "kept")  # the row weights in them are recomputed
_UNSUPPORTED = object()


def training_state(
    net: NeuralNet, sampler: PairSampler, risk: ModelSelection
) -> dict[str, Any]:
    """The state of a fit between two epochs."""
    risks = {name: getattr(risk, name).values() for name in RISKS}
    _, words, *position = sampler.rng.get_state()
    history = [{**row, "batches": []} for row in net.history]
    return {
        "weights": net.module_.state_dict(),
        "optimizer": net.optimizer_.state_dict(),
        "history": _builtin_values(history),
        "best_scores": _builtin_values(
            {name: c.best_score_ for name, c in _scoring_callbacks(net)}
        ),
        "schedule": {name: getattr(risk.schedule, name) for name in SCHEDULE_STATE},
        "average": {name: getattr(risk.average, name) for name in AVERAGE_STATE},
        "selection": {name: getattr(risk, name) for name in SELECTION_STATE},
        "risks": risks,
        "n_left": sampler.n_left,
        "rng": (torch.from_numpy(np.asarray(words).astype(np.int64)), *position),
    }


def restore_training_state(
    state: dict[str, Any], net: NeuralNet, sampler: PairSampler, risk: ModelSelection
) -> None:
    """Put all values back where :func:`training_state` took them from.

    Raises
    ------
    LookupError, TypeError, ValueError, AttributeError, RuntimeError
        If it is not such a state, or that of another architecture.
    """
    net.module_.load_state_dict(state["weights"])
    net.optimizer_.load_state_dict(state["optimizer"])
    net.history.clear()
    net.history.extend(state["history"])
    for name, callback in _scoring_callbacks(net):
        callback.best_score_ = state["best_scores"].get(name, callback.best_score_)
    _restore_callbacks(state, net, risk)
    words, *position = state["rng"]
    key = words.numpy().astype(np.uint32)
    sampler.rng.set_state(("MT19937", key, *position))
    sampler.n_left = state["n_left"]


def _restore_callbacks(
    state: dict[str, Any], net: NeuralNet, risk: ModelSelection
) -> None:
    risk.schedule.__dict__.update(state["schedule"])
    average = state["average"]
    if average["average"] is not None:
        parameters = list(net.module_.parameters())
        average = {**average, "average": _placed_like(average["average"], parameters)}
    risk.average.__dict__.update(average)
    for name in SELECTION_STATE:
        value = _placed_like(state["selection"][name], getattr(risk, name))
        setattr(risk, name, value)
    for name in RISKS:
        current, values = getattr(risk, name), state["risks"][name]
        values = {n: _placed_like(v, getattr(current, n)) for n, v in values.items()}
        setattr(risk, name, replace(current, **values))


def _scoring_callbacks(net: NeuralNet) -> list[tuple[str, Callback]]:
    """skorch's callbacks that mark the best epoch in the history."""
    return [(name, c) for name, c in net.callbacks_ if hasattr(c, "best_score_")]


def _placed_like(value: Any, model: Any) -> Any:
    """Tensors with the device and type of those of `model`; shapes must be equal."""
    if isinstance(model, dict):
        return {name: _placed_like(value[name], model[name]) for name in model}
    if isinstance(model, list):
        return [_placed_like(*pair) for pair in zip(value, model, strict=True)]
    if value.shape != model.shape:
        raise ValueError(
            f"it has a tensor of shape {tuple(value.shape)} instead of "
            f"{tuple(model.shape)}."
        )
    return value.to(model.device, model.dtype)


def _builtin_values(value: Any) -> Any:
    """Numbers, strings, and lists and dicts of them; other values are left out."""
    if isinstance(value, dict):
        found = {name: _builtin_values(v) for name, v in value.items()}
        return {name: v for name, v in found.items() if v is not _UNSUPPORTED}
    if isinstance(value, list | tuple):
        items = [_builtin_values(v) for v in value]
        return _UNSUPPORTED if any(v is _UNSUPPORTED for v in items) else items
    value = value.item() if isinstance(value, np.generic) else value
    builtin = value is None or isinstance(value, bool | int | float | str)
    return value if builtin else _UNSUPPORTED
