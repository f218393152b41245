"""The learning rate schedule."""

import math
from typing import Any, Self

from skorch import NeuralNet
from skorch.callbacks import Callback

from sk_ncf._training.budget import MAX_WARMUP, warmup_steps

__all__ = ["LinearDecay"]


class LinearDecay(Callback):
    """Learning rate: linear warm-up, constant, then a linear decay to zero.

    The decay begins after a fixed share of the steps. :class:`ModelSelection` shortens it
    when the validation risk no longer improves: training then ends after two thirds of
    the steps taken until then, at the latest.

    Parameters
    ----------
    max_steps : int or None
        Steps of the fit at most. None for a stream, which has no end: the learning rate
        never decays.
    warmup : int, default=None
        Steps of the warm-up. None: a tenth of `max_steps`, at most 100.
    constant_share : float, default=0.2
        Share of `max_steps` after which the decay begins.
    """

    step: int
    turn: int | None  # step at which the decay began, or was shortened
    high: float  # relative learning rate at that step
    shortened: bool
    base: list[float] | None  # constant rate of every parameter group
    end: float  # last step

    def __init__(
        self,
        max_steps: int | None,
        warmup: int | None = None,
        constant_share: float = 0.2,
    ) -> None:
        self.max_steps = max_steps
        if warmup is None:
            warmup = MAX_WARMUP if max_steps is None else warmup_steps(max_steps)
        self.warmup = warmup
        self.constant_share = constant_share

    def initialize(self) -> Self:
        """Back to step 0."""
        self.step, self.turn, self.base = 0, None, None
        self.high, self.shortened = 1.0, False
        self.end = math.inf if self.max_steps is None else self.max_steps
        return self

    def shorten(self) -> None:
        """Decay from now on within two thirds of the steps so far; the first time only."""
        if not self.shortened:
            self.shortened = True
            self._decay_until(self.step + max(1, 2 * self.step // 3))

    def _decay_until(self, end: float) -> None:
        self.high, self.turn = self.factor(), self.step
        self.end = min(self.end, end)

    def factor(self) -> float:
        """Learning rate of the next step, relative to the constant one."""
        if self.turn is None:
            return min(1.0, (self.step + 1) / self.warmup)
        share = (self.step - self.turn) / max(1, self.end - self.turn)
        return self.high * max(0.0, 1 - share)

    def slow_down(self, factor: float) -> None:
        """Multiply all later learning rates by a factor."""
        assert self.base is not None
        self.base = [factor * base for base in self.base]

    def on_batch_begin(
        self,
        net: NeuralNet,
        batch: Any = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Set the learning rate."""
        groups = net.optimizer_.param_groups
        if self.base is None:
            self.base = [group["lr"] for group in groups]
        if self.turn is None and self.step >= self.constant_share * self.end:
            self._decay_until(self.end)
        factor = self.factor()
        for group, base in zip(groups, self.base, strict=True):
            group["lr"] = base * factor
        self.step += 1
