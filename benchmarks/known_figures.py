"""Published errors of others, and those of the default NCFTransport beside them.

    python benchmarks/known_figures.py --data DIR --check

L2-UVP in percent, forward map. MM:R's are those of Korotin et al. (2021), table 1 of
"Do Neural Optimal Transport Solvers Work?", on the same benchmark (here as far as DIR
holds its arrays); NCF's those of Park et al. (2026) between Gaussians, where
"closed form" is the error of the closed-form map between the moments of the same
samples. The worst of the seeds; one thread.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from problems import errors, gaussian_problem, reference, w2_problem
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport

MMR = {2: 0.1, 4: 0.3, 8: 0.7, 16: 1.9, 32: 2.8, 64: 4.5}
NCF = {2: 0.010, 4: 0.021, 8: 0.086, 16: 0.15, 32: 0.44, 64: 0.86}
ROWS = 65_536


def cases(data):
    """Problems and the published errors to stay below."""
    for d, figure in MMR.items():
        path = None if data is None else data / f"w2_d{d}.npz"
        if path is not None and path.exists():
            n = min(ROWS, len(np.load(path, mmap_mode="r")["X"]))
            yield w2_problem(data, d, n), figure
    for d, figure in NCF.items():
        yield gaussian_problem(d, ROWS), figure


def measured(problem, seed):
    """Forward and inverse error, forward error of the closed form, and seconds."""
    case = problem.make(seed)
    start = time.perf_counter()
    estimator = NCFTransport(random_state=seed).fit(case.X, X_target=case.X_target)
    seconds = time.perf_counter() - start
    mapped = (
        estimator.transform(case.forward[0]),
        estimator.inverse_transform(case.inverse[0]),
    )
    closed_form = reference(problem, case) or (np.nan,)
    return (*errors(problem, case, mapped), closed_form[0], seconds)


def main(argv=None):
    """Print a row per problem."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the w2_d*.npz arrays")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--check", action="store_true", help="exit 1 if one is missed")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    header = ("forward", "published", "closed form", "inverse", "seconds")
    print(f"{'problem':<26}" + "".join(f"{name:>13}" for name in header), flush=True)
    missed = 0
    for problem, figure in cases(options.data):
        with threadpool_limits(1):
            rows = [measured(problem, seed) for seed in options.seeds]
        forward, inverse, closed_form, seconds = np.max(rows, axis=0)
        missed += forward > figure
        values = (forward, figure, closed_form, inverse, seconds)
        verdict = "" if forward <= figure else "  missed"
        print(f"{problem.name:<26}" + "".join(f"{v:>13.3g}" for v in values) + verdict)
    return int(missed and options.check)


if __name__ == "__main__":
    sys.exit(main())
