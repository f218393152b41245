"""Rows, their images under the map, and contour lines of the potential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sk_ncf._inputs.errors import as_generator
from sk_ncf._inputs.types import Direction, GeneratorSeed
from sk_ncf.estimator import NCFTransport
from sk_ncf.plotting._shared import (
    ARROW,
    GREY,
    MAPPED,
    SOURCE,
    TARGET,
    mapped_rows,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["TransportDisplay"]

Levels = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, potential


class TransportDisplay:
    """Rows, their images under the map, and the rows that these should match.

    More than two features are projected to the first two principal components of source
    and target together. A single feature is plotted against the time t. The lines are
    then the characteristics.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    start : ndarray of shape (n_samples, 1 or 2)
        Rows before the map.
    end : ndarray of shape (n_samples, 1 or 2)
        The same rows after the map.
    reference : ndarray of shape (n_reference, 1 or 2) or None
        Rows that the mapped rows should match: target rows for the map, source rows for
        its inverse.
    kind : {"forward", "inverse"}
        Whether the map goes from source to target or back.
    arrows : ndarray of int
        Indices of the rows that get an arrow.
    axis_names : tuple of str or None, default=None
        Labels of the axes.
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
    >>> display = TransportDisplay.from_estimator(transport, X, X_target=Y)
    >>> len(display.arrows)
    60
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        start: np.ndarray,
        end: np.ndarray,
        reference: np.ndarray | None,
        kind: Direction,
        arrows: np.ndarray,
        axis_names: tuple[str, ...] | None = None,
        levels: Levels | None = None,
    ) -> None:
        self.start, self.end, self.reference = start, end, reference
        self.kind: Direction = kind
        self.arrows = arrows
        self.axis_names = axis_names
        self.levels = levels

    @classmethod
    def from_estimator(
        cls,
        estimator: NCFTransport,
        X: ArrayLike,
        *,
        X_target: ArrayLike | None = None,
        kind: Direction = "forward",
        ax: Axes | None = None,
        n_arrows: int = 60,
        contours: bool = False,
        sample_label: Any = None,
        random_state: GeneratorSeed = None,
        **style: Any,
    ) -> Self:
        """Map rows and plot them.

        Parameters
        ----------
        estimator : NCFTransport
            A fitted estimator.
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows, needed for ``kind="inverse"``.
        kind : {"forward", "inverse"}, default="forward"
            "forward": X, T(X) and X_target are shown. "inverse": X_target, its
            pre-image under T, and X.
        ax : matplotlib Axes, default=None
            If None, a new figure is created.
        n_arrows : int, default=60
            Number of rows with an arrow from the row to its image.
        contours : bool, default=False
            Whether to draw contour lines of the potential: u(x, 0) for
            ``kind="forward"``, u(y, 1) for ``kind="inverse"``. For the squared
            Euclidean cost the arrows are perpendicular to them. Two features only.
        sample_label : label or array-like of shape (n_samples,), default=None
            Class labels of the rows to be mapped, for
            ``class_conditional="per_class"``, as in :meth:`NCFTransport.transform`.
        random_state : int, numpy.random.Generator or None, default=None
            Seed for the choice of the rows with an arrow.
        **style : dict
            Passed to :meth:`plot`.

        Returns
        -------
        TransportDisplay
        """
        start, end, reference, names = mapped_rows(
            estimator, X, X_target, kind, sample_label
        )
        order = as_generator(random_state).permutation(len(start))
        shown = [rows for rows in (start, end, reference) if rows is not None]
        levels = _potential_levels(estimator, shown, kind) if contours else None
        arrows = np.sort(order[:n_arrows])
        display = cls(start, end, reference, kind, arrows, names, levels)
        return display.plot(ax, **style)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        s: float = 9,
        alpha: float = 0.5,
        legend: bool = True,
    ) -> Self:
        """Draw rows, images, arrows and contour lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure is created.
        s : float, default=9
            Area of a marker, in square points.
        alpha : float, default=0.5
            Opacity of the markers.
        legend : bool, default=True
            Whether to draw a legend above the axes.

        Returns
        -------
        self : TransportDisplay
        """
        ax = new_axes(ax)
        if self.levels is not None:
            self._draw_contours(ax)
        start, end, reference = self._points()
        colours, names = self._colours_and_names()
        points: dict[str, Any] = {"s": s, "alpha": alpha, "linewidths": 0}
        ax.scatter(*start.T, color=colours[0], label=names[0], zorder=1.2, **points)
        ax.scatter(*end.T, color=MAPPED, label=names[1], zorder=1.3, **points)
        if reference is not None:
            # Wider than the mapped rows that should cover them, and below.
            points |= {"s": 4 * s, "marker": "s", "alpha": 0.5 * alpha}
            ax.scatter(*reference.T, color=colours[1], label=names[2], **points)
        self._draw_arrows(ax, start[self.arrows], end[self.arrows])
        self._label_axes(ax)
        if legend:
            _draw_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @staticmethod
    def _draw_arrows(ax: Axes, tails: np.ndarray, heads: np.ndarray) -> None:
        style: dict[str, Any] = {"color": ARROW, "alpha": 0.8, "units": "inches"}
        style |= {"width": 0.011, "headwidth": 5, "headlength": 6}
        units: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
        ax.quiver(*tails.T, *(heads - tails).T, zorder=1.4, **style, **units)

    def _draw_contours(self, ax: Axes) -> None:
        assert self.levels is not None
        *grid, u = self.levels
        # Quantiles of the potential: equal areas between lines, not equal steps.
        at = np.unique(np.quantile(u, np.linspace(0, 1, 18)[1:-1]))
        style: dict[str, Any] = {"linewidths": 0.8, "zorder": 0.5}
        ax.contour(*grid, u, levels=at, colors=GREY, linestyles="solid", **style)
        x, y = grid
        ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))

    def _colours_and_names(self) -> tuple[tuple[str, str], tuple[str, str, str]]:
        """Colours of rows and reference rows; names of rows, images and reference."""
        if self.kind == "forward":
            return (SOURCE, TARGET), ("source", "T(source)", "target")
        return (TARGET, SOURCE), ("target", "T⁻¹(target)", "source")

    def _points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Points of the plane; the second coordinate of a single feature is the time."""
        if self.start.shape[1] == 2:
            return self.start, self.end, self.reference
        times = (0.0, 1.0, 1.06) if self.kind == "forward" else (1.0, 0.0, -0.06)
        at = lambda rows, t: np.column_stack([rows, np.full(len(rows), t)])
        reference = None if self.reference is None else at(self.reference, times[2])
        return at(self.start, times[0]), at(self.end, times[1]), reference

    def _label_axes(self, ax: Axes) -> None:
        one_feature = self.start.shape[1] == 1
        if one_feature:
            ax.set_ylabel("time t")
            ax.set_yticks([0, 1])
        else:
            # With contour lines the limits are those of their grid. matplotlib refuses
            # to change those of axes that share both directions with others.
            grouped = [ax.get_shared_x_axes(), ax.get_shared_y_axes()]
            shared = all(len(group.get_siblings(ax)) > 1 for group in grouped)
            free = self.levels is None and not shared
            ax.set_aspect("equal", adjustable="datalim" if free else "box")
        if self.axis_names:
            ax.set_xlabel(self.axis_names[0])
            if not one_feature:
                ax.set_ylabel(self.axis_names[1])


def _draw_legend(ax: Axes) -> None:
    legend = ax.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set(alpha=1, sizes=[30])


def _potential_levels(
    estimator: NCFTransport,
    shown: list[np.ndarray],
    kind: Direction,
    n_grid: int = 100,
) -> Levels:
    """A grid around all rows shown, and the potential at its points."""
    rows = np.concatenate(shown)
    if rows.shape[1] != 2 or estimator.n_features_in_ != 2:
        raise ValueError(
            f"contours need two features, got {estimator.n_features_in_}: with more "
            "features the potential is not a function of the plane shown."
        )
    if estimator.class_conditional in (True, "per_class"):
        raise ValueError(
            "contours need one potential, but with class_conditional='per_class' every "
            "class has its own."
        )
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = 0.05 * (high - low)
    x, y = np.linspace(low - margin, high + margin, n_grid).T
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    f, g = estimator.dual_potentials(points, X_target=points)
    u = -f if kind == "forward" else g
    return x, y, u.reshape(n_grid, n_grid)
