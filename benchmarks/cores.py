"""Wall seconds of a default fit in one process and in two (`n_jobs`), each of one thread.

    python benchmarks/cores.py               # a minute on two fast cores
    python benchmarks/cores.py --rows 1024 --features 2 --jobs 1 2 --repeat 3

The fits are made in turn, so that other load affects all alike; the shortest of the
repetitions counts. A fit of the first number of processes is the reference of the ratios,
and of the maps, which must be equal to the last bit. A GPU is hidden: beside one, a fit
has one process.
"""

import argparse
import os
import time
import warnings

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch is imported

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map

ROWS, FEATURES, JOBS = (1_024, 4_096), 8, (1, 2)


def parsed(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--jobs", type=int, nargs="+", default=JOBS)
    parser.add_argument("--max-iter", type=int, default=None)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def timed(problem, n_jobs, options):
    """Seconds of a fit, its steps, and the mapped rows."""
    params = {"random_state": options.seed, "device": "cpu", "n_jobs": n_jobs}
    if options.max_iter is not None:
        params["max_iter"] = options.max_iter
    start = time.perf_counter()
    fitted = NCFTransport(**params).fit(problem.X, X_target=problem.X_target)
    seconds = time.perf_counter() - start
    return seconds, fitted.n_iter_, fitted.transform(problem.X)


def main(argv=None):
    """Print the table, row by row."""
    options = parsed(argv)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, {options.features} features")
    print("| rows | steps | processes | seconds | times as fast | same map |")
    print("|---" * 6 + "|")
    with threadpool_limits(1):
        NCFTransport(max_iter=2).fit(np.random.RandomState(0).randn(50, 2))  # libraries
        for n in options.rows:
            problem = make_convex_map(
                n_samples=n, n_features=options.features, random_state=options.seed
            )
            best, maps, steps = {}, {}, {}
            for _ in range(options.repeat):
                for jobs in options.jobs:
                    seconds, steps[jobs], maps[jobs] = timed(problem, jobs, options)
                    best[jobs] = min(seconds, best.get(jobs, seconds))
            first = options.jobs[0]
            for jobs in options.jobs:
                same = "yes" if np.array_equal(maps[first], maps[jobs]) else "no"
                cells = f"{n:,} | {steps[jobs]:,} | {jobs} | {best[jobs]:.2f}"
                ratio = best[first] / best[jobs]
                print(f"| {cells} | {ratio:.2f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
