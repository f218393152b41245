"""Types of the parameters of the public functions."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

__all__ = ["Classifier", "CostName", "Device", "Labels", "Seed"]

CostName = Literal[
    "sqeuclidean", "lp", "norm_power", "elastic", "pseudo_huber", "quadratic_form"
]
Device = str | torch.device
Seed = int | np.random.RandomState | None
Labels = ArrayLike | Sequence[Any]  # None where a label is missing


class Classifier(Protocol):
    """What scikit-learn calls a classifier."""

    def fit(self, X: Any, y: Any, /) -> Any:
        """Fit to rows and their classes."""
        ...

    def predict(self, X: Any, /) -> Any:
        """The classes of rows."""
        ...
