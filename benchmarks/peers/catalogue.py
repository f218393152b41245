"""The problems of the arena, by dimension and number of rows."""

from dataclasses import replace

import numpy as np
from problems import convex_problem, gaussian_problem, toy_problem, w2_problem
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

COSTS = (
    ("l_1.2", "lp", {"p": 1.2}),
    ("l_1.5", "lp", {"p": 1.5}),
    ("l_3", "lp", {"p": 3.0}),
    ("elastic", "elastic", {"gamma": 1.0}),
    ("norm_power 1.5", "norm_power", {"p": 1.5}),
)
TOYS = ("swiss roll -> moons", "checkerboard -> eight")  # both ways, by the inverse
N_PLAN = 2048  # fresh rows of each sample whose exact plan toys are compared with


def catalogue(data, rows, dimensions=None):
    """All problems; each family has its own dimensions where none are given."""
    found = []
    for n in rows:
        found += _arrays(data, n, dimensions or (2, 8, 32)) if data else []
        found += [gaussian_problem(d, n) for d in dimensions or (2, 8, 32, 64)]
        found += [
            convex_problem(*cost, d, n) for cost in COSTS for d in dimensions or (4,)
        ]
        found += [_sized_toy(name, n) for name in TOYS]
    return found


def _arrays(data, n, dimensions):
    """Where the folder holds the dimension and enough rows."""
    for d in dimensions:
        path = data / f"w2_d{d}.npz"
        if path.exists() and len(np.load(path, mmap_mode="r")["X"]) >= n:
            yield w2_problem(data, d, n)


def _sized_toy(name, n):
    problem = toy_problem(name, n)
    return replace(problem, name=f"{problem.name} n={n}")


def plan_cost(X, Y):
    """Mean |x - y|^2 / 2 under the exact plan between the first rows of two samples."""
    cost = cdist(X[:N_PLAN], Y[:N_PLAN], "sqeuclidean") / 2
    return float(cost[linear_sum_assignment(cost)].mean())


def excess_cost(X, mapped, exact):
    """Transport cost of a map over that of the exact plan, in percent of the latter."""
    cost = np.square(mapped - X).sum(1)[:N_PLAN].mean() / 2
    return float(100 * (cost / exact - 1))
