"""Parts that the displays share: colours, axes, and the plane of projection."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from sk_ncf._inputs.types import Direction
from sk_ncf._inputs.validation import checked_target
from sk_ncf.estimator import NCFTransport

__all__ = [
    "ARROW",
    "GREY",
    "MAPPED",
    "SOURCE",
    "TARGET",
    "MappedRows",
    "mapped_rows",
    "new_axes",
]

# Okabe and Ito's colours, which colour-blind readers can distinguish.
SOURCE, TARGET, MAPPED, ARROW = "#0072B2", "#E69F00", "#009E73", "#555555"
GREY = "#C8C8C8"

Projection = Callable[[ArrayLike], np.ndarray]  # (n, d) to (n, 1 or 2)


class MappedRows(NamedTuple):
    """Rows in the plane of projection, each of shape (n, 1 or 2)."""

    start: np.ndarray  # before the map
    end: np.ndarray  # after the map
    reference: np.ndarray | None  # rows that the mapped rows should match
    axis_names: tuple[str, ...]


def mapped_rows(
    estimator: NCFTransport,
    X: ArrayLike,
    X_target: ArrayLike | None,
    kind: Direction,
    sample_label: Any = None,
) -> MappedRows:
    """Map rows forward or back, and project them to the plane."""
    check_is_fitted(estimator)
    if kind not in ("forward", "inverse"):
        raise ValueError(f"kind must be 'forward' or 'inverse', got {kind!r}.")
    # The domain is given, because default_domain="target" would return X unchanged.
    start: ArrayLike
    reference: ArrayLike | None
    if kind == "forward":
        start, reference, name = X, X_target, "X_target"
        end = estimator.transform(X, sample_domain=1, sample_label=sample_label)
    elif X_target is None:
        raise ValueError("kind='inverse' maps the rows of X_target, got None.")
    else:
        start, reference, name = X_target, X, "X"
        end = estimator.inverse_transform(
            X_target, sample_domain=-1, sample_label=sample_label
        )
    if reference is None:
        project, names = _plane(start, end)
        return MappedRows(project(start), project(end), None, names)
    reference = checked_target(estimator, reference, name=name)
    project, names = _plane(start, reference)
    return MappedRows(project(start), project(end), project(reference), names)


def new_axes(ax: Any, **options: Any) -> Any:
    """The given axes, or those of a new figure."""
    # Imported here, because the rest of the package does not need matplotlib.
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "The displays need matplotlib: pip install 'sk_ncf[plot]'."
        ) from error
    return plt.subplots(layout="constrained", **options)[1] if ax is None else ax


def _plane(X: ArrayLike, Y: ArrayLike) -> tuple[Projection, tuple[str, ...]]:
    """A function that projects rows to the plane, and the names of its axes."""
    columns = getattr(X, "columns", None)
    X, Y = np.asarray(X, dtype=float), np.asarray(Y, dtype=float)
    d = X.shape[1]
    if d <= 2:
        columns = [f"feature {k}" for k in range(d)] if columns is None else columns
        names = tuple(map(str, columns))
        return lambda rows: np.asarray(rows, dtype=float), names
    pca = PCA(n_components=2).fit(np.concatenate([X, Y]))
    names = tuple(
        f"principal component {k} ({share:.0%} of variance)"
        for k, share in enumerate(pca.explained_variance_ratio_, start=1)
    )
    return lambda rows: pca.transform(np.asarray(rows, dtype=float)), names
