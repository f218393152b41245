"""Errors of default fits on few rows, over many seeds, before and after a change.

    git worktree add ../before 757dd93
    python benchmarks/few_rows.py --against ../before --data DIR --log few.jsonl

Each sample has 60 to 300 rows of 2 to 16 features, and each seed draws new rows. Errors
are those of `speed.py`: the geometric mean of both directions, L2-UVP in percent. "kept"
counts the seeds whose fit returns the initialization. "harmful" counts those of them whose
error is more than 1.5 times the median error of the other seeds.
"""

import sys
from functools import partial

import numpy as np
from problems import convex_problem, gaussian_problem, w2
from results import grouped
from speed import (
    Group,
    Timed,
    all_results,
    arrays_of,
    chosen_groups,
    parser,
    timed_problem,
)

HARMFUL = 1.5
W2_SIZES = (2, 60), (2, 150), (2, 300), (8, 150), (8, 300)
CONVEX_SIZES = (4, 150), (16, 300)
GAUSSIAN_SIZES = (4, 100), (16, 150)


def drawn(path, n, seed):
    """Random rows of the Wasserstein-2 benchmark, by seed."""
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
    options = parser(__doc__, [*range(20)]).parse_args(argv)
    group = Group("few rows", time=1.0, error=0.9, problems=problems(options.data))
    chosen = chosen_groups([group], options.problems)
    wanted = [timed for group in chosen for timed in group.problems]
    by_problem = grouped(all_results(wanted, options), "problem")
    print(HEADER)
    print("|---" * (HEADER.count("|") - 1) + "|")
    for timed in wanted:
        found = line(timed.name, by_problem[(timed.name,)])
        if found is not None:
            print(found)


if __name__ == "__main__":
    sys.exit(main())
