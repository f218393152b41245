"""Source rows under a transport that is fitted to pseudo-labels."""

import inspect
from typing import Any

import numpy as np
from sklearn.base import clone

from sk_ncf._classes.labelled_domains import LabelledDomains
from sk_ncf._classes.pseudo_label_rounds import Rounds

__all__ = ["check_transport", "transported_rows"]


def check_transport(transport: Any) -> None:
    """Raise if the transport cannot be fitted to two samples with their classes."""
    names = inspect.signature(transport.fit_transform).parameters
    if not {"X_target", "y_target"} <= set(names):
        raise ValueError(
            "transport must have fit_transform(X, y, X_target=..., y_target=...), got "
            f"{transport!r} with the arguments {list(names)}."
        )


def transported_rows(
    transport: Any, domains: LabelledDomains, rounds: Rounds
) -> tuple[Any, np.ndarray, bool]:
    """The fitted transport, mapped source rows (n, d), and whether any row moved.

    Classes that no target row is predicted to be of keep their Gaussian map.
    """
    source, classes = domains.source, domains.classes
    mine = np.isin(source.codes, rounds.codes)
    X, y = source.X[mine], classes[source.codes[mine]]
    fitted = clone(transport)
    moved = fitted.fit_transform(
        X, y, X_target=domains.target.X, y_target=classes[rounds.codes]
    )
    moved = np.asarray(moved, dtype=np.float64)
    if moved.shape != X.shape or not np.isfinite(moved).all():
        raise ValueError(
            f"transport must map the source rows to finite rows of shape {X.shape}, got "
            f"shape {moved.shape} with {int((~np.isfinite(moved)).sum())} values that "
            f"are not finite: {transport!r}."
        )
    mapped = rounds.mapped.copy()
    mapped[mine] = moved
    return fitted, mapped, not np.array_equal(moved, X)
