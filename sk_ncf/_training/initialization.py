"""The flow that a training starts from, and the flow of an ensemble."""

from collections.abc import Sequence

import numpy as np
from skorch import NeuralNet

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.discrete_potential import DiscretePotential
from sk_ncf._flow.potential import BasePotential, MeanPotential
from sk_ncf._flow.preconditioner import Preconditioner, common_cost
from sk_ncf._flow.separable_potential import PotentialSum
from sk_ncf._training.defaults import check_layer_sizes
from sk_ncf._training.net import build_potential

__all__ = [
    "copy_weights",
    "ensemble_mean",
    "initial_flow",
    "one_of_each",
    "with_separable",
]


def initial_flow(
    template: NeuralNet | None,
    hidden_layer_sizes: Sequence[int],
    preconditioners: Sequence[Preconditioner],
    ensemble_size: int,
    rng: np.random.RandomState,
) -> CharacteristicFlow:
    """The flow of new potentials, `ensemble_size` of every map, in float32.

    Parameters
    ----------
    template : NeuralNet or None
        The user's net, whose module is used if it has one.
    hidden_layer_sizes : sequence of int
    preconditioners : sequence of Preconditioner
        One for every map.
    ensemble_size : int
    rng : RandomState
        Source of the seed of the weights.
    """
    sizes = check_layer_sizes(hidden_layer_sizes)
    n_features = len(preconditioners[0].source.mean)
    seed = rng.randint(2**31)
    n_potentials = len(preconditioners) * ensemble_size
    potential = build_potential(template, n_features, sizes, seed, n_potentials)
    cost = common_cost(preconditioners, ensemble_size)
    return CharacteristicFlow(potential, cost).float()


def ensemble_mean(
    flow: CharacteristicFlow,
    preconditioners: Sequence[Preconditioner],
    ensemble_size: int,
) -> CharacteristicFlow:
    """The flow of the mean potential of every ensemble; changes `flow`."""
    if ensemble_size > 1:
        flow.potential = MeanPotential(flow.potential, ensemble_size)
        flow.cost = common_cost(preconditioners)
    return flow


def copy_weights(potential: BasePotential, other: BasePotential) -> None:
    """Copy the network's weights of another potential, if they have the same shapes.

    A network that replaced an ensemble is copied to all members.
    """
    potential, other = (
        p.network if isinstance(p, PotentialSum) else p
        for p in (_members(potential), _members(other))
    )
    old, new = potential.state_dict(), other.state_dict()
    if old.keys() != new.keys():
        return
    size = potential.n_potentials // other.n_potentials
    if size > 1:
        new = {name: value.repeat_interleave(size, 0) for name, value in new.items()}
    if all(old[name].shape == new[name].shape for name in old):
        potential.load_state_dict(new)


def with_separable(network: BasePotential, other: BasePotential) -> BasePotential:
    """The network plus the separable part of another potential, if it has one."""
    other = _members(other)
    if isinstance(other, PotentialSum):
        size = network.n_potentials // other.n_potentials
        return PotentialSum(network, other.separable.repeated(size))
    return network


def one_of_each(potential: BasePotential) -> BasePotential:
    """The first member of every ensemble."""
    if isinstance(potential, MeanPotential):
        return potential.members.select(slice(None, None, potential.ensemble_size))
    return potential


def _members(potential: BasePotential) -> BasePotential:
    """The trained potentials of all ensemble members."""
    if isinstance(potential, DiscretePotential) and potential.network is not None:
        potential = potential.network
    return potential.members if isinstance(potential, MeanPotential) else potential
