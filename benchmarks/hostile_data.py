"""Random tables of mixed columns: is a fit as good as simple maps, and as its twin?

    python benchmarks/hostile_data.py --max-iter 300 --members 1 --log hostile.jsonl
    python benchmarks/hostile_data.py --start 41 --fits 1  # one case again

Case k draws columns (continuous, counts, zero-inflated, binary, constant, collinear,
heavy-tailed to Cauchy, log-normal, rounded, with -9999 for a missing value), sizes from
20 to 20,000 rows, weights, and by how much source and target differ. Its fit is compared
with a twin on rows with noise of 1e-6, with no map, the linear map and POT's exact plan.

All methods get columns in the same units (median and interquartile range). The energy
distance is measured on fresh rows, each column x bent to 4 arctan(x / 4): a value far
out counts, but no single one outweighs the others. "apart" is the median distance between
the rows as mapped by a fit and by its twin. Warnings that are no UserWarning are unexpected.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tabular import generated
from tabular.twins import KEY, OTHERS, Task, run
from tabular.work import resumed

N_FITS, WORST = 300, 10
HEADERS = {"floor": "noise floor", "training_floor": "training noise"}


def ratio(row):
    """Distance of the fit over that of the best other map and the training noise.

    The noise is the expected distance of two samples of the training sizes: without a
    difference between source and target no map is exact, and no fit can be.
    """
    best = min((row[m] for m in OTHERS if row[m] is not None), default=None)
    if row["sk_ncf"] is None or best is None:
        return 0.0
    return row["sk_ncf"] / max(best + row["training_floor"], 1e-12)


def disagreement(row):
    """The larger over the smaller distance of a fit and its twin."""
    if row["sk_ncf"] is None or row["twin"] is None:
        return 0.0
    low, high = sorted((row["sk_ncf"], row["twin"]))
    return high / max(low, 1e-12)


def cell(value):
    """A number of a table."""
    return "-" if value is None else f"{value:.3g}"


def described(row):
    """Columns, sizes and weights of a case in words."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in row["kinds"].items())
    weights = " / ".join(row["weights"])
    return f"{row['rows'][0]} / {row['rows'][1]} rows; {kinds}; weights {weights}"


def worst(rows, measure, title):
    """Lines of the ten cases with the largest values of a measure."""
    columns = [*OTHERS, "sk_ncf", "twin", "floor", "training_floor", "apart"]
    titles = [HEADERS.get(name, name) for name in columns]
    yield f"\n{title}\n"
    yield "| --start | value | " + " | ".join(titles) + " | case |"
    yield "|---" * (len(columns) + 3) + "|"
    for row in sorted(rows, key=measure, reverse=True)[:WORST]:
        numbers = [cell(v) for v in (measure(row), *(row[c] for c in columns))]
        yield f"| {row['index']} | {' | '.join(numbers)} | {described(row)} |"


def failures(rows):
    """Lines of exceptions and unexpected warnings: how often, and the first case."""
    for name in ("errors", "unexpected"):
        first, times = {}, Counter()
        for row in rows:
            times.update(row[name])
            for text in row[name]:
                first.setdefault(text, row["index"])
        for text, n in times.most_common(WORST):
            yield f"{name}, {n} times, --start {first[text]}: {text}"


def summary(rows):
    """Counts, in words."""
    above = lambda measure, bound: sum(measure(row) > bound for row in rows)
    expected = sum((Counter(row["warnings"]) for row in rows), Counter())
    return (
        f"{len(rows)} cases, {2 * len(rows)} fits: "
        f"{sum(len(row['errors']) for row in rows)} exceptions, "
        f"{sum(not row['finite'] for row in rows)} with non-finite output, "
        f"{sum(bool(row['unexpected']) for row in rows)} with unexpected warnings; "
        f"more than 1.1 x (best other map + training noise): {above(ratio, 1.1)}, 2 x: "
        f"{above(ratio, 2)}; twins more than 1.5 x apart: {above(disagreement, 1.5)}; "
        f"a constant column missed: {above(lambda row: row['constants'], 1e-9)}\n"
        f"warnings: {dict(expected) or 'none'}"
    )


def report(rows):
    """All lines."""
    yield summary(rows)
    yield from failures(rows)
    yield from worst(
        rows, ratio, "Worst by distance over (best other map + training noise)"
    )
    yield from worst(rows, disagreement, "Worst by distance of a fit over its twin's")


def main(argv=None):
    """Run the cases and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--fits", type=int, default=N_FITS, help="how many cases")
    parser.add_argument(
        "--max-iter", type=int, help="steps; default: the estimator's own"
    )
    parser.add_argument(
        "--members", type=int, help="size of the ensemble; default: auto"
    )
    parser.add_argument("--max-rows", type=int, default=generated.MOST_ROWS)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--log", type=Path, help="results so far; a new call goes on")
    parser.add_argument("--report", action="store_true", help="only print the log")
    options = parser.parse_args(argv)
    budget = options.max_iter, options.members, options.max_rows
    cases = range(options.start, options.start + options.fits)
    work = [Task(k, *budget) for k in cases]
    note = lambda row: print(
        f"{row['index']}: {ratio(row):.3g} x the best, twin {disagreement(row):.3g} x "
        f"({row['seconds']:.1f} s)",
        file=sys.stderr,
        flush=True,
    )
    rows = resumed(run, work, KEY, options.log, options.jobs, note, options.report)
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
