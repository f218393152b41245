"""The marginals before and after the map, feature by feature."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_ncf._inputs.errors import as_array
from sk_ncf._inputs.validation import checked_target
from sk_ncf.plotting.plane import ARROW, MAPPED, SOURCE, new_axes

__all__ = ["QuantileDisplay"]


class QuantileDisplay:
    """Quantiles of source and mapped rows against those of the target, by feature.

    Where the points lie on the diagonal, the feature has the target's distribution.
    That all features do is necessary for a good map, and not sufficient: it says
    nothing of how they hang together.

    Build it with :meth:`from_estimator`.

    Parameters
    ----------
    before : ndarray of shape (n_quantiles, n_shown)
        Quantiles of the source rows.
    after : ndarray of shape (n_quantiles, n_shown)
        Of the mapped rows.
    wanted : ndarray of shape (n_quantiles, n_shown)
        Of the target rows.
    names : sequence of str
        Names of the features shown.

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
    >>> display = QuantileDisplay.from_estimator(transport, X, Y)
    >>> display.after.shape
    (99, 2)
    """

    def __init__(self, before, after, wanted, names):
        self.before, self.after, self.wanted = before, after, wanted
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        X_target,
        *,
        features=None,
        n_quantiles=99,
        axes=None,
        sample_label=None,
    ):
        """Map the rows and plot the quantiles of their features.

        Parameters
        ----------
        estimator : NCFTransport
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Source rows.
        X_target : array-like of shape (n_target_samples, n_features)
            Target rows.
        features : sequence of int, default=None
            Columns to show; None shows those that were farthest from the target
            before the map, at most six.
        n_quantiles : int, default=99
            Evenly spaced, without the extremes.
        axes : sequence of matplotlib Axes, default=None
            One for each feature; None makes a new figure.
        sample_label : label or array-like of shape (n_samples,), default=None
            Classes of the rows of X, with ``class_conditional="per_class"``.

        Returns
        -------
        QuantileDisplay
        """
        check_is_fitted(estimator)
        mapped = estimator.transform(X, sample_domain=1, sample_label=sample_label)
        if not (isinstance(n_quantiles, Integral) and 1 <= n_quantiles <= 10_000):
            raise ValueError(
                f"n_quantiles must be an integer in [1, 10000], got {n_quantiles!r}."
            )
        X_target = checked_target(estimator, X_target)
        share = np.arange(1, n_quantiles + 1) / (n_quantiles + 1)
        before, after, wanted = (
            np.quantile(np.asarray(rows, dtype=float), share, axis=0)
            for rows in (X, mapped, X_target)
        )
        if features is None:
            with np.errstate(over="ignore"):  # of a constant target
                apart = np.abs(before - wanted).mean(axis=0)
                apart /= wanted.std(axis=0) + 1e-300
            features = np.sort(np.argsort(-apart, kind="stable")[:6])
        features = _checked_features(features, mapped.shape[1])
        names = getattr(X, "columns", None)
        if names is None:
            names = [f"feature {k}" for k in range(before.shape[1])]
        shown = [Q[:, features] for Q in (before, after, wanted)]
        return cls(*shown, [str(names[k]) for k in features]).plot(axes)

    def plot(self, axes=None):
        """Draw one panel for each feature.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One for each feature; None makes a new figure.

        Returns
        -------
        self : QuantileDisplay
        """
        n = len(self.names)
        if axes is None:
            shape = {"nrows": -(-n // 3), "ncols": min(n, 3), "squeeze": False}
            size = (2.7 * shape["ncols"], 2.7 * shape["nrows"])
            axes = new_axes(None, figsize=size, **shape)
            for spare in axes.flat[n:]:
                spare.remove()
            axes = axes.flat[:n]
        axes = np.ravel(axes)
        if len(axes) != n:
            raise ValueError(f"axes must be {n}, one per feature, got {len(axes)}.")
        for k, ax in enumerate(axes):
            self._draw(ax, k)
        axes[0].legend(frameon=False, loc="upper left", markerscale=2)
        self.axes_, self.figure_ = axes, axes[0].figure
        return self

    def _draw(self, ax, k):
        wanted = self.wanted[:, k]
        corner = (wanted[0], wanted[0])
        ax.axline(corner, slope=1, color=ARROW, linewidth=0.8, zorder=0.5)
        ax.plot(wanted, self.before[:, k], ".", ms=3, color=SOURCE, label="before")
        ax.plot(wanted, self.after[:, k], ".", ms=3, color=MAPPED, label="after")
        ax.set(title=self.names[k], xlabel="target quantile", ylabel="quantile")


def _checked_features(features, n_features):
    places = as_array("features", features)
    valid = places.ndim == 1 and places.dtype.kind in "iu" and len(places) > 0
    if not valid or not ((places >= 0) & (places < n_features)).all():
        raise ValueError(
            f"features must be columns from 0 to {n_features - 1}, got {features!r}."
        )
    return places
