"""What the displays share: colours, axes, and the plane that rows are shown in."""

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from sk_ncf._inputs.validation import checked_target

__all__ = ["ARROW", "GREY", "MAPPED", "SOURCE", "TARGET", "MappedRows", "mapped_rows"]

# Okabe and Ito's colours, told apart by colour-blind readers too.
SOURCE, TARGET, MAPPED, ARROW = "#0072B2", "#E69F00", "#009E73", "#555555"
GREY = "#C8C8C8"


class MappedRows(NamedTuple):
    """Rows in the plane: before and after the map, and those of the side it goes to."""

    start: np.ndarray
    end: np.ndarray
    other: np.ndarray | None
    axis_names: tuple | None


def mapped_rows(estimator, X, X_target, kind, sample_label=None):
    """Map the rows of one side and put them in the plane."""
    check_is_fitted(estimator)
    if kind not in ("forward", "inverse"):
        raise ValueError(f"kind must be 'forward' or 'inverse', got {kind!r}.")
    if kind == "inverse" and X_target is None:
        raise ValueError("kind='inverse' maps the rows of X_target, got None.")
    # Domains are spelled out: default_domain="target" would leave X as it is.
    if kind == "forward":
        start, other = X, X_target
        end = estimator.transform(X, sample_domain=1, sample_label=sample_label)
    else:
        start, other = X_target, X
        end = estimator.inverse_transform(
            X_target, sample_domain=-1, sample_label=sample_label
        )
    if other is not None:
        name = "X_target" if kind == "forward" else "X"
        other = checked_target(estimator, other, name=name)
    project, names = _plane(start, end if other is None else other)
    other = None if other is None else project(other)
    return MappedRows(project(start), project(end), other, names)


def new_axes(ax, **options):
    """The axes given, or those of a new figure."""
    # Imported here so that the package does without matplotlib.
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained", **options)[1] if ax is None else ax


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
