"""Tasks in one process or several, with a log that a later call goes on from."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

from results import read


def outcomes(function, tasks, jobs):
    """Results of the tasks as they come, in this process or in several."""
    if jobs == 1:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context) as workers:
        for future in as_completed([workers.submit(function, task) for task in tasks]):
            yield future.result()


def resumed(function, tasks, key, log, jobs, progress, report=False):
    """Results of all tasks: those of the log, and the rest, which are added to it.

    With `report` only those of the log.
    """
    done = {} if log is None else {tuple(r[k] for k in key): r for r in read(log, key)}
    wanted = {task.key: None for task in tasks}
    todo = [] if report else [task for task in tasks if task.key not in done]
    for row in outcomes(function, todo, jobs):
        done[tuple(row[k] for k in key)] = row
        if log is not None:
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
        progress(row)
    return [done[key] for key in wanted if key in done]
