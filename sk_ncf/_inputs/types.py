"""Types of the parameters of the public functions."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

__all__ = [
    "Classifier",
    "CostName",
    "Device",
    "Direction",
    "GeneratorSeed",
    "Labels",
    "Seed",
    "TransportEstimator",
]

CostName = Literal[
    "sqeuclidean", "lp", "norm_power", "elastic", "pseudo_huber", "quadratic_form"
]
Device = str | torch.device
Direction = Literal["forward", "inverse"]
Seed = int | np.random.RandomState | None
GeneratorSeed = int | np.random.Generator | None  # of data sets and displays
Labels = ArrayLike | Sequence[Any]  # None where a label is missing


class Classifier(Protocol):
    """A scikit-learn classifier."""

    def fit(self, X: Any, y: Any, /) -> Any:
        """Fit to rows and their classes."""
        ...

    def predict(self, X: Any, /) -> Any:
        """Predict the classes of rows."""
        ...


class TransportEstimator(Protocol):
    """The attributes of NCFTransport that validation and displays read."""

    @property
    def class_conditional(self) -> bool | Literal["per_class", "shared"]:
        """Whether there are classes, and one map for each or for all."""
        ...

    @property
    def default_domain(self) -> Literal["source", "target"]:
        """Domain of rows that are given without `sample_domain`."""
        ...

    @property
    def classifier(self) -> Classifier | None:
        """The user's classifier for unlabelled rows."""
        ...

    @property
    def n_features_in_(self) -> int:
        """Number of features of the fit."""
        ...
