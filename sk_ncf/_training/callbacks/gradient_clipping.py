"""Gradient clipping."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from sk_ncf._training.cuda_graphs import GraphedFunction
from sk_ncf._training.devices import unwrapped_module

__all__ = ["ClipPerPotential"]


class ClipPerPotential(Callback):
    """Clips the gradient of every potential by its own norm; NaN and infinity become 0.

    The loss is the mean over K potentials. The gradient of each is therefore 1 / K of
    the gradient of its own loss.

    Parameters
    ----------
    max_norm : float, default=1.0
        Largest norm of the gradient of a potential's own loss.
    """

    _graphed: GraphedFunction | None = None  # on a GPU

    def __init__(self, max_norm: float = 1.0) -> None:
        self.max_norm = max_norm

    def on_grad_computed(
        self,
        net: NeuralNet,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        **kwargs: Any,
    ) -> None:
        """Scale the gradients in place."""
        grads = [p.grad for _, p in named_parameters if p.grad is not None]
        n_potentials = unwrapped_module(net).flow.potential.n_potentials
        self._graphed = self._graphed or GraphedFunction()
        clip = partial(self.scale, grads, n_potentials)
        self._graphed(clip, grads, self.max_norm, n_potentials)

    def scale(self, grads: list[Tensor], n_potentials: int) -> None:
        """Scale gradients in place, those of all potentials or of some of them.

        Parameters
        ----------
        grads : list of Tensor
        n_potentials : int
            K, of which the loss is the mean.
        """
        # A single potential may be a user's module, with gradients of any shape.
        lead = 1 if n_potentials > 1 else 0
        squares = [g.square().flatten(lead).sum(-1) for g in grads]
        norm = sum(squares[1:], squares[0]).sqrt()
        scale = (self.max_norm / (n_potentials * norm)).clamp_max(1.0)
        for g in grads:
            factor = scale.nan_to_num(0.0).reshape(-1, *[1] * (g.dim() - 1))
            g.nan_to_num_(0.0, 0.0, 0.0).mul_(factor if lead else factor.squeeze())

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_graphed"}
