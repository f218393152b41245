"""Quantiles of every feature, before and after the map."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sk_ncf._inputs.errors import as_array
from sk_ncf._inputs.validation import checked_target
from sk_ncf.estimator import NCFTransport
from sk_ncf.plotting._shared import ARROW, MAPPED, SOURCE, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["QuantileDisplay"]

MAX_FEATURES = 6  # shown by default
MAX_QUANTILES = 10_000


class QuantileDisplay:
    """Quantile-quantile plots of source and mapped rows against target rows.

    If the points of a feature lie on the diagonal, the feature has the distribution of
    the target. This is necessary for a good map, but not sufficient: it says nothing
    about the dependence between features.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    before : ndarray of shape (n_quantiles, n_shown)
        Quantiles of the source rows.
    after : ndarray of shape (n_quantiles, n_shown)
        Quantiles of the mapped rows.
    target : ndarray of shape (n_quantiles, n_shown)
        Quantiles of the target rows.
    names : sequence of str
        Names of the features.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sk_ncf import NCFTransport
    >>> from sk_ncf.datasets import make_eight_gaussians, make_moons_2d
    >>> from sk_ncf.plotting import QuantileDisplay
    >>> X, Y = make_eight_gaussians(random_state=0), make_moons_2d(random_state=1)
    >>> transport = NCFTransport(max_iter=100, random_state=0).fit(X, X_target=Y)
    >>> display = QuantileDisplay.from_estimator(transport, X, X_target=Y)
    >>> display.after.shape
    (99, 2)
    """

    axes_: np.ndarray
    figure_: Figure | SubFigure

    def __init__(
        self,
        before: np.ndarray,
        after: np.ndarray,
        target: np.ndarray,
        names: Sequence[str],
    ) -> None:
        self.before, self.after, self.target = before, after, target
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: NCFTransport,
        X: ArrayLike,
        *,
        X_target: ArrayLike,
        features: Sequence[int] | np.ndarray | None = None,
        n_quantiles: int = 99,
        axes: Sequence[Axes] | np.ndarray | None = None,
        sample_label: Any = None,
    ) -> Self:
        """Map rows and plot the quantiles of their features.

        Parameters
        ----------
        estimator : NCFTransport
            A fitted estimator.
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.
        features : sequence of int, default=None
            Indices of the features to show. If None, the features that differ most from
            the target before the map are shown, at most six.
        n_quantiles : int, default=99
            Number of evenly spaced quantiles, without the extremes.
        axes : sequence of matplotlib Axes, default=None
            One for each feature. If None, a new figure is created.
        sample_label : label or array-like of shape (n_samples,), default=None
            Class labels of the rows of X, for ``class_conditional="per_class"``, as in
            :meth:`NCFTransport.transform`.

        Returns
        -------
        QuantileDisplay
        """
        check_is_fitted(estimator)
        mapped = estimator.transform(X, sample_domain=1, sample_label=sample_label)
        if not (
            isinstance(n_quantiles, Integral) and 1 <= n_quantiles <= MAX_QUANTILES
        ):
            raise ValueError(
                f"n_quantiles must be an integer in [1, {MAX_QUANTILES}], got "
                f"{n_quantiles!r}."
            )
        X_target = checked_target(estimator, X_target)
        share = np.arange(1, n_quantiles + 1) / (n_quantiles + 1)
        before, after, target = (
            np.quantile(np.asarray(rows, dtype=float), share, axis=0)
            for rows in (X, mapped, X_target)
        )
        if features is None:
            features = _most_different(before, target)
        features = _checked_features(features, before.shape[1])
        names = getattr(X, "columns", None)
        if names is None:
            names = [f"feature {k}" for k in range(before.shape[1])]
        shown = [Q[:, features] for Q in (before, after, target)]
        return cls(*shown, [str(names[k]) for k in features]).plot(axes)

    def plot(self, axes: Sequence[Axes] | np.ndarray | None = None) -> Self:
        """Draw one panel for each feature.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One for each feature. If None, a new figure is created.

        Returns
        -------
        self : QuantileDisplay
        """
        n = len(self.names)
        flat = _new_panels(n) if axes is None else np.ravel(np.asarray(axes))
        if len(flat) != n:
            raise ValueError(f"axes must be {n}, one per feature, got {len(flat)}.")
        for k, ax in enumerate(flat):
            self._draw(ax, k)
        flat[0].legend(frameon=False, loc="upper left", markerscale=2)
        self.axes_, self.figure_ = flat, flat[0].figure
        return self

    def _draw(self, ax: Axes, k: int) -> None:
        target = self.target[:, k]
        corner = (target[0], target[0])
        ax.axline(corner, slope=1, color=ARROW, linewidth=0.8, zorder=0.5)
        ax.plot(target, self.before[:, k], "x", ms=3, color=SOURCE, label="source")
        ax.plot(target, self.after[:, k], "o", ms=3, color=MAPPED, label="T(source)")
        ax.set(title=self.names[k], xlabel="quantile of target rows")
        place = ax.get_subplotspec()
        if place is None or place.is_first_col():
            ax.set_ylabel("quantile of source\nand mapped rows")


def _new_panels(n: int) -> np.ndarray:
    """Axes of a new figure, three in a row."""
    n_columns, n_rows = min(n, 3), -(-n // 3)
    shape = {"nrows": n_rows, "ncols": n_columns, "squeeze": False}
    axes = new_axes(None, figsize=(2.7 * n_columns, 2.7 * n_rows), **shape)
    for unused in axes.flat[n:]:
        unused.remove()
    return np.ravel(axes.flat[:n])


def _most_different(before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Features whose quantiles differ most, in units of those of the target."""
    with np.errstate(over="ignore"):  # of a constant target
        difference = np.abs(before - target).mean(axis=0)
        difference /= target.std(axis=0) + 1e-300
    return np.sort(np.argsort(-difference, kind="stable")[:MAX_FEATURES])


def _checked_features(features: Any, n_features: int) -> np.ndarray:
    indices = as_array("features", features)
    valid = indices.ndim == 1 and indices.dtype.kind in "iu" and len(indices) > 0
    if not valid or not ((indices >= 0) & (indices < n_features)).all():
        raise ValueError(
            f"features must be indices from 0 to {n_features - 1}, got {features!r}."
        )
    return indices
