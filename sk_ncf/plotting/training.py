"""How a fit went: training loss, held-out risk and what was kept."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_ncf.plotting.plane import ARROW, SOURCE, TARGET, new_axes

__all__ = ["TrainingDisplay"]


class TrainingDisplay:
    """Training loss and held-out risk by gradient step, and the step that was kept.

    Build it with :meth:`from_estimator`.

    Parameters
    ----------
    steps : ndarray of shape (n_epochs,)
        Gradient steps taken at the end of each epoch.
    train_loss : ndarray of shape (n_epochs,)
    risk : ndarray of shape (n_epochs,)
        Held-out semi-dual risk, in the network's units; lower is better.
    kept : int or ndarray of int
        Step of the weights that were kept, of every class where there are classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, steps, train_loss, risk, kept):
        self.steps, self.train_loss, self.risk = steps, train_loss, risk
        self.kept = kept

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Plot the record of a fit.

        Parameters
        ----------
        estimator : NCFTransport
            Fitted.
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        TrainingDisplay
        """
        check_is_fitted(estimator)
        history = estimator.history_
        if not len(history):
            raise ValueError("estimator took no training step: its history_ is empty.")
        column = lambda name: np.array([row[name] for row in history], dtype=float)
        steps = np.cumsum(column("train_batch_count")).astype(int)
        kept = estimator.best_iter_
        return cls(steps, column("train_loss"), column("risk"), kept).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.

        Returns
        -------
        self : TrainingDisplay
        """
        ax = new_axes(ax)
        ax.plot(self.steps, self.train_loss, color=SOURCE, label="training loss")
        ax.plot(self.steps, self.risk, color=TARGET, label="held-out risk")
        kept = np.unique(self.kept)
        label = f"kept: {kept[0]}" if len(kept) == 1 else "kept, by class"
        for k, step in enumerate(kept):
            ax.axvline(step, color=ARROW, ls=":", label=None if k else label)
        ax.set_xlabel("gradient step")
        ax.set_ylabel("network's units of cost")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
