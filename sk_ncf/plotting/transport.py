"""Rows, where the map takes them, and the level lines of the potential."""

import numpy as np

from sk_ncf._inputs.errors import as_generator
from sk_ncf.plotting.plane import (
    ARROW,
    GREY,
    MAPPED,
    SOURCE,
    TARGET,
    mapped_rows,
    new_axes,
)

__all__ = ["TransportDisplay"]


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
    levels : tuple of ndarray or None, default=None
        Coordinates of a grid, of shape (n_grid,) each, and the potential on it, of
        shape (n_grid, n_grid).

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sk_ncf import NCFTransport
    >>> from sk_ncf.datasets import make_eight_gaussians, make_moons_2d
    >>> from sk_ncf.plotting import TransportDisplay
    >>> X, Y = make_eight_gaussians(random_state=0), make_moons_2d(random_state=1)
    >>> transport = NCFTransport(max_iter=100, random_state=0).fit(X, X_target=Y)
    >>> display = TransportDisplay.from_estimator(transport, X, Y)
    >>> len(display.arrows)
    60
    """

    def __init__(self, start, end, other, kind, arrows, axis_names=None, levels=None):
        self.start, self.end, self.other = start, end, other
        self.kind = kind
        self.arrows = arrows
        self.axis_names = axis_names
        self.levels = levels

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
        contours=False,
        sample_label=None,
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
        contours : bool, default=False
            Whether to draw level lines of the potential, u(x, 0) of the rows to be
            mapped forward and u(y, 1) of those to be mapped back. With the squared
            Euclidean cost the arrows are perpendicular to them. Two features only.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows to be mapped, with ``class_conditional="per_class"``.
        random_state : int, numpy.random.Generator or None, default=None
            Chooses these rows.
        **style : dict
            Passed to :meth:`plot`.

        Returns
        -------
        TransportDisplay
        """
        start, end, other, names = mapped_rows(
            estimator, X, X_target, kind, sample_label
        )
        order = as_generator(random_state).permutation(len(start))
        levels = _potential_levels(estimator, start, kind) if contours else None
        arrows = np.sort(order[:n_arrows])
        display = cls(start, end, other, kind, arrows, names, levels)
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
        ax = new_axes(ax)
        flat = self.start.shape[1] == 1
        if self.levels is not None:
            self._draw_levels(ax)
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

    def _draw_levels(self, ax):
        *grid, u = self.levels
        # Equal shares of the plane between lines, not equal steps of the potential.
        at = np.unique(np.quantile(u, np.linspace(0, 1, 18)[1:-1]))
        width = {"linewidths": 0.8, "zorder": 0.5}
        ax.contour(*grid, u, levels=at, colors=GREY, linestyles="solid", **width)

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


def _potential_levels(estimator, rows, kind, n_grid=80):
    """A grid over the rows and the potential at its points."""
    if rows.shape[1] != 2 or estimator.n_features_in_ != 2:
        raise ValueError(
            f"contours need two features, got {estimator.n_features_in_}: elsewhere "
            "the potential is no function of the plane shown."
        )
    if estimator.class_conditional in (True, "per_class"):
        raise ValueError(
            "contours need one potential; with class_conditional='per_class' every class "
            "has its own."
        )
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = 0.05 * (high - low)
    x, y = np.linspace(low - margin, high + margin, n_grid).T
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    f, g = estimator.dual_potentials(points, X_target=points)
    u = -f if kind == "forward" else g
    return x, y, u.reshape(n_grid, n_grid)
