"""The result of a fit."""

from dataclasses import dataclass

import numpy as np
from skorch import NeuralNet

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._training.potential_choice import Comparison

__all__ = ["FitResult"]


@dataclass
class FitResult:
    """The fitted flow, and how its training ended."""

    flow: CharacteristicFlow
    net: NeuralNet | None  # None without training
    n_iter: int
    best_iter: np.ndarray  # (K,), one step for every class with its own potential
    stop_reason: str
    small: np.ndarray  # (K,) of bool: classes with too few rows to train on
    map_kind: np.ndarray  # (K,) of str, as in the estimator's `map_kind_`
    comparison: Comparison | None = None  # of the network and the discrete potential
