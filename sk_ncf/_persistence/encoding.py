"""Values as JSON and arrays, and back, without running code.

A value of a type that JSON lacks is an object whose only key is the tag of the type:
``{"tuple": [1, 2]}``, ``{"array": "fitted.best_iter_"}``. Arrays are stored beside the
JSON under their names; each is used once.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, is_classifier
from skorch.history import History

from sk_ncf._persistence.classifiers import ModelFileError, skops_bytes, skops_object
from sk_ncf.costs import Cost
from sk_ncf.costs._registry import COSTS, make_cost
from sk_ncf.objectives import Objective
from sk_ncf.objectives._registry import OBJECTIVES

__all__ = ["Decoder", "Encoder"]

COST_NAMES = {kind: name for name, kind in COSTS.items()}
OBJECTIVE_NAMES = {kind: name for name, kind in OBJECTIVES.items()}
NUMBERS = {np.dtype(code).str: np.dtype(code) for code in "?bhilqBHILQefd"}
MAX_CHARACTERS = 2**28  # an array stores every string with the length of the longest
# Parameters that only a fit uses.
FIT_PARAMETERS = ("skorch_net", "callbacks")

Path = tuple[str, ...]  # of a value: its group, its name and the keys inside it


class Encoder:
    """Converts values to JSON values, and collects their arrays.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The arrays of all values so far, contiguous and little-endian.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, value: Any, path: Path = ()) -> Any:
        """The JSON value of a value.

        Parameters
        ----------
        value : object
        path : tuple of str
            Where the value belongs: its group and name first.

        Raises
        ------
        ValueError
            If only code of the value's own could rebuild it; the message names it.
        ImportError
            If it is a classifier and skops is not installed.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is list:
            return self._items(value, path)
        return self._tagged(value, path)

    def _items(self, values: Iterable[Any], path: Path) -> list[Any]:
        return [self(value, (*path, str(k))) for k, value in enumerate(values)]

    def _tagged(self, value: Any, path: Path) -> dict[str, Any]:
        """The value of a type that JSON lacks, under its tag."""
        kind = type(value)
        if kind is tuple:
            return {"tuple": self._items(value, path)}
        if kind is History:
            return {"history": self._items(list(value), path)}
        if kind is dict and all(type(key) is str for key in value):
            pairs = [[key, self(v, (*path, key))] for key, v in value.items()]
            return {"dict": pairs}
        if kind is np.ndarray:
            return self._array(value, path)
        if isinstance(value, np.generic) and value.dtype.str in NUMBERS:
            return {"scalar": [value.dtype.str, self(value.item(), path)]}
        if kind in COST_NAMES:
            return {"cost": [COST_NAMES[kind], self(value.get_params(False), path)]}
        if kind in OBJECTIVE_NAMES:
            params = self(value.get_params(False), path)
            return {"objective": [OBJECTIVE_NAMES[kind], params]}
        if kind is torch.device:
            return {"device": str(value)}
        if kind is np.random.RandomState:
            return {"random_state": self._random_state(value, path)}
        if isinstance(value, BaseEstimator) and is_classifier(value):
            return {"skops": self._array(skops_bytes(_name(path), value), path)}
        raise _refusal(value, path)

    def _array(self, value: np.ndarray, path: Path) -> dict[str, Any]:
        if value.dtype.kind in "UO":
            words = value.ravel().tolist()
            if value.ndim != 1 or not all(type(word) is str for word in words):
                raise _refusal(value, path)
            return {"words": [value.dtype.kind, words]}
        if value.dtype.newbyteorder("<").str not in NUMBERS:
            raise _refusal(value, path)
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            # The rounding of matrix products depends on the memory layout.
            return {"transposed": self._array(value.T, path)}
        name = ".".join(path)
        while name in self.arrays:
            name += "'"
        little = value.dtype.newbyteorder("<")
        self.arrays[name] = np.array(value, dtype=little, order="C")
        return {"array": name}

    def _random_state(self, value: np.random.RandomState, path: Path) -> list[Any]:
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise _refusal(value, path)
        parts = state["state"]["key"], state["state"]["pos"]
        return self([*parts, state["has_gauss"], state["gauss"]], path)


class Decoder:
    """Converts the JSON values of :class:`Encoder` back to values.

    Parameters
    ----------
    arrays : dict of str to ndarray
    classifiers : bool, default=True
        Whether scikit-learn objects are loaded. If not, they become None.
    """

    def __init__(self, arrays: dict[str, np.ndarray], classifiers: bool = True) -> None:
        self.arrays, self.classifiers = dict(arrays), classifiers

    def __call__(self, value: Any) -> Any:
        """The value of a JSON value.

        Raises
        ------
        ModelFileError, KeyError, TypeError, ValueError
            If :class:`Encoder` does not write such a JSON value.
        """
        if isinstance(value, list):
            return [self(part) for part in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        return self._DECODERS[kind](self, content)

    def _float(self, content: str) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]

    def _tuple(self, content: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(self(part) for part in content)

    def _history(self, content: Any) -> History:
        rows = self(content)
        if not all(isinstance(row, dict) for row in rows):
            raise ModelFileError("its history_ is not a list of dicts")
        return History(rows)

    def _dict(self, content: Iterable[Any]) -> dict[Any, Any]:
        return {key: self(part) for key, part in content}

    def _array(self, content: str) -> np.ndarray:
        return self.arrays.pop(content)

    def _transposed(self, content: Any) -> np.ndarray:
        return self(content).T

    def _words(self, content: Any) -> np.ndarray:
        kind, words = content
        if not all(isinstance(word, str) for word in words):
            raise ModelFileError("one of its arrays of strings holds other values")
        if len(words) * max(map(len, words), default=0) > MAX_CHARACTERS:
            raise ModelFileError("one of its arrays of strings would take gigabytes")
        return np.array(words, dtype={"U": np.str_, "O": object}[kind])

    def _scalar(self, content: Any) -> Any:
        name, value = content
        with np.errstate(all="raise"):
            return NUMBERS[name].type(self(value))

    def _cost(self, content: Any) -> Cost:
        name, params = content
        return make_cost(name, self(params))

    def _objective(self, content: Any) -> Objective:
        name, params = content
        return OBJECTIVES[name](**self(params))

    def _device(self, content: Any) -> torch.device:
        return torch.device(content)

    def _random_state(self, content: Any) -> np.random.RandomState:
        key, pos, has_gauss, gauss = self(content)
        # NumPy does not check `pos`, an index into the key.
        if key.shape != (624,) or key.dtype != np.uint32 or not 0 <= int(pos) <= 624:
            raise ModelFileError("the state of its random generator is out of range")
        generator = np.random.RandomState(0)
        generator.set_state(("MT19937", key, int(pos), int(has_gauss), float(gauss)))
        return generator

    def _skops(self, content: Any) -> Any:
        blob = self(content)
        return skops_object(blob) if self.classifiers else None

    _DECODERS: dict[str, Callable[["Decoder", Any], Any]] = {
        "float": _float,
        "tuple": _tuple,
        "history": _history,
        "dict": _dict,
        "array": _array,
        "transposed": _transposed,
        "words": _words,
        "scalar": _scalar,
        "cost": _cost,
        "objective": _objective,
        "device": _device,
        "random_state": _random_state,
        "skops": _skops,
    }


def _name(path: Path) -> str:
    return ".".join(path[1:]) or "the estimator"


def _refusal(value: Any, path: Path) -> ValueError:
    name = _name(path)
    parameter = name.partition(".")[0]
    advice = "Use pickle, for files that only you open."
    if path[:1] == ("parameters",) and parameter in FIT_PARAMETERS:
        advice = f"Call set_params({parameter}=None) first: the map stays the same."
    return ValueError(
        f"{name} cannot be saved, got {value!r}. A file of sk_ncf.save runs no code when "
        "it is loaded and therefore holds only numbers, strings, arrays, the package's "
        f"costs and objectives, and classifiers of scikit-learn. {advice}"
    )
