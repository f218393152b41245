"""One fit of one peer, in this process alone; prints its result as a line of JSON.

Called by run.py, which limits the threads and gives the task as JSON.
"""

import json
import sys
import time

import numpy as np
import torch
from catalogue import excess_cost
from problems import Case, Problem, errors
from registry import PEERS
from threadpoolctl import threadpool_limits
from throughput import peak_memory

N_MAPPED = 10_000
ENOUGH = 1.0  # seconds of repeated mapping


def loaded(path):
    """The case that run.py wrote."""
    a = np.load(path)
    variances = tuple(v if np.isfinite(v) else None for v in a["variances"].tolist())
    pairs = [(a[f"{name}_from"], a[f"{name}_to"]) for name in ("forward", "inverse")]
    return Case(a["X"], a["X_target"], *pairs, variances)


def mapped_and_seconds(function, X):
    """Images of X, and the best time of mapping 10,000 rows."""
    if function is None:
        return np.full(X.shape, np.nan), None
    rows = X[np.arange(max(N_MAPPED, len(X))) % len(X)]
    times = []
    # What is compiled or loaded in the first call is not the time of a row.
    while not times or (sum(times) < ENOUGH and len(times) < 5):
        start = time.perf_counter()
        images = function(rows)
        times.append((time.perf_counter() - start) * N_MAPPED / len(rows))
    return np.asarray(images)[: len(X)], min(times)


def measured(task, case, peer, seconds, imports):
    """What is written of a fit."""
    (x, _), (y, _) = case.forward, case.inverse
    forward, forward_seconds = mapped_and_seconds(peer.forward, x)
    inverse, inverse_seconds = mapped_and_seconds(peer.inverse, y)
    memory = peak_memory() - imports
    problem = Problem(task["problem"], None, measure=task["measure"])
    found = errors(problem, case, (forward, inverse))
    row = {
        "forward": found[0],
        "inverse": found[1] if peer.inverse else None,
        "has_inverse": peer.inverse is not None,
        "seconds": peer.seconds or seconds,
        "rows": peer.rows or len(case.X),
        "forward_seconds": forward_seconds,
        "inverse_seconds": inverse_seconds,
        "memory_mb": memory,
    }
    if "plan_cost" in task:
        row["forward_excess"] = excess_cost(x, forward, task["plan_cost"])
        row["inverse_excess"] = excess_cost(y, inverse, task["plan_cost"])
    return row


def main():
    """Fit, measure, print."""
    task = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    cost, cost_params = task["cost"], task["cost_params"]
    arguments = task["setting"], cost, cost_params, task["seed"]
    with threadpool_limits(1):
        peer = PEERS[task["peer"]].make(*arguments)
        imports = peak_memory()
        case = loaded(task["arrays"])
        start = time.perf_counter()
        peer.fit(case.X, case.X_target, task["budget"])
        seconds = time.perf_counter() - start
        print(json.dumps(measured(task, case, peer, seconds, imports)))


if __name__ == "__main__":
    main()
