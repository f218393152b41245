"""Progress bars and scikit-learn's callbacks."""

from skorch.callbacks import Callback
from tqdm.auto import tqdm

__all__ = ["ProgressBar", "TaskEvents"]


class ProgressBar(Callback):
    """A bar with loss, held-out risk and time left, on fits that take a while.

    Parameters
    ----------
    schedule : PlateauCosine
    delay : float, default=2.0
        Seconds before the bar appears.
    """

    def __init__(self, schedule, delay=2.0):
        self.schedule, self.delay = schedule, delay

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the bar; it shows itself after `delay` seconds."""
        done = self.schedule.step if self.schedule.max_steps else 0  # of a checkpoint
        self.bar = tqdm(
            total=self.schedule.max_steps,
            initial=done,
            delay=self.delay,
            unit="step",
            desc="NCF",
        )

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Advance by one epoch."""
        row = net.history[-1]
        self.bar.total = self.schedule.end if self.schedule.max_steps else None
        self.bar.set_postfix(
            loss=f"{row['train_loss']:.3g}", risk=f"{row['risk']:.4g}", refresh=False
        )
        self.bar.update(row["train_batch_count"])

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Close the bar."""
        self.bar.close()
        del self.bar


class TaskEvents(Callback):
    """Tells scikit-learn's own callbacks of the fit and of every epoch.

    Parameters
    ----------
    estimator : estimator
        With scikit-learn's callback support.
    context : sklearn.callback.CallbackContext
    """

    def __init__(self, estimator, context):
        self.estimator, self.context = estimator, context

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Open the task of the whole fit."""
        self.context.call_on_fit_task_begin(estimator=self.estimator)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Close it."""
        self.context.call_on_fit_task_end(estimator=self.estimator)

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Open a task."""
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Close it, and stop where a callback asks to."""
        if self.task.call_on_fit_task_end(estimator=self.estimator):
            raise KeyboardInterrupt
