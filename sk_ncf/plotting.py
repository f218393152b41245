"""Pictures of a fitted map and of its training, in the manner of sklearn's Displays."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

__all__ = ["TrainingDisplay", "TransportDisplay"]

# Okabe and Ito's colours, told apart by colour-blind readers too.
SOURCE, TARGET, MAPPED, ARROW = "#0072B2", "#E69F00", "#009E73", "#555555"


class TransportDisplay:
    """Rows, where the map takes them, and the other side's rows, in one plane.

    More than two features are shown in the plane of the first two principal components
    of source and target together. One feature is shown against the time t, where the
    lines drawn are the characteristics themselves.

    Build it with :meth:`from_estimator`.

    Parameters
    ----------
    start : ndarray of shape (n_samples, 1 or 2)
        Rows before the map.
    end : ndarray of shape (n_samples, 1 or 2)
        The same rows after it.
    other : ndarray of shape (n_other, 1 or 2) or None
        Rows of the side the map goes to.
    kind : {"forward", "inverse"}
        Whether the map goes from source to target or back.
    arrows : ndarray of int
        Rows that get an arrow.
    axis_names : tuple of str or None, default=None

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sk_ncf import NCFTransport
    >>> from sk_ncf.datasets import make_eight_gaussians, make_two_moons
    >>> from sk_ncf.plotting import TransportDisplay
    >>> X, Y = make_eight_gaussians(random_state=0), make_two_moons(random_state=1)
    >>> transport = NCFTransport(max_iter=100, random_state=0).fit(X, X_target=Y)
    >>> display = TransportDisplay.from_estimator(transport, X, Y)
    >>> len(display.arrows)
    60
    """

    def __init__(self, start, end, other, kind, arrows, axis_names=None):
        self.start, self.end, self.other = start, end, other
        self.kind = kind
        self.arrows = arrows
        self.axis_names = axis_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        X_target=None,
        *,
        kind="forward",
        ax=None,
        n_arrows=60,
        random_state=None,
        **style,
    ):
        """Map the rows and plot them.

        Parameters
        ----------
        estimator : NCFTransport
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows; ``kind="inverse"`` needs them.
        kind : {"forward", "inverse"}, default="forward"
            "forward": X, T(X) and X_target; "inverse": X_target, its pre-image and X.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        n_arrows : int, default=60
            Rows that get an arrow, from where they are to where they go.
        random_state : int, numpy.random.Generator or None, default=None
            Chooses these rows.
        **style : dict
            Passed to :meth:`plot`.

        Returns
        -------
        TransportDisplay
        """
        check_is_fitted(estimator)
        if kind not in ("forward", "inverse"):
            raise ValueError(f"kind must be 'forward' or 'inverse', got {kind!r}.")
        if kind == "inverse" and X_target is None:
            raise ValueError("kind='inverse' maps the rows of X_target, got None.")
        # Domains are spelled out: default_domain="target" would leave X as it is.
        if kind == "forward":
            start, other = X, X_target
            end = estimator.transform(X, sample_domain=1)
        else:
            start, other = X_target, X
            end = estimator.inverse_transform(X_target, sample_domain=-1)
        project, names = _plane(start, end if other is None else other)
        start, end = project(start), project(end)
        other = None if other is None else project(other)
        order = np.random.default_rng(random_state).permutation(len(start))
        display = cls(start, end, other, kind, np.sort(order[:n_arrows]), names)
        return display.plot(ax, **style)

    def plot(self, ax=None, *, s=9, alpha=0.5, legend=True):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        s : float, default=9
            Area of a marker, in square points.
        alpha : float, default=0.5
            Opacity of the markers.
        legend : bool, default=True
            Whether to name the rows, above the data.

        Returns
        -------
        self : TransportDisplay
        """
        ax = _axes(ax)
        flat = self.start.shape[1] == 1
        start, end, other = self._layers()
        colours, names = self._names()
        points = {"s": s, "alpha": alpha, "linewidths": 0}
        ax.scatter(*start.T, color=colours[0], label=names[0], zorder=1.2, **points)
        ax.scatter(*end.T, color=MAPPED, label=names[1], zorder=1.3, **points)
        if other is not None:
            ax.scatter(*other.T, color=colours[2], label=names[2], **points)
        lines = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.003}
        tails, heads = start[self.arrows], end[self.arrows]
        ax.quiver(
            *tails.T, *(heads - tails).T, color=ARROW, alpha=0.7, zorder=1.1, **lines
        )
        self._dress(ax, flat, legend)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _names(self):
        forward = self.kind == "forward"
        title = "T(source)" if forward else "T⁻¹(target)"
        sides = ["source", "target"] if forward else ["target", "source"]
        colours = [SOURCE, TARGET] if forward else [TARGET, SOURCE]
        return (colours[0], MAPPED, colours[1]), (sides[0], title, sides[1])

    def _layers(self):
        """Points of the plane; one feature gets the time as its second coordinate."""
        if self.start.shape[1] == 2:
            return self.start, self.end, self.other
        times = (0.0, 1.0, 1.06) if self.kind == "forward" else (1.0, 0.0, -0.06)
        return [
            None if rows is None else np.column_stack([rows, np.full(len(rows), t)])
            for rows, t in zip((self.start, self.end, self.other), times, strict=True)
        ]

    def _dress(self, ax, flat, legend):
        if flat:
            ax.set_ylabel("time t")
            ax.set_yticks([0, 1])
        else:
            ax.set_aspect("equal", adjustable="datalim")
        if self.axis_names:
            ax.set_xlabel(self.axis_names[0])
            if not flat:
                ax.set_ylabel(self.axis_names[1])
        if legend:
            key = ax.legend(
                loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False
            )
            for handle in key.legend_handles:
                handle.set(alpha=1, sizes=[30])


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
    kept : int
        Step of the weights that were kept.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, steps, train_loss, risk, kept):
        self.steps, self.train_loss, self.risk, self.kept = (
            steps,
            train_loss,
            risk,
            kept,
        )

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
        ax = _axes(ax)
        ax.plot(self.steps, self.train_loss, color=SOURCE, label="training loss")
        ax.plot(self.steps, self.risk, color=TARGET, label="held-out risk")
        ax.axvline(self.kept, color=ARROW, linestyle=":", label=f"kept: {self.kept}")
        ax.set_xlabel("gradient step")
        ax.set_ylabel("network's units of cost")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _axes(ax):
    # Imported here so that the package does without matplotlib.
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1] if ax is None else ax


def _plane(X, Y):
    """Give a function from rows to points of the plane, and the names of its axes."""
    columns = getattr(X, "columns", None)
    X, Y = np.asarray(X, dtype=float), np.asarray(Y, dtype=float)
    d = X.shape[1]
    if d <= 2:
        names = None if columns is None else tuple(map(str, columns))
        return lambda rows: np.asarray(rows, dtype=float), names or ("x",) * (d == 1)
    pca = PCA(n_components=2).fit(np.concatenate([X, Y]))
    names = tuple(
        f"component {k} ({share:.0%} of variance)"
        for k, share in enumerate(pca.explained_variance_ratio_, start=1)
    )
    return lambda rows: pca.transform(np.asarray(rows, dtype=float)), names
