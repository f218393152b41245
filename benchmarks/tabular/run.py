"""One result of `tables.py`: a method on a pair, clean or with corrupt rows."""

import time
from typing import NamedTuple

import torch
from threadpoolctl import threadpool_limits

from tabular import measures
from tabular.methods import METHODS
from tabular.pairs import PAIRS
from tabular.report import CLEAN

KEY = ("pair", "seed", "corruption", "method", "max_rows", "max_iter", "members")


class Task(NamedTuple):
    """What is to be fitted and measured."""

    pair: str
    seed: int
    method: str
    corruption: tuple | None = None  # side, distance
    max_rows: int = measures.MAX_ROWS
    max_iter: int | None = None
    members: int | None = None

    @property
    def key(self):
        """Names the result, as KEY does in a row."""
        name = CLEAN if self.corruption is None else "{} {:g}".format(*self.corruption)
        options = self.max_rows, self.max_iter, self.members
        return (self.pair, self.seed, name, self.method, *options)


def tasks(pairs, methods, seeds, corrupt=True, **options):
    """All tasks, in the order in which a table becomes useful: clean rows first."""
    for seed in seeds:
        kinds = [None, *(measures.corruptions(seed) if corrupt else ())]
        for group in (kinds[:1], kinds[1:]):
            for pair in pairs:
                for kind in group:
                    for method in methods:
                        yield Task(pair, seed, method, kind, **options)


def measured(task):
    """The result of a task, as a row; a failed fit has an infinite distance."""
    case = measures.split(PAIRS[task.pair].sides(), task.seed, task.max_rows)
    train = case
    if task.corruption is not None:
        train = measures.corrupted(case, *task.corruption, task.seed)
    options = {"max_iter": task.max_iter, "members": task.members}
    begin, error, kept = time.process_time(), None, None
    try:
        move = METHODS[task.method](train.X, train.Y, seed=task.seed, **options)
        mapped = move(case.X_fresh)
        kept = getattr(getattr(move, "__self__", None), "best_iter_", None)
    except Exception as failure:
        error, mapped = f"{type(failure).__name__}: {failure}"[:300], None
    seconds = time.process_time() - begin
    return dict(zip(KEY, task.key, strict=True)) | {
        "energy": float("inf"),
        "correlation": float("nan"),
        **({} if mapped is None else quality(mapped, case.Y_fresh)),
        "floor": measures.noise_floor(
            case.Y_fresh, len(case.X_fresh), len(case.Y_fresh)
        ),
        "seconds": seconds,
        "n": len(case.X),
        "m": len(case.Y),
        "d": case.X.shape[1],
        "kept": None if kept is None else int(kept),  # step whose weights are returned
        "error": error,
    }


def quality(mapped, Y):
    """The measures of mapped rows against fresh ones of the target."""
    return {
        "energy": measures.energy(mapped, Y),
        "correlation": measures.correlation_error(mapped, Y),
    }


def run(task):
    """The result of a task on one thread."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return measured(task)
