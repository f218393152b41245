"""The held-out semi-dual risk: a score for transport maps without the true map."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sk_ncf._flow.characteristics import INVERSE_STEPS, CharacteristicFlow
from sk_ncf._samples.paired_comparison import (
    energy_contributions,
    mean_difference,
    weighted_mean,
    winsorised,
)

__all__ = ["VALUES", "Risk", "held_out_risk", "matching_risk", "of_first_process"]

VALUES = ("source", "target", "gap", "energy_x", "energy_y")  # of a Risk, row by row
MAX_PAIRS = 2**20  # pairs of rows in the energy distance, of all potentials together


@dataclass
class Risk:
    """Held-out semi-dual risk, row by row, so that two maps can be compared.

    It also holds the energy distances between mapped rows and the rows they should match,
    in both directions. They are a second criterion, on which the influence of a row is
    bounded by the distance it is moved.

    Attributes
    ----------
    source : Tensor of shape [K, n]
        u(x, 0).
    target : Tensor of shape [K, m]
        The minimum of u(x, 0) + c(x, y) over x, found by descent.
    gap : Tensor of shape [K, m]
        The value of u(x, 0) + c(x, y) at the foot x of y, minus that minimum.
    weight_x, weight_y : Tensor of shape [K, n] and [K, m]
        Row weights that sum to one.
    ensemble_size : int, default=1
        Potentials of one class, next to each other on the class axis. They are evaluated
        together.
    energy_x, energy_y : Tensor of shape [K, n'] and [K, m'], default=None
        Contributions of source rows and of target rows to the energy distances, whose sum
        is the sum of their means.
    weight_ex, weight_ey : Tensor of shape [K, n'] and [K, m'], default=None
        Weights of these rows, which sum to one.
    """

    source: Tensor
    target: Tensor
    gap: Tensor
    weight_x: Tensor
    weight_y: Tensor
    ensemble_size: int = 1
    energy_x: Tensor | None = None
    energy_y: Tensor | None = None
    weight_ex: Tensor | None = None
    weight_ey: Tensor | None = None

    def values(self) -> dict[str, Tensor]:
        """The values that depend on the map, by name."""
        found: dict[str, Tensor | None] = {n: getattr(self, n) for n in VALUES}
        return {name: value for name, value in found.items() if value is not None}

    def value(self) -> Tensor:
        """J = E u(x, 0) - E min_x [u(x, 0) + c(x, y)] of every class."""
        return self._of_classes(
            weighted_mean(self.source, self.weight_x)
            - weighted_mean(self.target, self.weight_y)
        )

    def criterion(self) -> Tensor:
        """The selection criterion: J plus the mean gap at the feet."""
        return self.value() + self._of_classes(weighted_mean(self.gap, self.weight_y))

    def gain(self, other: "Risk") -> tuple[Tensor, Tensor]:
        r"""How much lower the criterion of another map is, and its standard error.

        Both maps are evaluated on the same rows, so their differences are compared:
        :math:`u(x, 0) - u_1(x, 0)` and, with the opposite sign, the differences of the
        minima. If y is near T(x), both have almost the same distribution. They are
        winsorised around its median, so that no single row decides.
        """
        x = self.source - other.source
        y = self.target - other.target - self.gap + other.gap
        clipped = winsorised(x, y, self.weight_x, self.weight_y)
        return self._difference(clipped, (self.weight_x, self.weight_y))

    def energy_gain(self, other: "Risk") -> tuple[Tensor, Tensor]:
        """How much lower the energy distance of another map is, and its standard error."""
        mine = self.energy_x, self.energy_y, self.weight_ex, self.weight_ey
        if any(part is None for part in (*mine, other.energy_x, other.energy_y)):
            zero = torch.zeros_like(self.value())
            return zero, zero
        x, y, weight_x, weight_y = (part for part in mine if part is not None)
        x, y = x - other.values()["energy_x"], other.values()["energy_y"] - y
        return self._difference((x, y), (weight_x, weight_y))

    def _difference(
        self, values: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mean of the first minus mean of the second, and its standard error."""
        difference, variance = mean_difference(*values, *weights)
        error = (self._of_classes(variance) / self.ensemble_size).sqrt()
        return self._of_classes(difference), error

    def where(self, classes: Tensor, other: "Risk") -> "Risk":
        """This risk for the classes of the mask, the other one for all others."""
        mask = classes.repeat_interleave(self.ensemble_size).unsqueeze(-1)
        mine, theirs = self.values(), other.values()
        merged: dict[str, Any] = {
            name: torch.where(mask, mine[name], theirs[name]) for name in mine
        }
        return replace(self, **merged)

    def _of_classes(self, values: Tensor) -> Tensor:
        """The mean over the members of every class."""
        return values.unflatten(0, (-1, self.ensemble_size)).mean(1)


