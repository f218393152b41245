"""Maps between two halves of real tables, columns as they come, clean and corrupt.

    python benchmarks/tables.py                               # all, hours on one core
    python benchmarks/tables.py --seeds 0 --log tables.jsonl  # goes on from the log
    python benchmarks/tables.py --quick                       # three pairs, a minute
    python benchmarks/tables.py --pairs penguins houses --methods linear sk_ncf

Every pair is split in two by a column of its own (time, sex, ...), and half of the rows
of each sample are fresh: they only measure. All methods get the same rows in the same
units: mean and standard deviation of both training samples together, columns clipped at
their 1 % and 99 % quantiles; corrupt rows do not change the units. Corrupt rows are
added to the source, the target or both, at 20, 1,000 or 1,000,000 standard deviations in
random directions, a thousandth of the rows; three seeds go through all nine cases.
"""

import argparse
import sys
from pathlib import Path

from tabular import measures, report
from tabular.methods import METHODS, missing
from tabular.pairs import PAIRS
from tabular.run import KEY, run, tasks
from tabular.work import resumed

QUICK = {"max_rows": 300, "max_iter": 50, "members": 1}
QUICK_PAIRS = ("houses", "health care (Australia)", "penguins")


def chosen(names):
    """Pairs whose name contains one of the words; those whose package is there."""
    pairs = [p for p in PAIRS if not names or any(word in p for word in names)]
    for pair in pairs:
        if not PAIRS[pair].available:
            print(f"{pair} left out: install {PAIRS[pair].package}")
    return [pair for pair in pairs if PAIRS[pair].available]


def usable(methods):
    """Methods whose package is installed."""
    for method in methods:
        if missing(method):
            print(f"{method} left out: install {missing(method)}")
    return [method for method in methods if not missing(method)]


def parsed(argv):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", help="words in the names of the pairs")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--max-iter", type=int, help="steps of sk_ncf; default: its own"
    )
    parser.add_argument(
        "--members", type=int, help="size of the ensemble; default: auto"
    )
    parser.add_argument("--max-rows", type=int, default=measures.MAX_ROWS)
    parser.add_argument("--clean", action="store_true", help="no corrupt rows")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--log", type=Path, help="results so far; a new call goes on")
    parser.add_argument("--report", action="store_true", help="only print the log")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS}, {QUICK}")
    parser.add_argument("--list", action="store_true", help="print the pairs and stop")
    options = parser.parse_args(argv)
    if options.quick:
        for name, value in QUICK.items():
            if getattr(options, name) == parser.get_default(name):
                setattr(options, name, value)
        options.seeds = options.seeds[:1]
        options.pairs = options.pairs or list(QUICK_PAIRS)
    return options


def note(row):
    """Progress, and what failed, on the error stream."""
    text = f"{row['pair']}, seed {row['seed']}, {row['corruption']}, {row['method']}: "
    text += row["error"] or f"{row['energy']:.3g} ({row['seconds']:.1f} s)"
    text += "" if row["kept"] is None else f", step {row['kept']}"
    print(text, file=sys.stderr, flush=True)


def main(argv=None):
    """Print the table and the summary."""
    options = parsed(argv)
    pairs = chosen(options.pairs)
    if options.list:
        print("\n".join(pairs))
        return
    methods = usable(options.methods)
    names = ("max_rows", "max_iter", "members")
    given = {name: getattr(options, name) for name in names}
    work = list(tasks(pairs, methods, options.seeds, not options.clean, **given))
    rows = resumed(run, work, KEY, options.log, options.jobs, note, options.report)
    print(report.explanation(), end="\n\n")
    print("\n".join(report.table(rows, methods)), end="\n\n")
    print(report.summary(rows))


if __name__ == "__main__":
    main()
