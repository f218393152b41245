"""The states of discrete and separable potentials, and back."""

from typing import Any

import numpy as np
import torch

from sk_ncf._flow.discrete_potential import BUFFERS, DiscretePotential
from sk_ncf._flow.potential import BasePotential
from sk_ncf._flow.separable_potential import MAX_KNOTS, SeparablePotential
from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.value_checks import checked_array
from sk_ncf.costs import Cost

__all__ = [
    "discrete_state",
    "restored_discrete",
    "restored_separable",
    "separable_state",
]

N_KNOTS = [2**k for k in range(1, MAX_KNOTS.bit_length())]


def discrete_state(potential: DiscretePotential) -> dict[str, np.ndarray]:
    """Rows, weights and dual values."""
    return {name: getattr(potential, name).numpy() for name in BUFFERS}


def restored_discrete(
    state: dict[str, Any],
    network: BasePotential | None,
    cost: Cost,
    n_maps: int,
    d: int,
) -> DiscretePotential:
    """The discrete potential of n maps between rows of d features.

    Raises
    ------
    ModelFileError, KeyError
        If it is not the state of one.
    """
    n, m = (np.shape(state[name])[1] for name in ("x", "y"))
    shapes = {"x": (n_maps, n, d), "log_a": (n_maps, n), "f": (n_maps, n)}
    shapes |= {"y": (n_maps, m, d), "log_b": (n_maps, m), "g": (n_maps, m)}
    shapes["epsilon"] = (n_maps,)
    values = {
        name: torch.from_numpy(checked_array(name, state[name], shapes[name]))
        for name in BUFFERS
    }
    if not (values["epsilon"] > 0).all():
        raise ModelFileError("epsilon of its discrete potential is not > 0")
    return DiscretePotential(**values, cost=cost, network=network)


def separable_state(potential: SeparablePotential) -> dict[str, np.ndarray]:
    """The knots at both ends."""
    return {name: getattr(potential, name).numpy() for name in ("x", "y")}


def restored_separable(
    state: dict[str, Any], n_potentials: int, d: int
) -> SeparablePotential:
    """The separable potentials of d features.

    Raises
    ------
    ModelFileError, KeyError
        If it is not the state of some.
    """
    n_knots = np.shape(state["x"])[-1]
    if n_knots not in N_KNOTS:
        raise ModelFileError(f"its separable potential has {n_knots} knots")
    sides = []
    for name in ("x", "y"):
        shape = (n_potentials, d, n_knots)
        knots = checked_array(f"the knots {name}", state[name], shape)
        if not (np.diff(knots) > 0).all():
            raise ModelFileError(f"the knots {name} are not increasing")
        sides.append(torch.from_numpy(knots))
    return SeparablePotential(*sides)
