"""Training curves of a fit."""

from typing import TYPE_CHECKING, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_ncf.estimator import NCFTransport
from sk_ncf.plotting._shared import ARROW, SOURCE, TARGET, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["TrainingDisplay"]


class TrainingDisplay:
    """Training loss, validation risk and the selected checkpoint, by gradient step.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    steps : ndarray of shape (n_epochs,)
        Gradient steps taken at the end of each epoch.
    train_loss : ndarray of shape (n_epochs,)
        Training loss.
    validation_risk : ndarray of shape (n_epochs,)
        Semi-dual risk on the validation split; lower is better. Like the training loss
        it is measured in the standardized variables of the network.
    best_iter : int or ndarray of int
        Step of the selected checkpoint; with classes that of every class.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"

    def __init__(
        self,
        steps: np.ndarray,
        train_loss: np.ndarray,
        validation_risk: np.ndarray,
        best_iter: int | np.ndarray,
    ) -> None:
        self.steps, self.train_loss = steps, train_loss
        self.validation_risk, self.best_iter = validation_risk, best_iter

    @classmethod
    def from_estimator(
        cls, estimator: NCFTransport, *, ax: "Axes | None" = None
    ) -> Self:
        """Plot the training curves of a fit.

        Parameters
        ----------
        estimator : NCFTransport
            A fitted estimator.
        ax : matplotlib Axes, default=None
            If None, a new figure is created.

        Returns
        -------
        TrainingDisplay
        """
        check_is_fitted(estimator)
        history = estimator.history_
        if not len(history):
            raise ValueError(
                "estimator has no training curves: its history_ is empty, because the "
                "fit took no gradient step."
            )
        column = lambda name: np.array([row[name] for row in history], dtype=float)
        steps = np.cumsum(column("train_batch_count")).astype(int)
        curves = column("train_loss"), column("risk")
        return cls(steps, *curves, estimator.best_iter_).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw both curves and the selected checkpoint.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure is created.

        Returns
        -------
        self : TrainingDisplay
        """
        ax = new_axes(ax)
        ax.plot(self.steps, self.train_loss, color=SOURCE, label="training loss")
        ax.plot(self.steps, self.validation_risk, color=TARGET, label="validation risk")
        best = np.unique(self.best_iter)
        label = f"best step: {best[0]}" if len(best) == 1 else "best step of a class"
        for k, step in enumerate(best):
            ax.axvline(step, color=ARROW, ls=":", label=None if k else label)
        ax.set_xlabel("gradient step")
        ax.set_ylabel("loss (standardized variables)")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