def of_first_process(evaluate: Callable[[], Risk]) -> Callable[[], Risk]:
    """A function that returns the risk of the first process, in all processes.

    All processes must stop at the same step, because they wait for each other. Their own
    risks may differ by rounding.
    """

    def broadcast() -> Risk:
        risk = evaluate()
        values: dict[str, Any] = {n: v.contiguous() for n, v in risk.values().items()}
        for value in values.values():
            torch.distributed.broadcast(value, 0)
        return replace(risk, **values)

    return broadcast


@torch.no_grad()
def held_out_risk(
    flow: CharacteristicFlow,
    x: Tensor,
    y: Tensor,
    weight_x: Tensor,
    weight_y: Tensor,
    ensemble_size: int = 1,
) -> Risk:
    r"""Semi-dual risk of the potential on rows it was not trained on.

    .. math:: J(u) = E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]

    A proper scoring rule for transport maps, lower is better (Hutter and Rigollet,
    2021; Vacher and Vialard, 2022). The minimum is found by some steps of descent
    (:meth:`~sk_ncf._flow.characteristics.CharacteristicFlow.hopf_lax_minimum`).

    Parameters
    ----------
    flow : CharacteristicFlow
    x : Tensor of shape [K, n, d]
    y : Tensor of shape [K, m, d]
    weight_x, weight_y : Tensor of shape [K, n] and [K, m]
        Row weights that sum to one.
    ensemble_size : int, default=1
        Potentials of one class.

    Returns
    -------
    Risk
    """
    amortised, target = flow.hopf_lax_minimum(y)
    source = flow.potential(x, x.new_zeros(x.shape[:-1]))
    gap = amortised - target
    energy = _energy_contributions(flow, x, y, weight_x, weight_y)
    return Risk(source, target, gap, weight_x, weight_y, ensemble_size, *energy)


def _energy_contributions(
    flow: CharacteristicFlow, x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contributions of some rows to the energy distances, and the weights of these."""
    (x, weight_x), (y, weight_y) = _subsample(x, weight_x), _subsample(y, weight_y)
    images = flow.head(x), flow.inverse(y, INVERSE_STEPS)
    weights = weight_x, weight_y
    return *energy_contributions(images, (x, y), weights), *weights


def _subsample(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Every k-th row, so that there are at most about `MAX_PAIRS` pairs; the weights."""
    at_most = max(64, math.isqrt(MAX_PAIRS // len(rows)))
    step = -(-rows.shape[-2] // at_most)
    rows, weight = rows[..., ::step, :], weight[..., ::step]
    return rows, weight / weight.sum(-1, keepdim=True)


@torch.no_grad()
def matching_risk(
    flow: CharacteristicFlow,
    x: Tensor,
    y: Tensor,
    weight_x: Tensor,
    weight_y: Tensor,
    hj_share: float,
) -> Risk:
    r"""The selection criterion of a map that is shared by classes.

    It is the held-out squared energy distance between the mapped rows of a class and the
    rows of that class which they should match, in both directions and averaged over
    classes, plus `hj_share` times the squared Hamilton-Jacobi residual. Up to terms that
    do not depend on the map:

    .. math:: 2 E|T(x) - y| - E|T(x) - T(x')| + 2 E|T^{-1}(y) - x|
              - E|T^{-1}(y) - T^{-1}(y')|

    Parameters
    ----------
    flow : CharacteristicFlow
        Of one potential.
    x, y : Tensor of shape [K, n, d] and [K, m, d]
        Rows of every class.
    weight_x, weight_y : Tensor of shape [K, n] and [K, m]
        Row weights that sum to one in every class.
    hj_share : float
        Weight of the residual.

    Returns
    -------
    Risk
        With a single class, which has the rows of all classes.
    """
    pooled_x, pooled_y = (z.flatten(0, 1)[None] for z in (x, y))
    heads, feet = flow.characteristics(pooled_x, pooled_y)
    forward = _distances(heads.end[0].view_as(x), y, weight_x, weight_y)
    backward = _distances(feet.end[0].view_as(y), x, weight_y, weight_x)
    residual = (feet.u - feet.action - feet.u_end).square()
    share = len(x)
    return Risk(
        forward.flatten()[None],
        -backward.flatten()[None],
        hj_share * residual,
        weight_x.flatten()[None] / share,
        weight_y.flatten()[None] / share,
    )


def _distances(
    mapped: Tensor, reference: Tensor, weight: Tensor, weight_reference: Tensor
) -> Tensor:
    """Contributions of the mapped rows to the energy distance, shape [K, n]."""
    between = torch.cdist(mapped, reference) * weight_reference.unsqueeze(-2)
    within = torch.cdist(mapped, mapped) * weight.unsqueeze(-2)
    return 2 * between.sum(-1) - within.sum(-1)
