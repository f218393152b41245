"""Gradient clipping."""

from functools import partial

from skorch.callbacks import Callback

from sk_ncf._training.cuda_graphs import Recording
from sk_ncf._training.devices import objective_of

__all__ = ["ClipPerPotential"]


class ClipPerPotential(Callback):
    """Clips the gradient of every potential by its own norm; what is no number is 0.

    The loss is the mean over potentials, so that the gradient of each is its own
    loss's gradient over their number.

    Parameters
    ----------
    max_norm : float, default=1.0
        Of the gradient of a potential's own loss.
    """

    def __init__(self, max_norm=1.0):
        self.max_norm = max_norm

    _recording = None  # on a GPU

    def on_grad_computed(self, net, named_parameters, **kwargs):
        """Scale the gradients in place."""
        grads = [p.grad for _, p in named_parameters if p.grad is not None]
        n_potentials = objective_of(net).flow.potential.n_potentials
        self._recording = self._recording or Recording()
        clip = partial(self._clip, grads, n_potentials)
        self._recording(clip, grads, self.max_norm, n_potentials)

    def _clip(self, grads, n_potentials):
        # Without classes a gradient may have any shape: that of a user's own module.
        lead = 1 if n_potentials > 1 else 0
        square = sum(g.square().flatten(lead).sum(-1) for g in grads)
        scale = (self.max_norm / (n_potentials * square.sqrt())).clamp_max(1.0)
        for g in grads:
            factor = scale.nan_to_num(0.0).reshape(-1, *[1] * (g.dim() - 1))
            g.nan_to_num_(0.0, 0.0, 0.0).mul_(factor if lead else factor.squeeze())

    def __getstate__(self):
        return {k: v for k, v in vars(self).items() if k != "_recording"}
