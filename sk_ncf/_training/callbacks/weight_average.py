"""The moving average of the weights."""

import torch
from skorch.callbacks import Callback

__all__ = ["WeightAverage"]


class WeightAverage(Callback):
    """Moving average of the weights: what is judged and kept.

    Over the last tenth of the steps so far, and at most the last 1 / (1 - decay).

    Parameters
    ----------
    decay : float, default=0.997
    """

    placed = ("average",)

    def __init__(self, decay=0.997):
        self.decay = decay

    def initialize(self):
        """Forget the average."""
        self.average, self.step = None, 0
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Start at the initial weights."""
        self.parameters = list(net.module_.parameters())
        if self.average is None:
            self.average = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        """Move the average towards the weights."""
        self.step += 1
        share = max(1 - self.decay, 10 / (self.step + 10))
        torch._foreach_lerp_(self.average, self.parameters, share)

    @torch.no_grad()
    def restart(self):
        """Begin again at the present weights."""
        self.step = 0
        torch._foreach_copy_(self.average, self.parameters)

    @torch.no_grad()
    def swap(self):
        """Exchange the weights and their average."""
        for parameter, average in zip(self.parameters, self.average, strict=True):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)

    def __getstate__(self):
        # The parameters are the module's, of which a copy would be another.
        return {k: v for k, v in vars(self).items() if k != "parameters"}
