"""The loss of a minibatch as a module, which skorch trains."""

from torch import Tensor, nn

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf.objectives import Objective

__all__ = ["MinibatchLoss"]


class MinibatchLoss(nn.Module):
    """The weighted terms of an objective for a flow, on one pair of minibatches.

    Parameters
    ----------
    flow : CharacteristicFlow
    objective : Objective
        All weights are numbers (:meth:`~sk_ncf.objectives.Objective.resolved`).
    """

    def __init__(self, flow: CharacteristicFlow, objective: Objective) -> None:
        super().__init__()
        self.flow = flow
        self.objective = objective

    def forward(
        self, x: Tensor, y: Tensor, t: Tensor, present: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted terms, each of shape [K], by name.

        Parameters
        ----------
        x, y : Tensor of shape [K, n, d]
        t : Tensor of shape [K, n]
        present : Tensor of shape [K], default=None
            1 for classes with rows in this call, 0 for the others. Their terms are 0.
        """
        terms = self.objective(self.flow, x, y, t)
        if present is None or len(present) == 1:
            return terms
        share = present / present.mean().clamp_min(1 / len(present))
        return {n: share * v if len(v) > 1 else v for n, v in terms.items()}
