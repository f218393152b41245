"""sk_ncf and its peers on the same arrays: one thread, the same wall-clock budget.

    pip install -c constraints.txt -e ".[bench]"
    pip install -c constraints.txt --no-deps torchcfm   # its other needs are not used
    python benchmarks/peers/run.py --data DIR --problems w2 gaussians --n 4096
    python benchmarks/peers/run.py --peers sk_ncf ENOT --seeds 0 --budget 5 15 60
    python benchmarks/peers/run.py --report             # table and plot of what is there

Every fit has its own process. Its result is a line of OUT/peers.jsonl; what is there is
not run again, so a run may be stopped and taken up. The table is OUT/peers.md, the plot
OUT/peers.png. Peers whose packages are missing or that do not know a cost are skipped.
`--settings default` leaves the grids of the peers out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # problems.py

from catalogue import catalogue, plan_cost
from problems import reference
from registry import PEERS
from report import KEY, write_plot, write_table
from results import read

HERE = Path(__file__).resolve().parent
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
ENVIRONMENT = {f"{name}_NUM_THREADS": "1" for name in THREADS} | {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "TQDM_DISABLE": "1",
    "PYTHONPATH": str(HERE.parent),
}


def tasks(problem, options):
    """What is to be run of a problem, without arrays."""
    for name, entry in PEERS.items():
        known = entry.costs is None or problem.cost in entry.costs
        if not _named(name, options.peers) or entry.missing() or not known:
            continue
        for setting in entry.named_settings():
            if not _named(setting, options.settings):
                continue
            for budget in options.budget:
                yield {
                    "problem": problem.name,
                    "peer": name,
                    "setting": setting,
                    "budget": budget,
                    "cost": problem.cost,
                    "cost_params": problem.cost_params,
                    "measure": problem.measure,
                }


def _named(name, parts):
    return not parts or any(part in name for part in parts)


def written(problem, seed, folder):
    """Write a problem's arrays to a file, the same for all peers; what they share."""
    case = problem.make(seed)
    path = Path(folder) / "case.npz"
    np.savez(
        path,
        X=case.X,
        X_target=case.X_target,
        forward_from=case.forward[0],
        forward_to=case.forward[1],
        inverse_from=case.inverse[0],
        inverse_to=case.inverse[1],
        variances=np.array(case.variances, float),
    )
    shared = {"arrays": str(path), "reference": reference(problem, case)}
    if problem.measure == "energy":
        shared["plan_cost"] = plan_cost(case.forward[0], case.inverse[0])
    return shared


def one_core():
    """Keep this process and its children on one core, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def result(task):
    """Run a task in a process of its own."""
    command = [sys.executable, str(HERE / "fit.py"), json.dumps(task)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=3 * task["budget"] + 600,
            env=os.environ | ENVIRONMENT,
            preexec_fn=one_core,
        )
    except subprocess.TimeoutExpired as error:
        return {"status": f"not ended after {error.timeout:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return {"status": f"failed: {last[:200]}"}
    return {"status": "ok"} | json.loads(done.stdout.strip().splitlines()[-1])


def run(options, path):
    """All that is asked for and not yet there."""
    there = {
        tuple(row[k] for k in KEY) for row in read(path, KEY) if _counts(row, options)
    }
    for problem in catalogue(options.data, options.n, options.d):
        if not _named(problem.name, options.problems):
            continue
        for seed in options.seeds:
            wanted = [task | {"seed": seed} for task in tasks(problem, options)]
            wanted = [t for t in wanted if tuple(t[k] for k in KEY) not in there]
            if wanted:
                with tempfile.TemporaryDirectory() as folder:
                    append(wanted, written(problem, seed, folder), path)


def _counts(row, options):
    return row["status"] == "ok" or not options.retry


def append(wanted, shared, path):
    """Run tasks on the same arrays, and write each result as it comes."""
    for task in wanted:
        row = task | shared
        row |= result(row)
        del row["arrays"]
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        errors = " ".join(f"{row.get(k) or np.nan:.3g}" for k in ("forward", "inverse"))
        names = " | ".join(str(row[k]) for k in KEY)
        print(f"{names} | {errors} | {row['status']}", flush=True)


def parse(argv):
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = partial(parser.add_argument, nargs="+")
    parser.add_argument("--data", type=Path, help="folder of the w2_d*.npz arrays")
    add("--problems", help="parts of problem names")
    add("--peers", help="parts of peer names")
    add("--settings", help="parts of setting names")
    add("--seeds", type=int, default=[0, 1, 2])
    add("--budget", type=float, default=[60.0], help="seconds of a fit, one or several")
    add("--n", type=int, default=[4096], help="rows of each sample")
    add("--d", type=int, help="dimensions, in place of each family's own")
    parser.add_argument("--out", type=Path, default=HERE.parent / "out")
    parser.add_argument("--retry", action="store_true", help="run failed fits again")
    parser.add_argument("--report", action="store_true", help="run nothing")
    return parser.parse_args(argv)


def main(argv=None):
    """Run, then write the table and the plot."""
    options = parse(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "peers.jsonl"
    for name, entry in PEERS.items():
        if entry.missing():
            print(f"{name}: skipped, not installed: {', '.join(entry.missing())}")
    if not options.report:
        run(options, path)
    rows = [row for row in read(path, KEY) if _named(row["problem"], options.problems)]
    write_table(rows, options.out / "peers.md")
    write_plot(rows, options.out / "peers.png")


if __name__ == "__main__":
    main()
