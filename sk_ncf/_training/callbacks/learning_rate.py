"""The learning rate schedule."""

import math

from skorch.callbacks import Callback

__all__ = ["PlateauCosine"]


class PlateauCosine(Callback):
    """Learning rate: a warm-up, constant until the plateau, then a cosine to zero.

    The plateau is declared by :class:`HeldOutRisk`, or here when a share of the budget
    is spent; the cosine takes the rest of the budget, at most two thirds of the steps
    so far.

    Parameters
    ----------
    max_steps : int or None
        The budget; None never leaves the plateau (a stream has no end).
    warmup : int, default=100
    constant_share : float, default=0.6
        Share of the budget after which the decay begins in any case.
    """

    def __init__(self, max_steps, warmup=100, constant_share=0.6):
        self.max_steps = max_steps
        self.warmup = warmup
        self.constant_share = constant_share

    def initialize(self):
        """Back to step 0."""
        self.step, self.turn, self.base = 0, None, None
        self.end = math.inf if self.max_steps is None else self.max_steps
        return self

    def start_decay(self):
        """Leave the plateau, unless that was done before."""
        if self.turn is None:
            self.turn = self.step
            self.end = min(self.end, self.step + max(1, 2 * self.step // 3))

    def factor(self):
        """Learning rate of the coming step, relative to the initial one."""
        if self.turn is None:
            return min(1.0, (self.step + 1) / self.warmup)
        share = (self.step - self.turn) / max(1, self.end - self.turn)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    def slow_down(self, factor):
        """Multiply all learning rates to come."""
        self.base = [factor * base for base in self.base]

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        """Set the learning rate."""
        groups = net.optimizer_.param_groups
        if self.base is None:
            self.base = [group["lr"] for group in groups]
        if self.step >= self.constant_share * self.end:
            self.start_decay()
        factor = self.factor()
        for group, base in zip(groups, self.base, strict=True):
            group["lr"] = base * factor
        self.step += 1
