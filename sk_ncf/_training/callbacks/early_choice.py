"""An early end of the training if a discrete potential is clearly better."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.devices import rank_and_size

__all__ = ["EarlyChoice"]

# Share of the steps after which a network maps few rows outside the support of the other
# side, if it ever does: just below two epochs of ten.
SHARE = 0.19
MIN_STEPS = 40


class EarlyChoice(Callback):
    """Compares the weights selected so far with a discrete potential, once.

    They are those of the initialization if no others are better yet.

    Parameters
    ----------
    risk : ModelSelection
        Gets the `stop_reason` "discrete".
    is_discrete : callable
        Whether a discrete potential is clearly better than a flow.
    """

    def __init__(
        self,
        risk: ModelSelection,
        is_discrete: Callable[[CharacteristicFlow], bool],
    ) -> None:
        self.risk, self.is_discrete = risk, is_discrete

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compare at the end of the first epoch after a fifth of the steps."""
        schedule = self.risk.schedule
        # Of the schedule, so that a fit that a checkpoint continues compares once too.
        before = schedule.step - net.history[-1]["train_batch_count"]
        first = max(MIN_STEPS, SHARE * (schedule.max_steps or 0))
        due = before < first <= schedule.step and self.risk.stop_reason is None
        # Processes that train together must all stop at the same step.
        if not due or rank_and_size(net)[1] > 1:
            return
        flow = copy.deepcopy(self.risk.flow).requires_grad_(False)
        flow.load_state_dict(self.risk.weights_so_far(torch.tensor(False))[0])
        if self.is_discrete(flow.cpu()):
            self.risk.stop_reason = "discrete"

    def __getstate__(self) -> dict[str, Any]:
        # The rows that it compares on are not needed after the fit.
        return {k: v for k, v in self.__dict__.items() if k != "is_discrete"}
