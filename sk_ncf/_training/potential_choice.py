"""Whether the network or a discrete potential is the map of a fit.

Both are fitted to the training rows of ensemble members and compared on the rows that
these hold out: by the fraction of mapped rows outside the support of the other sample, by
the energy distance of mapped rows, and by the held-out semi-dual risk, always in both
directions and row by row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from sk_ncf._flow.characteristics import INVERSE_STEPS, CharacteristicFlow
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.sample import Sample
from sk_ncf._training.discrete_flow import discrete_flow
from sk_ncf._training.held_out_risk import Risk, held_out_risk
from sk_ncf.costs import SquaredEuclidean

__all__ = ["Comparison", "compare_potentials"]

MAX_ROWS = 2048  # of a sample that a discrete potential keeps for the comparison
MAX_ROWS_SLOW_COST = 1024  # for costs without matrix products, not quadratic ones
MAX_PAIRS = MAX_ROWS**2  # of kept rows, over the members that are compared
LEVEL = 0.99  # quantile of held-out rows' distances to the support; more is outside
N_ERRORS = 3.0  # by which the discrete potential must be better
N_ERRORS_REPEATED = 0.5  # the same, if rows are few and most values repeat
FEW_ROWS = 200  # rows are few if the smaller sample has fewer than this
REPEATED_SHARE = 2 / 3  # most values repeat if more of the weight is in repeated values
N_ERRORS_WORSE = 2.0  # by which it must not be worse otherwise
LEAST_OUTSIDE = 0.02  # decrease of the fraction of rows outside the support that counts
LEAST_DISTANCE = 0.01  # per root of d; no nearer row is outside, if values repeat
NEAR_FLOOR = 2 / 3  # of the noise floor: a lower energy distance cannot decrease surely
LEAST_DECREASE = 0.25  # decrease of the energy distance that counts by itself

Rows = tuple[Tensor, Tensor, Tensor, Tensor]  # x, y, weight_x, weight_y


@dataclass
class Comparison:
    """The network and the discrete potential on held-out rows.

    Attributes
    ----------
    outside_network, outside_discrete : float
        Fraction of mapped rows outside the support of the other sample, the mean of both
        directions; 0.01 for rows of the other sample.
    outside_error : float
        Standard error of their difference.
    energy_network : float
        Squared energy distance of mapped rows, without its noise floor, the sum of both
        directions in the network's variables.
    energy_gain, energy_error : float
        How much lower it is for the discrete potential, and the standard error.
    risk_gain, risk_error : float
        How much lower the semi-dual risk of the discrete potential is, likewise.
    n_errors : float
        Standard errors by which the energy distance must be lower. Few rows with values
        that repeat cannot show many, and a network does not return such values.
    """

    outside_network: float = 0.0
    outside_discrete: float = 0.0
    outside_error: float = 0.0
    energy_network: float = 0.0
    energy_gain: float = 0.0
    energy_error: float = 0.0
    risk_gain: float = 0.0
    risk_error: float = 0.0
    n_errors: float = N_ERRORS

    @property
    def discrete_is_better(self) -> bool:
        """Whether the discrete potential is the map."""
        gain = self.outside_network - self.outside_discrete
        on_support = gain > max(LEAST_OUTSIDE, N_ERRORS * self.outside_error)
        nearer = self.energy_gain > max(
            LEAST_DECREASE * self.energy_network, self.n_errors * self.energy_error
        )
        farther = self.energy_gain < -N_ERRORS_WORSE * self.energy_error
        worse = self.risk_gain < -N_ERRORS_WORSE * self.risk_error
        return nearer or (on_support and not (farther or worse))


def compare_potentials(
    flow: CharacteristicFlow,
    held_out: Rows,
    folds: tuple[Sequence[Sample], Sequence[Sample]],
    preconditioners: Sequence[Preconditioner],
    max_rows: int,
    at_least: float = 0.0,
    n_jobs: int = 1,
) -> Comparison:
    """Compare the trained flow with discrete potentials, as the mean over the classes.

    The discrete potentials are not computed if hardly any row is mapped outside the
    support and the energy distance is within its noise floor.

    Parameters
    ----------
    flow : CharacteristicFlow
        The members of every class, next to each other.
    held_out : tuple of Tensor
        x, y, weight_x and weight_y of the held-out rows of every member.
    folds : pair of sequences of Sample
        Source and target rows that every member was trained on.
    preconditioners : sequence of Preconditioner
        One for every class.
    max_rows : int
        Most rows that a discrete potential keeps.
    at_least : float, default=0.0
        Fraction of mapped rows outside the support, below which the discrete potentials
        are not computed.
    n_jobs : int, default=1
        Processes that compute the discrete potentials.
    """
    n_classes, size = len(preconditioners), len(folds[0]) // len(preconditioners)
    fast = isinstance(flow.cost, SquaredEuclidean)
    max_rows = min(max_rows, MAX_ROWS if fast else MAX_ROWS_SLOW_COST)
    max_pairs = MAX_PAIRS if fast else MAX_ROWS_SLOW_COST**2
    found = []
    for k, frame in enumerate(preconditioners):
        first = k * size
        kept = [min(max_rows, len(fold[first])) for fold in folds]
        stop = first + min(size, max(1, max_pairs // (kept[0] * kept[1])))
        x, y, weight_x, weight_y = (z[first:stop] for z in held_out)
        rows = x, y, weight_x, weight_y
        samples = [
            (
                folds[0][member].representative(max_rows),
                folds[1][member].representative(max_rows),
            )
            for member in range(first, stop)
        ]
        network = _select_members(flow, slice(first, stop), n_classes * size)
        found.append(
            _compare(network, rows, samples, frame, max_rows, at_least, n_jobs)
        )
    return Comparison(*(_mean(name, found) for name in _NAMES))


def _mean(name: str, found: Sequence[Comparison]) -> float:
    """The mean over the classes, or its standard error."""
    values = [getattr(comparison, name) for comparison in found]
    total = math.hypot(*values) if name.endswith("error") else math.fsum(values)
    return total / len(values)


def _select_members(
    flow: CharacteristicFlow, members: slice, n_potentials: int
) -> CharacteristicFlow:
    """The flow of some members of one class."""
    potential = flow.potential
    if n_potentials > 1:  # a module of one's own is alone
        potential = potential.select(members)
    return CharacteristicFlow(potential, flow.cost.select_class(members.start))


@torch.no_grad()
def _compare(
    network: CharacteristicFlow,
    rows: Rows,
    samples: Sequence[tuple[Sample, Sample]],
    frame: Preconditioner,
    max_rows: int,
    at_least: float,
    n_jobs: int,
) -> Comparison:
    """The comparison for one class."""
    x, y, weight_x, weight_y = rows
    weights = weight_x, weight_y
    kept_x = [_tensor(frame.source.forward(source.X), x) for source, _ in samples]
    kept_y = [_tensor(frame.target.forward(target.X), y) for _, target in samples]
    limits = _limit(x, weight_x, kept_x), _limit(y, weight_y, kept_y)

    def outside(flow: CharacteristicFlow) -> tuple[Tensor, Tensor]:
        head = _distance(flow.head(x), kept_y) > limits[1]
        foot = _distance(flow.inverse(y, INVERSE_STEPS), kept_x) > limits[0]
        return head.to(x), foot.to(y)

    of_network = outside(network)
    risk = held_out_risk(network, *rows, len(samples))
    energy, floor = _energy(risk, rows)
    few_values = _are_few_values(samples[0])
    found = Comparison(
        outside_network=_fraction(of_network, weights),
        energy_network=energy,
        n_errors=N_ERRORS_REPEATED if few_values else N_ERRORS,
    )
    few_outside = found.outside_network < 1 - LEVEL + LEAST_OUTSIDE
    found.outside_discrete = found.outside_network
    if found.outside_network < at_least:
        return found
    if few_outside and energy < NEAR_FLOOR * floor and not few_values:
        return found
    device = x.device
    flow = discrete_flow(
        samples, [frame] * len(samples), network.cost, max_rows, device, n_jobs=n_jobs
    ).to(device)
    of_discrete = outside(flow)
    found.outside_discrete = _fraction(of_discrete, weights)
    differences = [a - b for a, b in zip(of_network, of_discrete, strict=True)]
    found.outside_error = _error(differences, weights)
    other = held_out_risk(flow, *rows, len(samples))
    found.energy_gain, found.energy_error = (
        value.item() for value in risk.energy_gain(other)
    )
    found.risk_gain, found.risk_error = (value.item() for value in risk.gain(other))
    return found


def _are_few_values(samples: tuple[Sample, Sample]) -> bool:
    """Whether rows are few, and most columns of both samples repeat most values."""
    if min(sample.n_rows for sample in samples) >= FEW_ROWS:
        return False
    return all(_repeated_value_share(sample) > REPEATED_SHARE for sample in samples)


def _repeated_value_share(sample: Sample) -> float:
    """Share of the weight in values that repeat, of the median column."""
    least = 1.5 * sample.weight.sum() / sample.n_rows
    shares = []
    for column in np.asarray(sample.X[:]).T:
        weight = np.bincount(np.unique(column, return_inverse=True)[1], sample.weight)
        shares.append(weight[weight > least].sum() / sample.weight.sum())
    return float(np.median(shares))


def _tensor(rows: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(like)


def _distance(rows: Tensor, kept: Sequence[Tensor]) -> Tensor:
    """Distances of rows [E, n, d] to the nearest kept row of their member, [E, n]."""
    parts = [
        torch.cat([torch.cdist(p, near).amin(-1) for p in member.split(256)])
        for member, near in zip(rows, kept, strict=True)
    ]
    return torch.stack(parts)


def _limit(rows: Tensor, weight: Tensor, kept: Sequence[Tensor]) -> Tensor:
    """The distance that `LEVEL` of the held-out rows do not exceed."""
    distance = _distance(rows, kept)[weight > 0]
    least = LEAST_DISTANCE * math.sqrt(rows.shape[-1])
    return distance.quantile(LEVEL).clamp_min(least)


def _fraction(masks: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
    """Weighted mean over members and both directions."""
    return (
        sum((w * m).sum(-1).mean().item() for w, m in zip(weights, masks, strict=True))
        / 2
    )


def _error(differences: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
    """Standard error of the weighted mean over members and both directions."""
    variance = 0.0
    for values, weight in zip(differences, weights, strict=True):
        centred = values - (weight * values).sum(-1, keepdim=True)
        # A difference that no row shows still has a standard error.
        spread = centred.square().clamp_min(1 / values.shape[-1])
        variance += (weight.square() * spread).sum(-1).mean().item() / len(values)
    return math.sqrt(variance) / 2


def _energy(risk: Risk, rows: Rows) -> tuple[float, float]:
    """The energy distance of mapped rows, both directions, and its noise floor."""
    x, y, weight_x, weight_y = rows
    mapped = weight_x.new_zeros(len(x))
    for value, weight in (
        (risk.energy_x, risk.weight_ex),
        (risk.energy_y, risk.weight_ey),
    ):
        assert value is not None
        assert weight is not None
        mapped = mapped + (weight * value).sum(-1)
    within = [_within(x, weight_x), _within(y, weight_y)]
    sizes = weight_x.square().sum(-1) + weight_y.square().sum(-1)
    energy = mapped - within[0] - within[1]
    floor = (within[0] + within[1]) * sizes
    return energy.mean().item(), floor.mean().item()


def _within(rows: Tensor, weight: Tensor) -> Tensor:
    """Mean distance of two rows of each member, [E]."""
    mean = torch.einsum("ei,eij,ej->e", weight, torch.cdist(rows, rows), weight)
    return mean / (1 - weight.square().sum(-1)).clamp_min(0.5)


_NAMES = [field.name for field in fields(Comparison)]
