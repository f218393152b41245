"""Validation of rows, weights and domains."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import _check_feature_names, validate_data

from sk_ncf._inputs.errors import as_array, check_size, named
from sk_ncf._inputs.labels import checked_labels

__all__ = [
    "Rows",
    "both_sides",
    "checked_rows",
    "checked_target",
    "checked_weight",
    "rows_where",
    "source_rows",
]


DTYPES = [np.float64, np.float32]
MOST_ROWS = 2.0**53  # that a floating-point number can count


class Rows(NamedTuple):
    """Rows of one side, their weights and their labels (None where none are read)."""

    X: np.ndarray  # (n, d)
    weight: np.ndarray  # (n,)
    label: np.ndarray | None = None  # (n,), None where one is missing

    def take(self, mask):
        """The rows of the mask; no copy where that is all of them."""
        if mask.all():
            return self
        return Rows(*(None if part is None else part[mask] for part in self))


def both_sides(
    estimator,
    X,
    y,
    X_target,
    y_target,
    sample_domain,
    sample_weight,
    target_weight,
    reset,
):
    """Checked source and target rows; the side that was not given is None.

    Returns
    -------
    source, target : Rows or None
    """
    labelled = bool(estimator.class_conditional)
    check_y(X, y, "the labels of the rows of X" if labelled else "ignored here")
    with named("X"):
        X = validate_data(estimator, X, dtype=DTYPES, ensure_min_samples=2, reset=reset)
    check_size("X", X)
    weight = checked_weight("sample_weight", sample_weight, len(X))
    rows = Rows(X, weight, _source_labels(y, len(X)) if labelled else None)
    extra = None
    if X_target is not None:
        target = checked_target(estimator, X_target, ensure_min_samples=1)
        n = len(target)
        label = _target_labels(y_target, n) if labelled else None
        extra = Rows(target, checked_weight("target_weight", target_weight, n), label)
    elif target_weight is not None:
        raise ValueError("target_weight weighs the rows of X_target, which is None.")
    elif y_target is not None and labelled:
        raise ValueError("y_target labels the rows of X_target, which is None.")
    if sample_domain is not None:
        is_source = source_rows(sample_domain, len(X), None)
    else:
        default = "source" if extra is not None else estimator.default_domain
        is_source = source_rows(None, len(X), default)
    source, target = rows.take(is_source), _join(rows.take(~is_source), extra)
    one_sample = sample_domain is None and extra is None
    return _checked_side("source", source, one_sample), _checked_side(
        "target", target, one_sample
    )


def _source_labels(y, n):
    if y is None:
        raise ValueError(
            "class_conditional requires y to be passed, but the target y is None: it "
            "holds the class of every source row."
        )
    return checked_labels("y", y, n)


def _target_labels(y_target, n):
    if y_target is None:
        return np.full(n, None, dtype=object)
    return checked_labels("y_target", y_target, n)


def _join(rows, extra):
    if extra is None:
        return rows
    if len(rows.X) == 0:
        return extra
    pairs = zip(rows, extra, strict=True)
    return Rows(*(None if a is None else np.concatenate([a, b]) for a, b in pairs))


def _checked_side(side, rows, may_be_missing):
    n = len(rows.X)
    if n == 0 and may_be_missing:
        return None
    if n == 0:
        raise ValueError(
            f"No {side} rows: sample_domain has only one domain. Source rows have "
            "sample_domain >= 0, target rows sample_domain < 0 or come as X_target."
        )
    if n < 2:
        raise ValueError(
            f"Found {n} {side} row while a minimum of 2 is required by NCFTransport."
        )
    most = rows.weight.max()
    if not most > 0:
        raise ValueError(f"The weights of the {side} rows are all zero.")
    if rows.weight.strides == (0,):
        return rows
    return rows._replace(weight=_in_rows(rows.weight))


def _in_rows(weight):
    """Weights whose sum is the number of rows that they stand for.

    Whole numbers are counts: a weight of 2 is the row given twice, without weights each
    counts once. Any others are relative: they stand for Kish's effective number of rows.
    """
    whole = (weight == np.floor(weight)).all()
    if whole and weight.sum() <= MOST_ROWS:
        return weight
    # By a power of two first, so that their squares are floating-point numbers too.
    weight = np.ldexp(weight, -np.frexp(weight.max())[1])
    return weight * (weight.sum() / np.square(weight).sum())


def check_y(X, y, meaning="ignored here"):
    """Raise where target rows were given in the place of y."""
    try:
        shape_y = np.shape(y)
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ):  # lists of unequal lengths are no rows
        return
    shape = np.shape(X) if isinstance(X, list | tuple) else getattr(X, "shape", ())
    if len(shape_y) != 2 or len(shape) != 2:
        return
    if shape_y[0] != shape[0] or 1 < shape_y[1] == shape[1]:
        raise ValueError(
            f"y has shape {shape_y}, which looks like target rows, but the "
            f"second argument is y ({meaning}): pass X_target=."
        )


def checked_rows(estimator, X, *, copy=False):
    """Rows given to a fitted estimator."""
    with named("X"):
        rows = validate_data(estimator, X, dtype=DTYPES, copy=copy, reset=False)
    check_size("X", rows)
    return rows


def checked_target(estimator, X_target, ensure_min_samples=1, name="X_target"):
    """Target rows, with the columns the estimator knows."""
    with named(name):
        rows = check_array(
            X_target,
            dtype=DTYPES,
            input_name=name,
            estimator=estimator,
            ensure_min_samples=ensure_min_samples,
        )
    if rows.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"{name} has {rows.shape[1]} features, but X has "
            f"{estimator.n_features_in_} features: both sides need the same columns."
        )
    check_size(name, rows)
    _check_feature_names(estimator, X_target, reset=False)
    return rows


def checked_weight(name, weight, n):
    """Row weights as float64, ones where there are none."""
    if weight is None:
        return np.broadcast_to(1.0, n)
    weight = as_array(name, weight, np.float64)
    if weight.ndim == 0:
        weight = np.full(n, float(weight))
    if weight.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {weight.shape}.")
    if not np.isfinite(weight).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    if (weight < 0).any():
        raise ValueError(f"{name} must be >= 0, got a minimum of {weight.min()}.")
    if not weight.any():
        raise ValueError(f"{name} must not be all zero.")
    return weight


def source_rows(sample_domain, n, default_domain):
    """Mask of the source rows, shape (n,): sample_domain >= 0, or the default."""
    if sample_domain is None:
        return np.full(n, default_domain == "source")
    domain = as_array("sample_domain", sample_domain)
    if domain.dtype.kind not in "iufb" or not np.isfinite(domain).all():
        raise ValueError(
            "sample_domain must be integers (>= 0 source, < 0 target), got "
            f"{sample_domain!r}."
        )
    if domain.ndim == 0:
        domain = np.full(n, domain)
    if domain.shape != (n,):
        raise ValueError(
            f"sample_domain must be a scalar or have shape ({n},), got {domain.shape}."
        )
    return domain >= 0


def rows_where(mask, rows):
    """The rows of the mask; no copy where that is all of them."""
    return rows if mask.all() else rows[mask]
