"""Progress bars and scikit-learn's callbacks."""

import re
import sys
import warnings
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback

from sk_ncf._training.callbacks.model_selection import ModelSelection

__all__ = ["ProgressBar", "TaskEvents", "print_line"]


class ProgressBar(Callback):
    """A bar with training loss, validation risk and remaining time, for longer fits.

    Parameters
    ----------
    selection : ModelSelection
    delay : float, default=2.0
        Seconds before the bar appears.
    """

    def __init__(self, selection: ModelSelection, delay: float = 2.0) -> None:
        self.selection, self.delay = selection, delay

    def on_train_begin(
        self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Open the bar, which appears after `delay` seconds."""
        # A fit that continues from a checkpoint has taken steps already.
        schedule = self.selection.schedule
        done = schedule.step if schedule.max_steps else 0
        self.bar = _tqdm()(
            total=schedule.max_steps,
            initial=done,
            delay=self.delay,
            unit="step",
            desc="NCF",
        )

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Advance by one epoch."""
        row = net.history[-1]
        if self.bar.total is not None:  # as for a stream
            self.bar.total = round(self.selection.expected_end())
        self.bar.set_postfix(
            loss=f"{row['train_loss']:.3g}", risk=f"{row['risk']:.4g}", refresh=False
        )
        self.bar.update(row["train_batch_count"])

    def on_train_end(
        self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.bar.close()
        del self.bar


def _tqdm() -> Any:
    """The bar for a terminal or a notebook, without a warning about missing widgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm


def print_line(text: str) -> None:
    """Print a line of the log above the bar, in colour on a terminal only."""
    from tqdm import tqdm

    if not sys.stdout.isatty():
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    tqdm.write(text, file=sys.stdout)


class TaskEvents(Callback):
    """Reports the fit and every epoch to scikit-learn's own callbacks.

    Parameters
    ----------
    estimator : estimator
        With scikit-learn's callback support.
    context : sklearn.callback.CallbackContext
    """

    def __init__(self, estimator: Any, context: Any) -> None:
        self.estimator, self.context = estimator, context

    def on_train_begin(
        self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """Begin the task of the fit."""
        self.context.call_on_fit_task_begin(estimator=self.estimator)

    def on_train_end(
        self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any
    ) -> None:
        """End the task of the fit."""
        self.context.call_on_fit_task_end(estimator=self.estimator)

    def on_epoch_begin(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Begin the task of an epoch."""
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """End the task of the epoch, and the training if a callback asks for it."""
        if self.task.call_on_fit_task_end(estimator=self.estimator):
            raise KeyboardInterrupt  # skorch's own way to end a fit
