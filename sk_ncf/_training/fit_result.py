"""The result of a fit, with the message that the user is warned by."""

from dataclasses import dataclass

import numpy as np
from skorch import NeuralNet

from sk_ncf._flow.characteristics import CharacteristicFlow

__all__ = ["FitResult"]

MESSAGES = {
    "diverged": (
        "Training diverged after {n_iter} steps. The weights of step {best_iter} are "
        "used (step 0 is the initialization, the Gaussian or mean-shift map). Try a "
        "smaller learning_rate_init."
    ),
    "interrupted": (
        "Training was interrupted after {n_iter} steps. The best weights until then are "
        "used, those of step {best_iter}."
    ),
}


@dataclass
class FitResult:
    """The fitted flow, and how its training ended."""

    flow: CharacteristicFlow
    net: NeuralNet | None  # None without training
    n_iter: int
    best_iter: np.ndarray  # (K,), one step for every class with its own potential
    stop_reason: str
    small: np.ndarray  # (K,) of bool: classes with too few rows to train on

    @property
    def message(self) -> str | None:
        """What to warn of; None if the training ended as intended."""
        if self.stop_reason not in MESSAGES:
            return None
        steps = self.best_iter
        step = steps.item() if len(steps) == 1 else steps.tolist()
        return MESSAGES[self.stop_reason].format(n_iter=self.n_iter, best_iter=step)
