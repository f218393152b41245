"""Values as JSON and arrays, and back: reading them runs nothing.

What JSON has no word for is an object of one key, its kind: ``{"tuple": [1, 2]}``,
``{"array": "fitted.best_iter_"}``. Arrays stand apart, by name, each used once.
"""

import math

import numpy as np
import torch
from sklearn.base import BaseEstimator, is_classifier
from skorch.history import History

from sk_ncf._persistence.classifiers import ModelFileError, skops_bytes, skops_object
from sk_ncf.costs._registry import COSTS, make_cost
from sk_ncf.objectives._registry import OBJECTIVES

__all__ = ["Decoder", "Encoder"]

COST_NAMES = {kind: name for name, kind in COSTS.items()}
OBJECTIVE_NAMES = {kind: name for name, kind in OBJECTIVES.items()}
NUMBERS = {np.dtype(code).str: np.dtype(code) for code in "?bhilqBHILQefd"}
MOST_LETTERS = 2**28  # an array gives every word the room of the longest
# What the map does without, once it is fitted.
NOT_OF_THE_MAP = ("net", "callbacks")


class Encoder:
    """Values to what JSON can say, and the arrays that it cannot.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Of every value encoded so far, contiguous and little-endian.
    """

    def __init__(self):
        self.arrays = {}

    def __call__(self, value, path=()):
        """The JSON value; `path` says where it belongs, group and name first.

        Raises
        ------
        ValueError
            For an object that only its own code can rebuild; the message names it.
        ImportError
            For a classifier, where skops is not installed.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is list:
            return self._items(value, path)
        return self._of_a_kind(value, path)

    def _items(self, values, path):
        return [self(value, (*path, str(k))) for k, value in enumerate(values)]

    def _of_a_kind(self, value, path):
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

    def _array(self, value, path):
        if value.dtype.kind in "UO":
            words = value.ravel().tolist()
            if value.ndim != 1 or not all(type(word) is str for word in words):
                raise _refusal(value, path)
            return {"words": [value.dtype.kind, words]}
        if value.dtype.newbyteorder("<").str not in NUMBERS:
            raise _refusal(value, path)
        if value.flags.f_contiguous and not value.flags.c_contiguous:
            # Products of matrices round by the order of their memory.
            return {"transposed": self._array(value.T, path)}
        name = ".".join(path)
        while name in self.arrays:
            name += "'"
        little = value.dtype.newbyteorder("<")
        self.arrays[name] = np.array(value, dtype=little, order="C")
        return {"array": name}

    def _random_state(self, value, path):
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise _refusal(value, path)
        parts = state["state"]["key"], state["state"]["pos"]
        return self([*parts, state["has_gauss"], state["gauss"]], path)


class Decoder:
    """What :class:`Encoder` made of values, back to values.

    Parameters
    ----------
    arrays : dict of str to ndarray
    classifiers : bool, default=True
        Whether scikit-learn objects are read; None stands for them otherwise.
    """

    def __init__(self, arrays, classifiers=True):
        self.arrays, self.classifiers = dict(arrays), classifiers

    def __call__(self, value):
        """The value.

        Raises
        ------
        ModelFileError, KeyError, TypeError, ValueError
            If it is nothing that was encoded.
        """
        if isinstance(value, list):
            return [self(part) for part in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        return self._KINDS[kind](self, content)

    def _float(self, content):
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]

    def _tuple(self, content):
        return tuple(self(part) for part in content)

    def _history(self, content):
        rows = self(content)
        if not all(isinstance(row, dict) for row in rows):
            raise ModelFileError("its history_ is not a list of rows")
        return History(rows)

    def _dict(self, content):
        return {key: self(part) for key, part in content}

    def _array(self, content):
        return self.arrays.pop(content)

    def _transposed(self, content):
        return self(content).T

    def _words(self, content):
        kind, words = content
        if not all(isinstance(word, str) for word in words):
            raise ModelFileError("one of its arrays of strings holds other things")
        if len(words) * max(map(len, words), default=0) > MOST_LETTERS:
            raise ModelFileError("one of its arrays of strings would take gigabytes")
        return np.array(words, dtype={"U": np.str_, "O": object}[kind])

    def _scalar(self, content):
        name, value = content
        with np.errstate(all="raise"):
            return NUMBERS[name].type(self(value))

    def _cost(self, content):
        name, params = content
        return make_cost(name, self(params))

    def _objective(self, content):
        name, params = content
        return OBJECTIVES[name](**self(params))

    def _device(self, content):
        return torch.device(content)

    def _random_state(self, content):
        key, pos, has_gauss, gauss = self(content)
        # NumPy reads at `pos` without looking where that is.
        if key.shape != (624,) or key.dtype != np.uint32 or not 0 <= int(pos) <= 624:
            raise ModelFileError("the state of its random generator is out of range")
        generator = np.random.RandomState(0)
        generator.set_state(("MT19937", key, int(pos), int(has_gauss), float(gauss)))
        return generator

    def _skops(self, content):
        blob = self(content)
        return skops_object(blob) if self.classifiers else None

    _KINDS = {
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


def _name(path):
    return ".".join(path[1:]) or "the estimator"


def _refusal(value, path):
    name = _name(path)
    parameter = name.partition(".")[0]
    way_out = "Use pickle, for files that you open yourself."
    if path[:1] == ("parameters",) and parameter in NOT_OF_THE_MAP:
        way_out = f"set_params({parameter}=None) first keeps the map. Or use pickle."
    return ValueError(
        f"{name} cannot be saved, got {value!r}: it takes code of its own to read it "
        f"back, and a file that runs none has numbers, strings, arrays, built-in costs "
        f"and objectives and scikit-learn's classifiers only. {way_out}"
    )
