"""The classes of a fit, and their codes."""

import numpy as np

__all__ = ["common_classes", "encoded", "known_labels"]


def common_classes(source, target):
    """The classes, sorted, of shape (K,): the same on both sides.

    Parameters
    ----------
    source, target : ndarray of object
        Checked labels; None for the side that is a distribution.
    """
    side, labels = ("target", target) if source is None else ("source", source)
    n_missing = int(np.equal(labels, None).sum())
    if n_missing:
        raise ValueError(
            f"y has {n_missing} missing labels (-1, NaN or None) among the {side} rows: "
            f"class_conditional needs the class of every {side} row."
        )
    classes = np.unique(labels.tolist())
    if source is None or target is None:
        return classes
    there = set(classes.tolist()), set(known_labels(target))
    if there[0] != there[1]:
        only = [sorted(a - b, key=str) for a, b in (there, there[::-1])]
        raise ValueError(
            "The classes of both sides must be the same. Only in the source (y): "
            f"{_listed(only[0])}; only in the target (y_target): {_listed(only[1])}."
        )
    return classes


def known_labels(target):
    """Those of the labels of the target rows that are not missing, at least one."""
    known = target[~np.equal(target, None)].tolist()
    if not known:
        raise ValueError(
            "y_target has no known label: class_conditional needs at least one target "
            "row of every class with its label. Without any, use class_conditional="
            "False, which maps all rows alike."
        )
    return known


def _listed(values, at_most=20):
    more = f" and {len(values) - at_most} more" if len(values) > at_most else ""
    return f"{values[:at_most]}{more}"


def encoded(name, labels, classes):
    """Numbers of the classes, shape (n,), -1 where the label is missing."""
    number = {value: k for k, value in enumerate(classes.tolist())}
    codes = np.array([-1 if v is None else number.get(v, -2) for v in labels], int)
    if (codes == -2).any():
        unknown = sorted(set(labels[codes == -2]), key=str)
        raise ValueError(
            f"{name} must be among the classes of the fit, {_listed(classes.tolist())}, "
            f"got {_listed(unknown)}."
        )
    return codes
