"""Problems that the benchmarks share: rows of two laws, fresh rows, and the errors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from sk_ncf import datasets
from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._flow.moments import weighted_moments
from sk_ncf.metrics import l2_uvp
from sk_ncf.objectives import energy_distance

N_TEST = 4096

TOYS = {
    "swiss roll -> moons": (datasets.make_swiss_roll_2d, datasets.make_moons_2d),
    "checkerboard -> eight": (
        datasets.make_checkerboard,
        datasets.make_eight_gaussians,
    ),
    "eight -> moons": (datasets.make_eight_gaussians, datasets.make_moons_2d),
}


class Case(NamedTuple):
    """Training rows, and fresh rows of both samples with their exact images."""

    X: np.ndarray
    X_target: np.ndarray
    forward: tuple[np.ndarray, np.ndarray]
    inverse: tuple[np.ndarray, np.ndarray]
    variances: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Problem:
    """A problem by name, and the errors (forward, inverse) to stay below."""

    name: str
    make: Callable  # of a seed
    below: tuple[float, float] | None = None
    cost: str = "sqeuclidean"
    cost_params: dict | None = None
    measure: str = "uvp"
    closed_form: bool = False


def w2_problem(data, d, n, below=None):
    """First rows of the Wasserstein-2 benchmark arrays in the folder `data`."""
    return Problem(f"w2 d={d} n={n}", partial(w2, data / f"w2_d{d}.npz", n), below)


def gaussian_problem(d, n, below=None):
    """Two random Gaussians, for which the sample's Gaussian map is the reference."""
    make = partial(exact, datasets.make_gaussians, n, d)
    return Problem(f"gaussians d={d} n={n}", make, below, closed_form=True)


def convex_problem(label, cost, params, d, n, below=None):
    """A map that is exactly optimal for the cost."""
    make = partial(exact, datasets.make_convex_map, n, d, cost=cost, cost_params=params)
    return Problem(f"{label} d={d} n={n}", make, below, cost, params)


def toy_problem(name, n=8192):
    """Maps that tear or fold the plane; the exact ones are not known."""
    return Problem(f"toy {name}", partial(toy, *TOYS[name], n), measure="energy")


def w2(path, n, seed):
    """Rows of the Wasserstein-2 benchmark; they do not depend on the seed."""
    a = np.load(path)
    return Case(
        a["X"][:n],
        a["Y"][:n],
        (a["X_test"], a["T_test"]),
        (a["Y_inv_test"], a["X_inv_test"]),
        (float(a["var_tgt"]), float(a["var_src"])),
    )


def exact(make, n, d, seed, **params):
    """Rows of a generated problem."""
    problem = make(n_samples=n, n_features=d, random_state=seed, **params)
    X, X_mapped = problem.sample_pairs(N_TEST, random_state=1000 + seed)
    X_origin, Y = problem.sample_pairs(N_TEST, random_state=2000 + seed)
    return Case(problem.X, problem.X_target, (X, X_mapped), (Y, X_origin))


def toy(source, target, n, seed):
    """Two-dimensional samples: fresh rows stand where exact images would."""
    rng = np.random.default_rng(seed)
    sides = (draw(n + 2 * N_TEST, random_state=rng) for draw in (source, target))
    X, Y = (np.split(rows, [n, n + N_TEST]) for rows in sides)
    return Case(X[0], Y[0], (X[1], Y[2]), (Y[1], X[2]))


def distance(X, Y):
    """Squared energy distance of two samples, times 100."""
    x, y = (torch.from_numpy(np.asarray(Z, dtype=np.float64))[None] for Z in (X, Y))
    return 100 * energy_distance(x, y).item()


def errors(problem, case, mapped):
    """Errors (forward, inverse) of fresh rows as a map and its inverse carry them."""
    wanted = (case.forward[1], case.inverse[1])
    if problem.measure == "energy":
        return tuple(map(distance, mapped, wanted))
    return tuple(map(l2_uvp, mapped, wanted, case.variances))


def reference(problem, case):
    """Errors to compare with, where a problem has such."""
    if problem.closed_form:
        forward, inverse = closed_form_maps(case.X, case.X_target)
        mapped = forward(case.forward[0]), inverse(case.inverse[0])
        return errors(problem, case, mapped)
    if problem.measure == "energy":
        # Fresh rows of either law against other fresh rows of the same law.
        return errors(problem, case, (case.inverse[0], case.forward[0]))
    return None


def closed_form_maps(X, Y):
    """The Gaussian map between the sample moments, and its inverse."""
    (mean_x, cov_x), (mean_y, cov_y) = (
        weighted_moments(Z, np.ones(len(Z))) for Z in (X, Y)
    )
    A = gaussian_map(cov_x, cov_y)
    A_inverse = np.linalg.inv(A)
    return (
        lambda x: mean_y + (x - mean_x) @ A,
        lambda y: mean_x + (y - mean_y) @ A_inverse,
    )
