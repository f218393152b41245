"""CPU seconds and errors of the default fit, before and after a change.

    git worktree add ../before 757dd93
    python benchmarks/speed.py --against ../before --data DIR
    python benchmarks/speed.py --against ../before --problems "20 rows" classes --seeds 0

For every problem and seed, the checkout given by `--against` and this one fit the same rows
in turn, each in a process of its own with one thread. The error is the geometric mean of
the forward and the inverse error, L2-UVP in percent; for classes it is the mean over
classes of 100 times the squared energy distance to the other sample's test rows. "kept"
counts the fits that kept the initialization. Ratios are geometric means over the
seeds, after / before. A ratio below 1 is an improvement.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from class_conditional import crossing
from problems import Case, convex_problem, distance, gaussian_problem, w2_problem
from results import grouped, read

from sk_ncf.metrics import l2_uvp

HERE = Path(__file__).resolve()


@dataclass(frozen=True)
class Timed:
    """A problem: its rows as a function of the seed, and parameters of the estimator."""

    name: str
    arrays: Callable
    params: dict


@dataclass(frozen=True)
class Group:
    """Problems that must reach the same ratios of time and error."""

    name: str
    time: float
    error: float
    problems: list


def groups(data):
    """The groups; those of the Wasserstein-2 benchmark if its folder is given."""
    few = [gaussian_problem(d, 20) for d in (2, 8)]
    lp = [(f"l_{p}", "lp", {"p": p}) for p in (1.5, 3.0)]
    others = [("elastic", "elastic", {"gamma": 1.0})]
    others.append(("norm_power", "norm_power", {"p": 1.5}))
    costs = [convex_problem(*cost, 4, 4096) for cost in lp + others]
    high = [gaussian_problem(64, 512), _quadratic(64, 512)]
    found = [
        ("20 rows", 0.1, 1.0, [*few, _quadratic(4, 20)]),
        ("256 rows", 1 / 6, 1.03, _w2(data, (2, 256), (8, 256))),
        ("512 rows, d = 64", 1 / 3.5, 1.05, high),
        (
            "1,024 rows",
            1 / 3.5,
            1.05,
            [*_w2(data, (2, 1024), (8, 1024)), gaussian_problem(8, 1024)],
        ),
        ("4,096 rows", 0.5, 1.05, _w2(data, (2, 4096), (8, 4096))),
        ("general costs", 0.5, 1.05, costs),
        ("other sizes", 1.0, 1.05, [_quadratic(*s) for s in OTHER_SIZES]),
        ("many rows", 2 / 3, 1.02, _w2(data, (8, 65536), (32, 16384))),
    ]
    made = [
        Group(n, t, e, [timed_problem(p) for p in ps]) for n, t, e, ps in found if ps
    ]
    labels = Timed(
        "three classes n=3000", _class_arrays, {"class_conditional": "per_class"}
    )
    return [*made, Group("classes", 0.5, 1.05, [labels])]


OTHER_SIZES = ((1, 150), (3, 60), (3, 700), (5, 3000), (16, 700), (16, 10_000))


def _quadratic(d, n):
    return convex_problem("convex", "sqeuclidean", None, d, n)


def _w2(data, *sizes):
    return [] if data is None else [w2_problem(data, d, n) for d, n in sizes]


def timed_problem(problem):
    """A problem with the parameters of its cost."""
    params = {"cost": problem.cost, "cost_params": problem.cost_params}
    return Timed(problem.name, lambda seed: arrays_of(problem.make(seed)), params)


def arrays_of(case: Case):
    """Rows to fit and to test."""
    return {
        "X": case.X,
        "X_target": case.X_target,
        "X_forward": case.forward[0],
        "exact_forward": case.forward[1],
        "X_inverse": case.inverse[0],
        "exact_inverse": case.inverse[1],
        # nan: the variance of the exact images
        "variances": np.array(case.variances, dtype=float),
    }


def _class_arrays(seed, n=3000):
    """Three classes whose straight paths cross."""
    (X, Y, y), (X_test, Y_test, y_test) = crossing(n, seed), crossing(n, 1000 + seed)
    fit = {"X": X, "X_target": Y, "y": y, "y_target": y}
    test = {"X_forward": X_test, "X_inverse": Y_test}
    test |= {"exact_forward": Y_test, "exact_inverse": X_test}
    return fit | test | {"y_forward": y_test, "y_inverse": y_test}


def error(arrays, result):
    """The geometric mean of the errors of both directions."""
    return float(np.sqrt(np.prod([_error(arrays, result, d) for d in (0, 1)])))


def _error(arrays, result, direction):
    side = ("forward", "inverse")[direction]
    mapped, exact = result[side], arrays[f"exact_{side}"]
    if "y" in arrays:
        y = arrays[f"y_{side}"]
        return np.mean([distance(mapped[y == k], exact[y == k]) for k in np.unique(y)])
    variance = arrays["variances"][direction]
    return l2_uvp(mapped, exact, None if np.isnan(variance) else variance)


def timed_fit(checkout, arrays, params, folder):
    """The result of one fit by the sk_ncf of a checkout, in its own process."""
    rows, result = folder / "rows.npz", folder / "result.npz"
    np.savez(rows, **arrays)
    path = os.pathsep.join([str(checkout), os.environ.get("PYTHONPATH", "")])
    variables = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    arguments = [rows, result, json.dumps(params)]
    subprocess.run(
        [sys.executable, HERE.with_name("timed_fit.py"), *map(str, arguments)],
        env=os.environ | variables,
        cwd=folder,
        check=True,
    )
    return dict(np.load(result))


def measured(timed, seed, checkouts, params):
    """One row of results for each checkout."""
    arrays, rows = timed.arrays(seed), []
    for revision, checkout in checkouts.items():
        with tempfile.TemporaryDirectory() as folder:
            own = {**timed.params, **params, "random_state": seed}
            found = timed_fit(checkout, arrays, own, Path(folder))
        row = {"problem": timed.name, "seed": seed, "revision": revision}
        row |= {"seconds": float(found["seconds"]), "error": error(arrays, found)}
        row |= {"n_iter": int(found["n_iter"]), "best_iter": int(found["best_iter"])}
        rows.append(row)
    return rows


HEADER = (
    "| problem | seeds | seconds before | after | ratio | wanted | error before | after "
    "| ratio | worst seed | wanted | steps before | after | kept before | after |"
)


def table(groups, rows):
    """Lines of a Markdown table."""
    lines = [HEADER, "|---" * HEADER.count(" | ") + "|---|"]
    by_problem = grouped(rows, "problem")
    for group in groups:
        ratios = []
        for timed in group.problems:
            own = grouped(by_problem.get((timed.name,), []), "revision")
            if len(own) == 2:
                line, ratio = _line(timed.name, group, own)
                lines.append(line)
                ratios.append(ratio)
        if len(ratios) > 1:
            seconds, errors = np.exp(np.log(ratios).mean(axis=0))
            lines.append(
                f"| **{group.name}** | | | | **{seconds:.2f}** | {group.time:.2f} | | "
                f"| **{errors:.3f}** | | {group.error} | | | | |"
            )
    return lines


def _line(name, group, own):
    """A row of the table, and its ratios of seconds and errors."""
    before, after = (own[(revision,)] for revision in ("before", "after"))
    values = {
        key: [np.array([row[key] for row in rows]) for rows in (before, after)]
        for key in ("seconds", "error", "n_iter", "best_iter")
    }
    (s0, s1), (e0, e1) = values["seconds"], values["error"]
    seconds, errors = _mean(s1) / _mean(s0), _mean(e1) / _mean(e0)
    steps = " | ".join(f"{steps.mean():.0f}" for steps in values["n_iter"])
    kept = " | ".join(f"{(steps == 0).sum()}" for steps in values["best_iter"])
    line = (
        f"| {name} | {len(s0)} | {_mean(s0):.2f} | {_mean(s1):.2f} | {seconds:.2f} "
        f"| {group.time:.2f} | {_mean(e0):.3g} | {_mean(e1):.3g} | {errors:.3f} "
        f"| {(e1 / e0).max():.3f} | {group.error} | {steps} | {kept} |"
    )
    return line, (seconds, errors)


def _mean(values):
    """The geometric mean."""
    return float(np.exp(np.log(values).mean()))


def parser(description, seeds):
    """The command line of a comparison with another checkout."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--data", type=Path, help="folder of w2_d*.npz")
    parser.add_argument(
        "--problems", nargs="+", help="parts of names of groups, problems"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds)
    parser.add_argument("--max-iter", type=int, help="steps, for a trial")
    parser.add_argument(
        "--log", type=Path, help="keep results here, and go on from them"
    )
    return parser


