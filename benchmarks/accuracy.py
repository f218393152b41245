"""Error of the default NCFTransport on problems whose optimal map is known.

    python benchmarks/accuracy.py                        # exact problems and toys
    python benchmarks/accuracy.py --data DIR             # and the Wasserstein-2 arrays
    python benchmarks/accuracy.py --problems gaussians elastic --seeds 0 --check

Errors are L2-UVP in percent: 100 E|T_hat - T|^2 / Var, 0 for the exact map. The seed
sets the estimator and, for generated problems, the problem. One thread throughout.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport, datasets
from sk_ncf.losses import energy_distance
from sk_ncf.preconditioner import gaussian_map, weighted_moments

N_TEST = 4096


class Case(NamedTuple):
    """Training rows, and fresh rows of both sides with their exact images."""

    X: np.ndarray
    X_target: np.ndarray
    forward: tuple[np.ndarray, np.ndarray]
    inverse: tuple[np.ndarray, np.ndarray]
    variances: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Problem:
    """A problem by name, and the errors (forward, inverse) to stay below."""

    name: str
    make: Callable  # of a seed
    below: tuple[float, float] | None = None
    cost: str = "sqeuclidean"
    cost_params: dict | None = None
    measure: str = "uvp"
    closed_form: bool = False


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


def w2(path, n, seed):
    """Rows of the Wasserstein-2 benchmark; they do not depend on the seed."""
    a = np.load(path)
    return Case(
        a["X"][:n],
        a["Y"][:n],
        (a["X_test"], a["T_test"]),
        (a["Y_inv_test"], a["X_inv_test"]),
        (float(a["var_tgt"]), float(a["var_src"])),
    )


def exact(make, n, d, seed, **params):
    """Rows of a generated problem."""
    problem = make(n_samples=n, n_features=d, random_state=seed, **params)
    X, X_mapped = problem.fresh_pairs(N_TEST, random_state=1000 + seed)
    X_origin, Y = problem.fresh_pairs(N_TEST, random_state=2000 + seed)
    return Case(problem.X, problem.X_target, (X, X_mapped), (Y, X_origin))


def toy(source, target, seed, n=8192):
    """Two-dimensional samples: fresh rows stand where exact images would."""
    rng = np.random.default_rng(seed)
    sides = (draw(n + 2 * N_TEST, random_state=rng) for draw in (source, target))
    X, Y = (np.split(rows, [n, n + N_TEST]) for rows in sides)
    return Case(X[0], Y[0], (X[1], Y[2]), (Y[1], X[2]))


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
            path = data / f"w2_d{d}.npz"
            make = lambda seed, path=path, n=n: w2(path, n, seed)
            found.append(Problem(f"w2 d={d} n={n}", make, below))
    for d, below in ((8, (0.08, 0.08)), (32, (0.42, 0.42))):
        make = lambda seed, d=d: exact(datasets.make_gaussians, 4096, d, seed)
        name = f"gaussians d={d} n=4096"
        found.append(Problem(name, make, below, closed_form=True))
    for label, cost, params, below in (
        ("l_1.2", "lp", {"p": 1.2}, (3.0, 4.0)),
        ("elastic", "elastic", {"gamma": 1.0}, (0.6, 0.6)),
        ("l_3", "lp", {"p": 3.0}, None),
        ("norm_power 1.5", "norm_power", {"p": 1.5}, None),
        ("pseudo_huber", "pseudo_huber", {"delta": 1.0}, None),
    ):
        make = lambda seed, c=cost, p=params: exact(
            datasets.make_convex_map, 4096, 4, seed, cost=c, cost_params=p
        )
        found.append(Problem(f"{label} d=4 n=4096", make, below, cost, params))
    return found + toys()


def toys():
    """Maps that tear or fold the plane; the exact ones are not known."""
    pairs = {
        "swiss roll -> moons": (datasets.make_swiss_roll_2d, datasets.make_two_moons),
        "checkerboard -> eight": (
            datasets.make_checkerboard,
            datasets.make_eight_gaussians,
        ),
        "eight -> moons": (datasets.make_eight_gaussians, datasets.make_two_moons),
    }
    return [
        Problem(
            f"toy {name}", lambda seed, pair=pair: toy(*pair, seed), measure="energy"
        )
        for name, pair in pairs.items()
    ]


def distance(X, Y):
    """Squared energy distance of two samples, times 100."""
    x, y = (torch.from_numpy(np.asarray(Z, dtype=np.float64))[None] for Z in (X, Y))
    return 100 * energy_distance(x, y).item()


def closed_form(case):
    """Errors of the Gaussian map between the sample moments, and of its inverse."""
    (mean_x, cov_x), (mean_y, cov_y) = (
        weighted_moments(Z, np.ones(len(Z))) for Z in (case.X, case.X_target)
    )
    A = gaussian_map(cov_x, cov_y)
    (x, mapped), (y, origin) = case.forward, case.inverse
    forward = mean_y + (x - mean_x) @ A
    inverse = mean_x + (y - mean_y) @ np.linalg.inv(A)
    return datasets.l2_uvp(forward, mapped), datasets.l2_uvp(inverse, origin)


def run(problem, seed):
    """Fit once, and measure."""
    case = problem.make(seed)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        start = time.perf_counter()
        estimator = NCFTransport(
            cost=problem.cost, cost_params=problem.cost_params, random_state=seed
        ).fit(case.X, X_target=case.X_target)
        seconds = time.perf_counter() - start
        mapped = (
            estimator.transform(case.forward[0]),
            estimator.inverse_transform(case.inverse[0]),
        )
        wanted, reference = (case.forward[1], case.inverse[1]), None
        if problem.measure == "energy":
            errors = tuple(map(distance, mapped, wanted))
            # Fresh rows of either law against other fresh rows of the same law.
            reference = tuple(map(distance, (case.inverse[0], case.forward[0]), wanted))
        else:
            errors = tuple(map(datasets.l2_uvp, mapped, wanted, case.variances))
        if problem.closed_form:
            reference = closed_form(case)
    kept = estimator.best_iter_
    return Result(problem, seed, errors, reference, seconds, estimator.n_iter_, kept)


def worst(results):
    """The worst errors of a problem's results and their mean time, as one result."""
    errors = tuple(np.max([r.errors for r in results], axis=0))
    seconds = float(np.mean([r.seconds for r in results]))
    return replace(results[0], errors=errors, seconds=seconds)


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
        jobs = (delayed(run)(problem, seed) for seed in options.seeds)
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
