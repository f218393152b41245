"""Error of the default NCFTransport on problems whose optimal map is known.

    python benchmarks/accuracy.py                        # exact problems and toys
    python benchmarks/accuracy.py --data DIR             # and the Wasserstein-2 arrays
    python benchmarks/accuracy.py --problems gaussians elastic --seeds 0 --check
    python benchmarks/accuracy.py --params '{"ensemble_size": 1}'    # not the defaults

Errors are L2-UVP in percent: 100 E|T_hat - T|^2 / Var, 0 for the exact map. The seed
sets the estimator and, for generated problems, the problem. One thread throughout.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from problems import (
    TOYS,
    Problem,
    convex_problem,
    errors,
    gaussian_problem,
    reference,
    toy_problem,
    w2_problem,
)
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport


@dataclass(frozen=True)
class Result:
    """One fit: errors are (forward, inverse), `reference` those to compare with."""

    problem: Problem
    seed: int
    errors: tuple[float, float]
    reference: tuple[float, float] | None
    seconds: float
    steps: int
    kept: int

    def passed(self):
        """Whether both errors are below; None where there is no threshold."""
        below = self.problem.below
        if below is None:
            return None
        if self.problem.closed_form:
            # No estimator can be asked to beat the sample's own Gaussian map by much.
            below = np.maximum(below, 1.1 * np.array(self.reference))
        return bool((np.array(self.errors) < below).all())


GENERAL_COSTS = (
    ("l_1.2", "lp", {"p": 1.2}, (3.0, 4.0)),
    ("elastic", "elastic", {"gamma": 1.0}, (0.6, 0.6)),
    ("l_3", "lp", {"p": 3.0}, None),
    ("norm_power 1.5", "norm_power", {"p": 1.5}, None),
    ("pseudo_huber", "pseudo_huber", {"delta": 1.0}, None),
)


def problems(data):
    """All problems; those of the Wasserstein-2 benchmark where `data` holds them."""
    found = []
    for d, n, below in (
        (2, 4096, (0.42, 0.35)),
        (8, 4096, (3.0, 1.2)),
        (8, 65536, (1.3, 0.6)),
        (32, 16384, (4.1, 1.4)),
    ):
        if data is not None:
            found.append(w2_problem(data, d, n, below))
    for d, below in ((8, (0.08, 0.08)), (32, (0.42, 0.42))):
        found.append(gaussian_problem(d, 4096, below))
    for label, cost, params, below in GENERAL_COSTS:
        found.append(convex_problem(label, cost, params, 4, 4096, below))
    return found + [toy_problem(name) for name in TOYS]


def run(problem, seed, params):
    """Fit once, and measure; `params` are other parameters of the estimator."""
    case = problem.make(seed)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        start = time.perf_counter()
        estimator = NCFTransport(
            cost=problem.cost,
            cost_params=problem.cost_params,
            random_state=seed,
            **params,
        ).fit(case.X, X_target=case.X_target)
        seconds = time.perf_counter() - start
        mapped = (
            estimator.transform(case.forward[0]),
            estimator.inverse_transform(case.inverse[0]),
        )
        measured = errors(problem, case, mapped), reference(problem, case)
    kept = estimator.best_iter_
    return Result(problem, seed, *measured, seconds, estimator.n_iter_, kept)


def worst(results):
    """The worst errors of a problem's results and their mean time, as one result."""
    errors_ = tuple(np.max([r.errors for r in results], axis=0))
    seconds = float(np.mean([r.seconds for r in results]))
    return replace(results[0], errors=errors_, seconds=seconds)


HEADER = (
    f"{'problem':<26}{'seed':>6}{'forward':>9}{'inverse':>9}{'below':>14}"
    f"{'reference':>15}{'seconds':>9}{'steps':>7}{'kept':>7}  verdict"
)


def line(result, seed, verdict):
    """One row of the table."""
    pair = lambda values: "/".join(f"{v:.3g}" for v in values) if values else "-"
    words = {None: "", True: "pass", False: "FAIL"}
    return (
        f"{result.problem.name:<26}{seed:>6}"
        f"{result.errors[0]:>9.3f}{result.errors[1]:>9.3f}"
        f"{pair(result.problem.below):>14}{pair(result.reference):>15}"
        f"{result.seconds:>9.1f}{result.steps:>7}{result.kept:>7}  {words[verdict]}"
    )


def parse(argv):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of w2_d2, 8, 32.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--problems", nargs="+", help="parts of problem names")
    parser.add_argument("--jobs", type=int, default=1, help="fits at a time")
    parser.add_argument(
        "--params", type=json.loads, default={}, help="of the estimator, as JSON"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 1 if an error is not below"
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Print the table, row by row, then the worst of the seeds."""
    options = parse(argv)
    chosen = [
        p
        for p in problems(options.data)
        if not options.problems or any(part in p.name for part in options.problems)
    ]
    print("L2-UVP in %; toys: 100 x squared energy distance to fresh target rows.")
    print("reference: sample's Gaussian map (gaussians), two fresh samples (toys).")
    print(HEADER, flush=True)
    summary, failed = [], False
    for problem in chosen:
        jobs = (delayed(run)(problem, seed, options.params) for seed in options.seeds)
        results = []
        for result in Parallel(options.jobs, return_as="generator")(jobs):
            results.append(result)
            print(line(result, result.seed, result.passed()), flush=True)
        verdicts = [r.passed() for r in results]
        verdict = None if None in verdicts else all(verdicts)
        failed |= verdict is False
        summary.append(line(worst(results), "worst", verdict))
    print("\nworst of the seeds (seconds: mean; steps, kept, reference: first seed)")
    print("\n".join([HEADER, *summary]))
    return int(failed and options.check)


if __name__ == "__main__":
    sys.exit(main())
