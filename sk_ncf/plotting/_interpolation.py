"""Displacement interpolation at several times, and as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sk_ncf._inputs.errors import as_generator, is_number
from sk_ncf._inputs.types import Direction, GeneratorSeed
from sk_ncf.estimator import NCFTransport
from sk_ncf.plotting._shared import ARROW, GREY, mapped_rows, new_axes

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure, SubFigure

__all__ = ["InterpolationDisplay"]

# The part of the colour map whose colours stand out from white and, inverted, from black.
COLOUR_MAP: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1.25}
MIDDLE_COLOUR = "#2A788E"


class InterpolationDisplay:
    r"""Displacement interpolation of rows, :math:`T_t(x) = x + t (T(x) - x)`.

    Rows are coloured by their position at t = 0, from left to right. Lines lead from
    there to where a row is. In the last panel the rows that the mapped rows should match
    are shown in grey. More than two features are projected to
    the first two principal components of source and target together. A single feature
    gets a second, random coordinate.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    start : ndarray of shape (n_samples, 2)
        Rows at t = 0.
    end : ndarray of shape (n_samples, 2)
        The same rows at t = 1.
    reference : ndarray of shape (n_reference, 2) or None
        Rows that the mapped rows should match: target rows for the map, source rows
        for its inverse.
    times : sequence of float
        Times of the panels, in [0, 1].
    axis_names : tuple of str or None, default=None
        Labels of the axes.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sk_ncf import NCFTransport
    >>> from sk_ncf.datasets import make_eight_gaussians, make_moons_2d
    >>> from sk_ncf.plotting import InterpolationDisplay
    >>> X, Y = make_eight_gaussians(random_state=0), make_moons_2d(random_state=1)
    >>> transport = NCFTransport(max_iter=100, random_state=0).fit(X, X_target=Y)
    >>> display = InterpolationDisplay.from_estimator(transport, X, X_target=Y)
    >>> len(display.axes_)
    5
    >>> animation = display.animate()  # doctest: +SKIP
    >>> animation.save("moons.gif")  # doctest: +SKIP
    """

    axes_: np.ndarray
    figure_: Figure | SubFigure

    def __init__(
        self,
        start: np.ndarray,
        end: np.ndarray,
        reference: np.ndarray | None,
        times: Sequence[float],
        axis_names: tuple[str, ...] | None = None,
    ) -> None:
        self.start, self.end, self.reference = start, end, reference
        self.times, self.axis_names = times, axis_names

    @classmethod
    def from_estimator(
        cls,
        estimator: NCFTransport,
        X: ArrayLike,
        *,
        X_target: ArrayLike | None = None,
        kind: Direction = "forward",
        times: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
        axes: Sequence[Axes] | np.ndarray | None = None,
        sample_label: Any = None,
        random_state: GeneratorSeed = None,
        **style: Any,
    ) -> Self:
        """Map rows and plot their interpolation at the given times.

        Parameters
        ----------
        estimator : NCFTransport
            A fitted estimator.
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows, needed for ``kind="inverse"``.
        kind : {"forward", "inverse"}, default="forward"
            "forward": rows of X are mapped. "inverse": rows of X_target are mapped
            back.
        times : sequence of float, default=(0, 0.25, 0.5, 0.75, 1)
            Times in [0, 1], one for each panel.
        axes : sequence of matplotlib Axes, default=None
            One for each time. If None, a new figure is created.
        sample_label : label or array-like of shape (n_samples,), default=None
            Class labels of the rows to be mapped, for
            ``class_conditional="per_class"``, as in :meth:`NCFTransport.transform`.
        random_state : int, numpy.random.Generator or None, default=None
            Seed for the second coordinate of a single feature.
        **style : dict
            Passed to :meth:`plot`.

        Returns
        -------
        InterpolationDisplay
        """
        times = tuple(times)
        if not times or not all(is_number(t, 0, 1) for t in times):
            raise ValueError(f"times must be numbers in [0, 1], got {times!r}.")
        rows = mapped_rows(estimator, X, X_target, kind, sample_label)
        in_plane = rows.start, rows.end, rows.reference
        start, end, reference = _in_two_columns(*in_plane, as_generator(random_state))
        return cls(start, end, reference, times, rows.axis_names).plot(axes, **style)

    def plot(
        self,
        axes: Sequence[Axes] | np.ndarray | None = None,
        *,
        s: float = 6,
        alpha: float = 0.8,
        n_lines: int = 60,
        legend: bool = True,
    ) -> Self:
        """Draw one panel for each time.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One for each time. If None, a new figure is created.
        s : float, default=6
            Area of a marker, in square points.
        alpha : float, default=0.8
            Opacity of the markers.
        n_lines : int, default=60
            Number of rows with a line from their position at t = 0.
        legend : bool, default=True
            Whether to draw a legend below the panels, if `axes` is None.

        Returns
        -------
        self : InterpolationDisplay
        """
        n_panels = len(self.times)
        if axes is None:
            low, high = self._limits()
            ratio = (high[1] - low[1]) / (high[0] - low[0])
            # Titles, names and the legend need 1.2 inches besides the panels.
            size = max(2.3 * n_panels, 3), 1.2 + 2.1 * float(np.clip(ratio, 0.5, 2))
            options = {"sharex": True, "sharey": True, "squeeze": False}
            axes = new_axes(None, ncols=n_panels, figsize=size, **options)
        else:
            legend = False
        flat = np.ravel(np.asarray(axes))
        if len(flat) != n_panels:
            raise ValueError(f"axes must be {n_panels}, one per time, got {len(flat)}.")
        for ax, t in zip(flat, self.times, strict=True):
            if t == 1:
                self._draw_reference(ax, s)
            self._draw(ax, t, s, alpha, n_lines)
        self.axes_, self.figure_ = flat, flat[0].figure
        if legend:
            self._draw_legend(n_lines)
        return self

    def animate(
        self,
        *,
        n_frames: int = 40,
        interval: float = 60,
        ax: Axes | None = None,
        s: float = 9,
        alpha: float = 0.8,
    ) -> FuncAnimation:
        """Animate the rows from t = 0 to t = 1.

        Parameters
        ----------
        n_frames : int, default=40
            Number of frames.
        interval : float, default=60
            Milliseconds between frames.
        ax : matplotlib Axes, default=None
            If None, a new figure is created.
        s : float, default=9
            Area of a marker, in square points.
        alpha : float, default=0.8
            Opacity of the markers.

        Returns
        -------
        matplotlib.animation.FuncAnimation
            Keep a reference to it while it is shown. Its ``save`` writes a file, its
            ``to_jshtml`` returns a page.
        """
        from matplotlib.animation import FuncAnimation

        axes = new_axes(ax)
        self._draw_reference(axes, s)
        points = self._draw(axes, 0, s, alpha, 0)

        def show(t: float) -> tuple[Any]:
            points.set_offsets(self._at(t))
            axes.set_title(f"t = {t:.2f}")
            return (points,)

        times = np.linspace(0, 1, n_frames)
        return FuncAnimation(axes.figure, show, frames=times, interval=interval)

    def _at(self, t: float) -> np.ndarray:
        return self.start + t * (self.end - self.start)

    def _draw_reference(self, ax: Axes, s: float) -> None:
        if self.reference is not None:
            x, y = self.reference.T
            ax.scatter(x, y, s=3 * s, color=GREY, linewidths=0, zorder=0.5)

    def _draw(
        self, ax: Axes, t: float, s: float, alpha: float, n_lines: int
    ) -> PathCollection:
        first, now = self.start[:n_lines], self._at(t)
        if t and n_lines:
            ends = np.stack([first, now[:n_lines]], axis=1)  # (n_lines, 2, 2)
            ax.plot(*ends.T, color=ARROW, linewidth=0.5, alpha=0.6, zorder=0.7)
        x, y = now.T
        ranks = _ranks(self.start[:, 0])
        style: dict[str, Any] = {"s": s, "alpha": alpha, "linewidths": 0}
        points = ax.scatter(x, y, c=ranks, **COLOUR_MAP, **style)
        low, high = self._limits()
        ax.set(
            xlim=(low[0], high[0]),
            ylim=(low[1], high[1]),
            aspect="equal",
            title=f"t = {t:.3g}",
        )
        self._label_axes(ax)
        return points

    def _label_axes(self, ax: Axes) -> None:
        """Names and ticks, in the units of the data, on the outer axes of a grid."""
        names = self.axis_names or ("", "")
        ax.set_xlabel(names[0])
        if len(names) == 2:
            ax.set_ylabel(names[1])
        else:  # the second coordinate is random
            ax.set_yticks([])
        if ax.get_subplotspec() is not None:
            ax.label_outer()

    def _draw_legend(self, n_lines: int) -> None:
        """What colours, lines and grey stand for, below the panels."""
        from matplotlib.lines import Line2D

        def key(label: str, **style: Any) -> Line2D:
            return Line2D([], [], label=label, **{"color": MIDDLE_COLOUR, **style})

        keys = [key("rows (colour: place at t = 0)", marker="o", ls="")]
        if n_lines and any(self.times):
            keys.append(key("path of a row", color=ARROW, linewidth=0.8))
        if self.reference is not None and 1 in self.times:
            keys.append(key("rows to be matched", color=GREY, marker="o", ls=""))
        ncols = 3 if len(self.times) > 2 else 1
        where: dict[str, Any] = {"loc": "outside lower center", "ncols": ncols}
        self.figure_.legend(handles=keys, frameon=False, **where)

    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of a rectangle around all rows, shape (2,) each."""
        shown = [self.start, self.end]
        shown += [] if self.reference is None else [self.reference]
        low, high = (f(np.concatenate(shown), axis=0) for f in (np.min, np.max))
        margin = 0.04 * (high - low) + 1e-9
        return low - margin, high + margin


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks in [0, 1), for an even use of the colour map."""
    return values.argsort().argsort() / len(values)


def _in_two_columns(
    start: np.ndarray,
    end: np.ndarray,
    reference: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows with two columns; a single feature gets a random second one of its scale."""
    if start.shape[1] == 2:
        return start, end, reference
    scale = np.std(start) or 1.0
    height = scale * rng.uniform(-1, 1, len(start))
    start, end = np.column_stack([start, height]), np.column_stack([end, height])
    if reference is None:
        return start, end, None
    height = scale * rng.uniform(-1, 1, len(reference))
    return start, end, np.column_stack([reference, height])
