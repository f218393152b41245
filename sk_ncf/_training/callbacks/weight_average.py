"""The moving average of the weights."""

from typing import Any, Self

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Moving average of the weights, whose validation risk is evaluated.

    It covers the last tenth of the steps so far, at most the last 1 / (1 - decay).

    Parameters
    ----------
    decay : float, default=0.997
    """

    device_attributes = ("average",)
    parameters: list[Tensor]
    average: list[Tensor] | None
    step: int  # steps in the average

    def __init__(self, decay: float = 0.997) -> None:
        self.decay = decay

    def initialize(self) -> Self:
        """Discard the average."""
        self.average, self.step = None, 0
        return self

    def on_train_begin(
        self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Start the average at the initial weights."""
        self.parameters = list(net.module_.parameters())
        if self.average is None:
            self.average = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = True, **kwargs: Any
    ) -> None:
        """Move the average towards the weights."""
        assert self.average is not None
        self.step += 1
        share = max(1 - self.decay, 10 / (self.step + 10))
        torch._foreach_lerp_(self.average, self.parameters, share)

    @torch.no_grad()
    def restart(self) -> None:
        """Start the average again at the current weights."""
        assert self.average is not None
        self.step = 0
        torch._foreach_copy_(self.average, self.parameters)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights and their average."""
        assert self.average is not None
        for parameter, average in zip(self.parameters, self.average, strict=True):
            weights = parameter.clone()
            parameter.copy_(average)
            average.copy_(weights)

    def __getstate__(self) -> dict[str, Any]:
        # A copy must refer to the parameters of the copied module.
        return {k: v for k, v in vars(self).items() if k != "parameters"}
