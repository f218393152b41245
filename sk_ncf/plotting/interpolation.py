"""The way of the rows: displacement interpolation at several times, and as a film."""

import numpy as np

from sk_ncf._inputs.errors import as_generator, is_number
from sk_ncf.plotting.plane import ARROW, GREY, mapped_rows, new_axes

__all__ = ["InterpolationDisplay"]


class InterpolationDisplay:
    r"""Rows at several times on their way, :math:`T_t(x) = x + t (T(x) - x)`.

    A row keeps the colour of the place it starts from. The side the map goes to is
    grey behind the rows of the last panel. More than two features are shown in the
    plane of the first two principal components of source and target together; one
    feature is spread out over a second, random coordinate.

    Build it with :meth:`from_estimator`.

    Parameters
    ----------
    start : ndarray of shape (n_samples, 2)
        Rows at t = 0.
    end : ndarray of shape (n_samples, 2)
        The same rows at t = 1.
    other : ndarray of shape (n_other, 2) or None
        Rows of the side the map goes to.
    times : sequence of float
        Of the panels, in [0, 1].

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
    >>> display = InterpolationDisplay.from_estimator(transport, X, Y)
    >>> len(display.axes_)
    5
    >>> film = display.animate()  # doctest: +SKIP
    >>> film.save("moons.gif")  # doctest: +SKIP
    """

    def __init__(self, start, end, other, times):
        self.start, self.end, self.other, self.times = start, end, other, times

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        X_target=None,
        *,
        kind="forward",
        times=(0, 0.25, 0.5, 0.75, 1),
        axes=None,
        sample_label=None,
        random_state=None,
        **style,
    ):
        """Map the rows and plot where they are at the given times.

        Parameters
        ----------
        estimator : NCFTransport
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows; ``kind="inverse"`` needs them.
        kind : {"forward", "inverse"}, default="forward"
            "forward": X on its way to X_target; "inverse": X_target on its way back.
        times : sequence of float, default=(0, 0.25, 0.5, 0.75, 1)
            Shares of the way, one of each panel.
        axes : sequence of matplotlib Axes, default=None
            One for each time; None makes a new figure.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows to be mapped, with ``class_conditional="per_class"``.
        random_state : int, numpy.random.Generator or None, default=None
            Of the second coordinate of a single feature.
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
        start, end, other = _spread(rows[:3], as_generator(random_state))
        return cls(start, end, other, times).plot(axes, **style)

    def plot(self, axes=None, *, s=6, alpha=0.8, n_lines=60):
        """Draw one panel for each time.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One for each time; None makes a new figure.
        s : float, default=6
            Area of a marker, in square points.
        alpha : float, default=0.8
            Opacity of the markers.
        n_lines : int, default=60
            Rows whose line so far is drawn.

        Returns
        -------
        self : InterpolationDisplay
        """
        n_panels = len(self.times)
        if axes is None:
            size = (max(2.1 * n_panels, 3), 2.5)
            axes = new_axes(None, ncols=n_panels, figsize=size, squeeze=False)
        axes = np.ravel(axes)
        if len(axes) != n_panels:
            raise ValueError(f"axes must be {n_panels}, one per time, got {len(axes)}.")
        for ax, t in zip(axes, self.times, strict=True):
            if t == 1 and self.other is not None:
                ax.scatter(*self.other.T, s=s, color=GREY, linewidths=0, zorder=0.5)
            self._draw(ax, t, s, alpha, n_lines)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def animate(self, *, n_frames=40, interval=60, ax=None, s=9, alpha=0.8):
        """The way of the rows as a film.

        Parameters
        ----------
        n_frames : int, default=40
            Pictures from t = 0 to t = 1.
        interval : float, default=60
            Milliseconds between pictures.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        s : float, default=9
            Area of a marker, in square points.
        alpha : float, default=0.8
            Opacity of the markers.

        Returns
        -------
        matplotlib.animation.FuncAnimation
            Keep a reference to it for as long as it is shown; its ``save`` writes a
            file, its ``to_jshtml`` a page.
        """
        from matplotlib.animation import FuncAnimation

        ax = new_axes(ax)
        if self.other is not None:
            ax.scatter(*self.other.T, s=s, color=GREY, linewidths=0, zorder=0.5)
        points = self._draw(ax, 0, s, alpha, 0)

        def show(t):
            points.set_offsets(self._at(t))
            ax.set_title(f"t = {t:.2f}")
            return (points,)

        times = np.linspace(0, 1, n_frames)
        return FuncAnimation(ax.figure, show, frames=times, interval=interval)

    def _at(self, t):
        return self.start + t * (self.end - self.start)

    def _draw(self, ax, t, s, alpha, n_lines):
        first, now = self.start[:n_lines], self._at(t)
        if t and n_lines:
            ends = np.stack([first, now[:n_lines]], axis=1)  # (n_lines, 2, 2)
            ax.plot(*ends.T, color=ARROW, linewidth=0.5, alpha=0.6, zorder=0.7)
        points = ax.scatter(
            *now.T, c=_ranks(self.start[:, 0]), s=s, alpha=alpha, linewidths=0
        )
        seen = [self.start, self.end, *([] if self.other is None else [self.other])]
        low, high = (f(np.concatenate(seen), axis=0) for f in (np.min, np.max))
        margin = 0.04 * (high - low) + 1e-9
        ax.set(
            xlim=(low[0] - margin[0], high[0] + margin[0]),
            ylim=(low[1] - margin[1], high[1] + margin[1]),
            aspect="equal",
            title=f"t = {t:g}",
            xticks=[],
            yticks=[],
        )
        return points


def _ranks(values):
    """Places in the order of the values, in [0, 1): even colours, by viridis."""
    return values.argsort().argsort() / len(values)


def _spread(sides, rng):
    """Sides with two columns; the second of a single feature is noise of its scale."""
    start, end, other = sides
    if start.shape[1] == 2:
        return start, end, other
    size = np.std(start) or 1.0
    heights = size * rng.uniform(-1, 1, len(start))
    spread = [np.column_stack([rows, heights]) for rows in (start, end)]
    if other is None:
        return *spread, None
    return *spread, np.column_stack([other, size * rng.uniform(-1, 1, len(other))])
