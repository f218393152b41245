"""CPU seconds of a default fit, by rows and features.

    python benchmarks/fit_time.py            # a quarter of an hour
    python benchmarks/fit_time.py --rows 100 1000 --features 2 8
    python benchmarks/fit_time.py --quick

Source and target have the same number of rows; the map between them is that of
:func:`sk_ncf.datasets.make_convex_map`. One thread, the first fit of the process not
counted, since it also loads libraries. The number of gradient steps is in brackets: more
rows take more steps, and with more features a step takes longer.
"""

import argparse
import time
import warnings

import torch
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map

ROWS = (20, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
FEATURES = (2, 8, 32)
QUICK = {"rows": (20, 100), "features": (2,)}


def parsed(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--features", type=int, nargs="+", default=FEATURES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help=str(QUICK))
    options = parser.parse_args(argv)
    if options.quick:
        vars(options).update(QUICK)
    return options


def timed(n, d, seed):
    """CPU seconds and steps of a fit to n rows of d features in each sample."""
    problem = make_convex_map(n_samples=n, n_features=d, random_state=seed)
    start = time.process_time()
    fitted = NCFTransport(random_state=seed, device="cpu").fit(
        problem.X, X_target=problem.X_target
    )
    return time.process_time() - start, fitted.n_iter_


def main(argv=None):
    """Print the table, row by row."""
    options = parsed(argv)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("| rows | " + " | ".join(f"{d} features" for d in options.features) + " |")
    print("|---" * (len(options.features) + 1) + "|")
    with threadpool_limits(1):
        timed(100, 2, options.seed)
        for n in options.rows:
            cells = [timed(n, d, options.seed) for d in options.features]
            texts = [f"{seconds:.2g} s ({steps:,})" for seconds, steps in cells]
            print(f"| {n:,} | " + " | ".join(texts) + " |", flush=True)


if __name__ == "__main__":
    main()
