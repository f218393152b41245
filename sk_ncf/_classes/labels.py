"""The classes of a fit and their codes."""

from typing import Any

import numpy as np

__all__ = ["common_classes", "encode_labels", "listed"]


def common_classes(source: np.ndarray | None, target: np.ndarray | None) -> np.ndarray:
    """The sorted classes, of shape (K,); an error if source and target disagree.

    Parameters
    ----------
    source, target : ndarray of object or None
        Checked labels; None for a domain that is a reference distribution.
    """
    domain = "target" if source is None else "source"
    labels = target if source is None else source
    assert labels is not None  # a fit has at least one sample
    n_missing = sum(label is None for label in labels)
    if n_missing:
        raise ValueError(
            f"y has {n_missing} missing labels (-1, NaN or None) among the {domain} "
            f"rows: class_conditional needs the class of every {domain} row. If -1 is a "
            "class, recode it in both samples, for example with numpy.where(y == -1, 0, y)."
        )
    classes = np.unique(labels.tolist())
    if source is not None and target is not None:
        given = {label for label in target if label is not None}
        if given:  # without any target label, all are predicted
            _check_same(set(classes.tolist()), given)
    return classes


def _check_same(source: set[Any], target: set[Any]) -> None:
    if source == target:
        return
    only = [sorted(a - b, key=str) for a, b in ((source, target), (target, source))]
    raise ValueError(
        "Source and target must have the same classes. Only in the source (y): "
        f"{listed(only[0])}; only in the target (y_target): {listed(only[1])}."
    )


def listed(values: list[Any], at_most: int = 20) -> str:
    """The first values for a message, and how many more there are."""
    more = f" and {len(values) - at_most} more" if len(values) > at_most else ""
    return f"{values[:at_most]}{more}"


def encode_labels(name: str, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Indices of the classes, shape (n,); -1 if the label is missing."""
    index = {value: k for k, value in enumerate(classes.tolist())}
    codes = np.array([-1 if v is None else index.get(v, -2) for v in labels], int)
    if (codes == -2).any():
        unknown = sorted(set(labels[codes == -2]), key=str)
        raise ValueError(
            f"{name} must be among the classes of the fit, {listed(classes.tolist())}, "
            f"got {listed(unknown)}."
        )
    return codes
