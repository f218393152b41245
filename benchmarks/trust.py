"""Does `NCFTransport.diagnostics` know how wrong a map is? Its error next to the true one.

    python benchmarks/trust.py                       # exact problems and toys
    python benchmarks/trust.py --data DIR            # and the Wasserstein-2 arrays
    python benchmarks/trust.py --out rows.jsonl      # goes on where it was stopped

Every problem is fitted well and badly. The diagnostics see fresh rows of both samples,
without their images; the true error is measured on others, whose images are known. What
is printed is the rank correlation (Spearman) of the two over fits, and the verdicts.
Errors are L2-UVP in percent. Of the toys no exact map is known: theirs is the one of the
shift that would show the same energy distance. One thread throughout.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from problems import (
    TOYS,
    Case,
    convex_problem,
    errors,
    gaussian_problem,
    toy_problem,
    w2_problem,
)
from results import grouped, read
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport

N = 4096
NETWORK = {"potential": "network"}  # a discrete potential would hide a bad training
SMALL = {
    **NETWORK,
    "ensemble_size": 1,
    "hidden_layer_sizes": (48, 48, 48),
    "batch_size": 128,
}
TO_THE_END = {**SMALL, "early_stopping": False}
# Rows of each sample, and parameters: from maps that are hardly trained to good ones.
FITS = {
    "start": (N, {**NETWORK, "max_iter": 1, "tol": 1e9}),
    "200 steps": (N, {**TO_THE_END, "max_iter": 200}),
    "wrong target": (N, {**TO_THE_END, "max_iter": 100}),
    "paper's loss, 100 steps": (
        N,
        {**TO_THE_END, "max_iter": 100, "objective": "mmd"},
    ),
    "high rate": (N, {**TO_THE_END, "max_iter": 150, "learning_rate_init": 0.1}),
    "64 rows": (64, {**SMALL, "max_iter": 300}),
    "256 rows": (256, {**SMALL, "max_iter": 500}),
    "256 rows by heart": (256, {**TO_THE_END, "max_iter": 500}),
    "800 steps": (N, {**SMALL, "max_iter": 800}),
}
WRONG_COST = "wrong cost"  # the map of another problem: no diagnostic can know
COSTS = (
    ("l_1.2", "lp", {"p": 1.2}),
    ("elastic", "elastic", {"gamma": 1.0}),
    ("l_3", "lp", {"p": 3.0}),
    ("norm_power 1.5", "norm_power", {"p": 1.5}),
    ("pseudo_huber", "pseudo_huber", {"delta": 1.0}),
)


def problems(data):
    """All problems; those of the Wasserstein-2 benchmark where `data` holds them."""
    found = [] if data is None else [w2_problem(data, d, N) for d in (2, 8, 32)]
    found += [gaussian_problem(d, N) for d in (2, 8, 32)]
    found += [convex_problem(label, *cost, 4, N) for label, *cost in COSTS]
    return found + [toy_problem(name, N) for name in TOYS]


def fit(problem, case, name):
    """One of the fits."""
    n, params = FITS["200 steps" if name == WRONG_COST else name]
    params = {"cost": problem.cost, "cost_params": problem.cost_params, **params}
    X, Y = case.X[:n], case.X_target[:n]
    if name == "wrong target":  # wider by three tenths
        Y = Y + 0.3 * (Y - Y.mean(axis=0))
    if name == WRONG_COST:
        params |= {"cost": "sqeuclidean", "cost_params": None}
    return NCFTransport(**params, random_state=0).fit(X, X_target=Y)


def halves(case):
    """Rows for the diagnostics, and the case of the other rows for the true error."""
    half = len(case.forward[0]) // 2
    rest = [
        tuple(rows[half:] for rows in pair) for pair in (case.forward, case.inverse)
    ]
    seen = case.forward[0][:half], case.inverse[0][:half]
    return seen, Case(case.X, case.X_target, *rest, case.variances)


def true_errors(problem, case, transport):
    """Errors (forward, inverse) in percent of the variance."""
    sides = case.forward, case.inverse
    mapped = transport.transform(sides[0][0]), transport.inverse_transform(sides[1][0])
    found = errors(problem, case, mapped)
    if problem.measure == "energy":
        spread = [pdist(np.asarray(wanted)).mean() for _, wanted in sides]
        found = tuple(2 * e / s for e, s in zip(found, spread, strict=True))
    return found


def run(problem, name, n_rows):
    """Fit, diagnose on so many rows of each sample, and measure."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = problem.make(0)
        seen, case = halves(case)
        transport = fit(problem, case, name)
        found = {
            n: transport.diagnostics(seen[0][:n], X_target=seen[1][:n], random_state=0)
            for n in n_rows
        }
        errors_ = true_errors(problem, case, transport)
    row = {"problem": problem.name, "fit": name, "true": errors_}
    for n, one in found.items():
        row[str(n)] = {
            "error": (one.forward.error, one.inverse.error),
            "energy": (one.forward.energy_distance, one.inverse.energy_distance),
            "cycle_error": (one.forward.cycle_error, one.inverse.cycle_error),
            "residual": (one.forward.residual, one.inverse.residual),
            "p_value": (one.forward.p_value, one.inverse.p_value),
            "out_of_support": one.out_of_support,
            "gap": one.gap,
            "verdict": one.verdict,
        }
    row["seconds"] = time.perf_counter() - start
    return row


