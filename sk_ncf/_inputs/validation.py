"""Validation of rows, weights and domains."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from sklearn.utils.validation import (
    _check_feature_names,
    _get_feature_names,
    validate_data,
)

from sk_ncf._inputs.errors import as_array, check_size, errors_mention
from sk_ncf._inputs.labels import checked_labels
from sk_ncf._inputs.types import TransportEstimator
from sk_ncf._inputs.units import warn_of_units
from sk_ncf._inputs.warn import warn

__all__ = [
    "DTYPES",
    "Rows",
    "check_no_target_values",
    "check_y",
    "checked_rows",
    "checked_target",
    "checked_weight",
    "float_rows",
    "select_rows",
    "source_and_target",
    "source_mask",
]


DTYPES = [np.float64, np.float32]
MAX_COUNT = 2.0**53  # largest number of rows that a float can count


class Rows(NamedTuple):
    """Rows of one domain, their weights and, with `class_conditional`, their labels."""

    X: np.ndarray  # (n, d)
    weight: np.ndarray  # (n,)
    label: np.ndarray | None = None  # (n,), None where one is missing

    def take(self, mask: np.ndarray) -> "Rows":
        """The rows of the mask; no copy if that is all of them."""
        if mask.all():
            return self
        label = None if self.label is None else self.label[mask]
        return Rows(self.X[mask], self.weight[mask], label)


def source_and_target(
    estimator: TransportEstimator,
    X: ArrayLike,
    y: Any,
    X_target: ArrayLike | None,
    y_target: Any,
    sample_domain: ArrayLike | None,
    sample_weight: ArrayLike | None,
    target_weight: ArrayLike | None,
    reset: bool,
) -> tuple[Rows | None, Rows | None]:
    """The checked source and target rows of a fit; None for a domain without any.

    `reset` is True in the first fit, which sets the number and names of the features.
    """
    rows = _rows_of_X(estimator, X, y, sample_weight, reset)
    extra = _rows_of_target(estimator, X_target, y_target, target_weight)
    if y is not None and y_target is not None and not estimator.class_conditional:
        warn(
            "y and y_target are not used, because class_conditional=False. Set "
            "class_conditional=True to map every class to its own class."
        )
    if sample_domain is not None:
        is_source = source_mask(sample_domain, len(rows.X), None)
    else:
        default = "source" if extra is not None else estimator.default_domain
        is_source = source_mask(None, len(rows.X), default)
    source, target = rows.take(is_source), _join(rows.take(~is_source), extra)
    warn_of_units(source.X, target.X)
    one_sample = sample_domain is None and extra is None
    return (
        _checked_sample("source", source, one_sample),
        _checked_sample("target", target, one_sample),
    )


def _rows_of_X(
    estimator: TransportEstimator,
    X: ArrayLike,
    y: Any,
    sample_weight: ArrayLike | None,
    reset: bool,
) -> Rows:
    labelled = bool(estimator.class_conditional)
    check_y(X, y, "the labels of the rows of X" if labelled else "ignored here")
    with errors_mention("X"):
        rows = validate_data(
            estimator,
            _array_like("X", X),
            dtype=DTYPES,
            ensure_min_samples=2,
            reset=reset,
        )
    check_size("X", rows)
    n = len(rows)
    weight = checked_weight("sample_weight", sample_weight, n)
    return Rows(rows, weight, _source_labels(y, n) if labelled else None)


def _rows_of_target(
    estimator: TransportEstimator,
    X_target: ArrayLike | None,
    y_target: Any,
    target_weight: ArrayLike | None,
) -> Rows | None:
    labelled = bool(estimator.class_conditional)
    if X_target is not None:
        target = checked_target(estimator, X_target)
        n = len(target)
        label = _target_labels(y_target, n) if labelled else None
        return Rows(target, checked_weight("target_weight", target_weight, n), label)
    check_no_target_values(target_weight, y_target if labelled else None)
    return None


def check_no_target_values(target_weight: Any = None, y_target: Any = None) -> None:
    """Raise ValueError if there are weights or labels of target rows without X_target."""
    given = {
        "target_weight holds the weights": target_weight,
        "y_target holds the labels": y_target,
    }
    for name, values in given.items():
        if values is not None:
            raise ValueError(f"{name} of the rows of X_target, which is None.")


def _source_labels(y: Any, n: int) -> np.ndarray:
    if y is None:
        raise ValueError(
            "class_conditional requires y to be passed, but the target y is None: y "
            "holds the class of every source row."
        )
    return checked_labels("y", y, n)


def _target_labels(y_target: Any, n: int) -> np.ndarray:
    if y_target is None:
        return np.full(n, None, dtype=object)
    return checked_labels("y_target", y_target, n)


def _join(rows: Rows, extra: Rows | None) -> Rows:
    if extra is None:
        return rows
    if len(rows.X) == 0:
        return extra
    label = None
    if rows.label is not None and extra.label is not None:
        label = np.concatenate([rows.label, extra.label])
    X = np.concatenate([rows.X, extra.X])
    return Rows(X, np.concatenate([rows.weight, extra.weight]), label)


def _checked_sample(domain: str, rows: Rows, may_be_empty: bool) -> Rows | None:
    n = len(rows.X)
    if n == 0 and may_be_empty:
        return None
    if n == 0:
        raise ValueError(
            f"No {domain} rows: sample_domain has only one domain. Source rows have "
            "sample_domain >= 0. Target rows have sample_domain < 0, or are passed as "
            "X_target."
        )
    if n < 2:
        raise ValueError(
            f"Found {n} {domain} row while a minimum of 2 is required by NCFTransport."
        )
    largest = rows.weight.max()
    if not largest > 0:
        raise ValueError(f"The weights of the {domain} rows are all zero.")
    if rows.weight.strides == (0,):
        return rows
    return rows._replace(weight=_weight_in_rows(rows.weight))


def _weight_in_rows(weight: np.ndarray) -> np.ndarray:
    """Weights scaled so that their sum is a number of rows.

    Whole numbers are counts and not scaled: a row of weight 2 is a row given twice. The
    sum of all other weights becomes their effective number of rows (Kish, 1965).
    """
    small = weight.max() <= MAX_COUNT  # then the sum is finite
    if small and (weight == np.floor(weight)).all() and weight.sum() <= MAX_COUNT:
        return weight
    # First by a power of two, so that the squares of the weights are finite.
    weight = np.ldexp(weight, -np.frexp(weight.max())[1])
    return np.asarray(weight * (weight.sum() / np.square(weight).sum()))


def check_y(X: Any, y: Any, meaning: str = "ignored here") -> None:
    """Raise if y has two dimensions like target rows."""
    try:
        shape_y: tuple[int, ...] = np.shape(y)
    except (ValueError, TypeError, RuntimeError):  # ragged lists are no rows
        return
    shape: tuple[int, ...] = (
        np.shape(X) if isinstance(X, list | tuple) else getattr(X, "shape", ())
    )
    if len(shape_y) != 2 or len(shape) != 2:
        return
    if shape_y[0] != shape[0] or shape_y[1] == shape[1]:
        raise ValueError(
            f"y has shape {shape_y}, which looks like target rows, but the "
            f"second argument is y ({meaning}): pass X_target=."
        )


def checked_rows(
    estimator: TransportEstimator, X: ArrayLike, *, copy: bool = False
) -> np.ndarray:
    """Rows given to a fitted estimator."""
    with errors_mention("X"):
        X = _array_like("X", X)
        rows = validate_data(estimator, X, dtype=DTYPES, copy=copy, reset=False)
    check_size("X", rows)
    return rows


def checked_target(
    estimator: TransportEstimator, X_target: ArrayLike, name: str = "X_target"
) -> np.ndarray:
    """Target rows, with the same columns as the rows of X."""
    with errors_mention(name):
        rows = check_array(
            _array_like(name, X_target),
            dtype=DTYPES,
            input_name=name,
            estimator=estimator,
        )
    if rows.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"{name} has {rows.shape[1]} features, but X has "
            f"{estimator.n_features_in_} features: source and target need the same "
            "columns."
        )
    check_size(name, rows)
    _check_target_names(estimator, X_target, name)
    return rows


def _array_like(name: str, X: Any) -> Any:
    """Rows as scikit-learn reads them; masked values are refused.

    scikit-learn would read what is below the mask, and take a tensor of float32 for one
    of float64.
    """
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"{name} must have no masked values, got a masked array with "
            f"{np.ma.count_masked(X)} of them. Fill or remove them first, for example "
            "with numpy.ma.compress_rows."
        )
    if isinstance(X, torch.Tensor):
        X = X.cpu()
        return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    return X


def _check_target_names(
    estimator: TransportEstimator, X_target: ArrayLike, name: str
) -> None:
    """The names of the columns of X_target are those of X, in the same order."""
    names, known = _get_feature_names(X_target), hasattr(estimator, "feature_names_in_")
    if known and names is None:
        warn(
            f"{name} does not have feature names, but X has. Columns are matched by place."
        )
    elif not known and names is not None:
        warn(f"{name} has feature names, but X does not. Columns are matched by place.")
    else:
        with errors_mention(name):
            _check_feature_names(estimator, X_target, reset=False)


def float_rows(name: str, values: ArrayLike) -> np.ndarray:
    """Finite rows of float64."""
    with errors_mention(name):
        rows: np.ndarray = check_array(values, dtype=np.float64, input_name=name)
    return rows


def checked_weight(name: str, weight: ArrayLike | None, n: int) -> np.ndarray:
    """Row weights as float64; ones if there are none."""
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


def source_mask(
    sample_domain: ArrayLike | None, n: int, default_domain: str | None
) -> np.ndarray:
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


def select_rows(rows: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The rows of the mask; no copy if that is all of them."""
    return rows if mask.all() else rows[mask]
