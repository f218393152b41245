"""One result of `hostile_data.py`: a fit, its twin with jitter, and simple maps."""

import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from tabular import measures
from tabular.generated import MOST_ROWS, case, rng_of
from tabular.methods import METHODS, own_estimator

JITTER = 1e-6  # units of a column
OTHERS = ("no map", "linear", "exact plan")
KEY = ("index", "max_iter", "members", "most_rows")
IQR_OF_NORMAL = 1.349


class Task(NamedTuple):
    """A case by number, and the budget of its two fits."""

    index: int
    max_iter: int | None = None
    members: int | None = None
    most_rows: int = MOST_ROWS

    @property
    def key(self):
        """Names the result, as KEY does in a row."""
        return tuple(self)


def quartile_units(X, Y):
    """Median and interquartile range of both samples together.

    A column of which more than half is one value has the units of `robust_units`.
    """
    size = min(len(X), len(Y))
    rows = np.vstack([X[:size], Y[:size]])
    low, middle, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
    other = measures.robust_units(X, Y)
    scale = np.where(high > low, (high - low) / IQR_OF_NORMAL, other.scale)
    return measures.Units(np.where(high > low, middle, other.centre), scale)


def in_units(drawn):
    """The rows of both samples, changed to units that all methods get."""
    units = quartile_units(drawn.source.rows, drawn.target.rows)
    for sample in (drawn.source, drawn.target):
        sample.rows, sample.fresh = units(sample.rows), units(sample.fresh)
    return drawn


def distance(mapped, drawn):
    """Bounded energy distance of mapped fresh source rows to fresh target rows."""
    sides = (drawn.source, drawn.target)
    weights = (sample.fresh_weight for sample in sides)
    if not np.isfinite(mapped).all():
        return np.inf
    rows = (measures.bounded(Z) for Z in (mapped, drawn.target.fresh))
    return measures.energy(*rows, *weights)


def effective_size(sample):
    """Rows of equal weight that tell as much; the heavy row of a sample is not counted."""
    w = sample.weight
    if w is None or sample.fresh_weight is not None:
        return len(sample.rows)
    return w.sum() ** 2 / np.square(w).sum()


def floors(drawn):
    """Expected distances of two samples of the target: of fresh sizes, of training ones."""
    fresh = measures.bounded(drawn.target.fresh)
    sizes = [effective_size(sample) for sample in (drawn.source, drawn.target)]
    return {
        "floor": measures.noise_floor(fresh, len(drawn.source.fresh), len(fresh)),
        "training_floor": measures.noise_floor(fresh, *sizes),
    }


def others(drawn, seed):
    """Distances of the maps to compare with; None if one cannot be fitted."""
    found, (x, y) = {}, (drawn.source, drawn.target)
    for name in OTHERS:
        try:
            fit = METHODS[name]
            move = fit(x.rows, y.rows, seed=seed, wx=x.weight, wy=y.weight)
            found[name] = distance(move(x.fresh), drawn)
        except Exception:
            found[name] = None
    return found


def fitted(drawn, task, jitter):
    """The mapped fresh rows of one fit on rows with so much noise."""
    rng = rng_of(task.index, 9)
    X, Y = (
        sample.rows + jitter * rng.standard_normal(sample.rows.shape)
        for sample in (drawn.source, drawn.target)
    )
    estimator = own_estimator(task.index, task.max_iter, task.members)
    weights = {
        "sample_weight": drawn.source.weight,
        "target_weight": drawn.target.weight,
    }
    return estimator.fit(X, X_target=Y, **weights).transform(drawn.source.fresh)


def attempt(drawn, task, jitter):
    """Mapped rows or None, the exception, and the warnings of a fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return fitted(drawn, task, jitter), None, caught
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            return None, f"{type(error).__name__} at {where}: {error}"[:300], caught


def constants_missed(mapped, drawn):
    """Largest error in columns that are constant in both samples, in units."""
    x, y = drawn.source.rows, drawn.target.rows
    held = (np.ptp(x, axis=0) == 0) & (np.ptp(y, axis=0) == 0)
    return float(np.abs(mapped - y[0])[:, held].max(initial=0))


def measured(task):
    """The result of a case, as a row."""
    drawn = in_units(case(task.index, task.most_rows))
    begin = time.process_time()
    own, error, caught = attempt(drawn, task, 0.0)
    seconds = time.process_time() - begin
    twin, twin_error, twin_caught = attempt(drawn, task, JITTER)
    caught = [*caught, *twin_caught]
    unexpected = {
        f"{w.category.__name__}: {w.message}"[:200]
        for w in caught
        if not issubclass(w.category, UserWarning)
    }
    return dict(zip(KEY, task.key, strict=True)) | {
        "rows": [len(drawn.source.rows), len(drawn.target.rows)],
        "kinds": Counter(drawn.kinds),
        "strength": drawn.strength,
        "weights": drawn.weights,
        "seconds": seconds,
        **floors(drawn),
        **others(drawn, task.index),
        **compared(own, twin, drawn),
        "errors": [e for e in (error, twin_error) if e],
        "unexpected": sorted(unexpected),
        "warnings": Counter(w.category.__name__ for w in caught),
    }


def compared(own, twin, drawn):
    """Distances of a fit and its twin, and how far apart they map the same rows."""
    row = {
        "sk_ncf": None,
        "twin": None,
        "apart": None,
        "constants": 0.0,
        "finite": True,
    }
    if own is not None:
        row["sk_ncf"] = distance(own, drawn)
        row["constants"] = constants_missed(own, drawn)
        row["finite"] = bool(np.isfinite(own).all())
    if twin is not None:
        row["twin"] = distance(twin, drawn)
        row["finite"] &= bool(np.isfinite(twin).all())
    if own is not None and twin is not None and row["finite"]:
        gaps = measures.bounded(own) - measures.bounded(twin)
        row["apart"] = float(np.median(np.linalg.norm(gaps, axis=1)))
    return row


def run(task):
    """The result of a case on one thread."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return measured(task)