def correlation(rows, n, key="error"):
    """Spearman's, over both directions of all fits."""
    true = np.ravel([row["true"] for row in rows])
    return spearmanr(true, np.ravel([said(row[n], key) for row in rows])).statistic


def said(found, key):
    """A diagnostic of both directions; "distance" is the error without the cycle error."""
    if key == "distance":
        return np.subtract(found["error"], found["cycle_error"])
    return found[key]


def report(rows, n_rows):
    """The correlations, and how large the error is where a verdict is given."""
    judged = [row for row in rows if row["fit"] != WRONG_COST]
    print(f"\nrank correlation with the true error; rows of each sample: {n_rows}")
    for (name,), part in grouped(judged, "problem").items():
        values = "".join(f"{correlation(part, n):>8.2f}" for n in n_rows)
        errors_ = np.ravel([row["true"] for row in part])
        print(f"{name:<28}{values}   errors {errors_.min():.2g} to {errors_.max():.3g}")
    for key in ("error", "distance", "cycle_error", "energy", "residual"):
        values = "".join(f"{correlation(judged, n, key):>8.2f}" for n in n_rows)
        print(f"{'all, by ' + key:<28}{values}   {len(judged)} fits, both directions")
    for n in n_rows:
        print(f"\nverdicts on {n} rows: fits, greater true error: least, median, most")
        groups = {}
        for row in judged:
            words = row[n]["verdict"].partition(":")[0]
            groups.setdefault(words, []).append(max(row["true"]))
        for words, true in sorted(groups.items()):
            low, middle, high = np.quantile(true, [0, 0.5, 1])
            print(f"{words:<28}{len(true):>4}{low:>9.2f}{middle:>9.2f}{high:>9.2f}")
    blind = [row for row in rows if row["fit"] == WRONG_COST]
    if blind:
        print("\nfitted with the squared Euclidean cost: error said, true error")
    for row in blind:
        print(f"{row['problem']:<28}{max(row[n_rows[0]]['error']):>9.2f}", end="")
        print(f"{max(row['true']):>9.2f}")


def parse(argv):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of w2_d2, 8, 32.npz")
    parser.add_argument("--problems", nargs="+", help="parts of problem names")
    parser.add_argument("--fits", nargs="+", choices=[*FITS, WRONG_COST])
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--out", type=Path, help="file of the results, one a line")
    return parser.parse_args(argv)


def wanted(options):
    """Pairs of a problem and a fit."""
    for name in options.fits or [*FITS, WRONG_COST]:
        for problem in problems(options.data):
            parts = options.problems or [""]
            general = problem.cost != "sqeuclidean" or name != WRONG_COST
            if general and any(part in problem.name for part in parts):
                yield problem, name


def main(argv=None):
    """Print every fit as it is done, then the report."""
    options = parse(argv)
    rows = read(options.out, ("problem", "fit")) if options.out else []
    done = {(row["problem"], row["fit"]) for row in rows}
    for problem, name in wanted(options):
        if (problem.name, name) in done:
            continue
        row = run(problem, name, options.rows)
        row = json.loads(json.dumps(row))  # as it is read back
        rows.append(row)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
        pairs = (row["true"], row[str(options.rows[0])]["error"])
        numbers = "".join(f"{e:>9.3f}" for pair in pairs for e in pair)
        print(
            f"{problem.name:<28}{name:<26}{numbers}{row['seconds']:>7.1f}", flush=True
        )
    report(rows, [str(n) for n in options.rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