def all_results(problems, options):
    """Results of both checkouts: those of the log, and the rest, which are added to it."""
    checkouts = {"before": options.against.resolve(), "after": HERE.parents[1]}
    params = {} if options.max_iter is None else {"max_iter": options.max_iter}
    key = ("problem", "seed", "revision")
    rows = [] if options.log is None else read(options.log, key)
    done = {(row["problem"], row["seed"]) for row in rows}
    for timed in problems:
        for seed in (s for s in options.seeds if (timed.name, s) not in done):
            new = measured(timed, seed, checkouts, params)
            rows += new
            _append(options.log, new)
    return rows


def main(argv=None):
    """Fit, and print the table."""
    options = parser(__doc__, [0, 1, 2]).parse_args(argv)
    chosen = chosen_groups(groups(options.data), options.problems)
    rows = all_results([timed for group in chosen for timed in group.problems], options)
    print("\n".join(table(chosen, rows)))


def chosen_groups(groups, names):
    """The groups that a name is part of; of the others, the problems that it is part of."""
    if not names:
        return groups
    chosen = []
    for group in groups:
        kept = [
            timed
            for timed in group.problems
            if any(name in group.name or name in timed.name for name in names)
        ]
        if kept:
            chosen.append(Group(group.name, group.time, group.error, kept))
    return chosen


def _append(path, rows):
    """Add results to a file, if there is one."""
    if path is not None:
        with path.open("a") as log:
            log.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
