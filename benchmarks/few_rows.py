"""Errors of default fits on few rows, over many seeds, before and after a change.

    git worktree add ../before 757dd93
    python benchmarks/few_rows.py --against ../before --data DIR --log few.jsonl

60 to 300 rows of either side in 2 to 16 dimensions; every seed draws its own rows. Errors
as in `speed.py`: the geometric mean of both directions, L2-UVP in percent. "kept" counts
the seeds that keep the initialization, "harmful" those of them whose error is more than
1.5 times the median of the seeds that do not: there training should have been trusted.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from problems import convex_problem, gaussian_problem, w2
from results import grouped, read
from speed import Timed, add_to_log, arrays_of, measured, timed_problem

HARMFUL = 1.5
W2_SIZES = (2, 60), (2, 150), (2, 300), (8, 150), (8, 300)
CONVEX_SIZES = (4, 150), (16, 300)
GAUSSIAN_SIZES = (4, 100), (16, 150)
KEY = ("problem", "seed", "revision")


def drawn(path, n, seed):
    """Some rows of the Wasserstein-2 benchmark, others for every seed."""
    case, rng = w2(path, None, seed), np.random.default_rng(seed)
    X, Y = (rng.permutation(rows)[:n] for rows in case[:2])
    return arrays_of(case._replace(X=X, X_target=Y))


def problems(data):
    """Those of the benchmark if its folder is given, and generated ones."""
    found = []
    if data is not None:
        found = [
            Timed(f"w2 d={d} n={n}", partial(drawn, data / f"w2_d{d}.npz", n), {})
            for d, n in W2_SIZES
        ]
    convex = [
        convex_problem("convex", "sqeuclidean", None, *size) for size in CONVEX_SIZES
    ]
    gaussians = [gaussian_problem(*size) for size in GAUSSIAN_SIZES]
    return found + [timed_problem(problem) for problem in convex + gaussians]


def line(name, rows):
    """A row of the table."""
    own = grouped(rows, "revision")
    if len(own) < 2:
        return None
    before, after = (
        {row["seed"]: row for row in own[(revision,)]}
        for revision in ("before", "after")
    )
    seeds = sorted(set(before) & set(after))
    e0, e1 = (np.array([of[s]["error"] for s in seeds]) for of in (before, after))
    kept = [
        np.array([of[s]["best_iter"] == 0 for s in seeds]) for of in (before, after)
    ]
    harmful = [
        int((errors[mask] > HARMFUL * np.median(errors[~mask])).sum())
        if mask.any() and not mask.all()
        else 0
        for errors, mask in zip((e0, e1), kept, strict=True)
    ]
    s0, s1 = (sum(of[s]["seconds"] for s in seeds) for of in (before, after))
    return (
        f"| {name} | {len(seeds)} | {np.median(e0):.3g} | {np.median(e1):.3g} "
        f"| {np.median(e1) / np.median(e0):.3f} | {e1.max() / e0.max():.3f} "
        f"| {kept[0].sum()} | {kept[1].sum()} | {harmful[0]} | {harmful[1]} "
        f"| {s1 / s0:.2f} |"
    )


HEADER = (
    "| problem | seeds | median error before | after | ratio | ratio of the worst "
    "| kept before | after | harmful before | after | ratio of seconds |"
)


def main(argv=None):
    """Fit, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--data", type=Path, help="folder of w2_d*.npz")
    parser.add_argument("--problems", nargs="+", help="parts of names of problems")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(20)])
    parser.add_argument("--log", type=Path, help="results; a new call goes on")
    options = parser.parse_args(argv)
    checkouts = {
        "before": options.against.resolve(),
        "after": Path(__file__).resolve().parents[1],
    }
    rows = [] if options.log is None else read(options.log, KEY)
    done = {(row["problem"], row["seed"]) for row in rows}
    wanted = [
        timed
        for timed in problems(options.data)
        if not options.problems or any(name in timed.name for name in options.problems)
    ]
    for timed in wanted:
        for seed in (s for s in options.seeds if (timed.name, s) not in done):
            new = measured(timed, seed, checkouts, {})
            rows += new
            add_to_log(options.log, new)
    by_problem = grouped(rows, "problem")
    print(HEADER)
    print("|---" * (HEADER.count("|") - 1) + "|")
    for timed in wanted:
        found = line(timed.name, by_problem[(timed.name,)])
        if found is not None:
            print(found)


if __name__ == "__main__":
    sys.exit(main())
