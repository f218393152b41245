"""The held-out semi-dual risk: a score for transport maps that needs no true map."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow

__all__ = ["VALUES", "Risk", "held_out_risk", "matching_risk", "of_first_process"]

VALUES = ("source", "target", "gap", "energy_x", "energy_y")  # of a Risk, row by row
AT_MOST_COMPARED = 2**20  # pairs of rows in the energy distance, of all potentials
WIDE = (
    5.0  # robust standard deviations from the median, beyond which no row counts more
)


@dataclass
class Risk:
    """Held-out semi-dual risk, row by row, so that two of them can be compared.

    With a second opinion beside it, the energy distance of mapped rows to those of the
    other side, both ways: of a row it depends no more than on how far it is moved.

    Attributes
    ----------
    source : Tensor of shape [K, n]
        u(x, 0).
    target : Tensor of shape [K, m]
        The minimum over x of u(x, 0) + c(x, y), as found.
    gap : Tensor of shape [K, m]
        Value at the foot of y minus that minimum.
    weight_x, weight_y : Tensor of shape [K, n] and [K, m]
        Row weights that sum to one.
    ensemble_size : int, default=1
        Potentials of one class, next to each other on the class axis: they are judged
        together.
    energy_x, energy_y : Tensor of shape [K, n'] and [K, m'], default=None
        What rows of either side contribute to the energy distance: its value is the sum
        of their means.
    weight_ex, weight_ey : Tensor of shape [K, n'] and [K, m'], default=None
        Weights of these rows, that sum to one.
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

    def values(self):
        """What changes with the map, by name."""
        found = {name: getattr(self, name) for name in VALUES}
        return {name: value for name, value in found.items() if value is not None}

    def value(self):
        """J = E u(x, 0) - E min_x [u(x, 0) + c(x, y)] of every class."""
        return self._of_classes(
            _mean(self.source, self.weight_x) - _mean(self.target, self.weight_y)
        )

    def criterion(self):
        """What selection minimises: J plus the mean gap of the amortised minimiser."""
        return self.value() + self._of_classes(_mean(self.gap, self.weight_y))

    def gain(self, other):
        r"""How much lower the criterion of another map is, and its standard error.

        Both maps are evaluated on the same rows, so their differences are compared:
        :math:`u(x, 0) - u_1(x, 0)` and, with the opposite sign, the differences of the
        minima. If y is near T(x), both have almost the same distribution. They are
        winsorised at `WIDE` robust standard deviations from its median (Huber, Robust
        statistics, 1981), so that no single row decides.
        """
        x = self.source - other.source
        y = self.target - other.target - self.gap + other.gap
        drawn_in = _winsorised(x, y, self.weight_x, self.weight_y)
        return self._difference(drawn_in, (self.weight_x, self.weight_y))

    def energy_gain(self, other):
        """How much lower the energy distance of another map is, and its standard error."""
        if self.energy_x is None:
            zero = torch.zeros_like(self.value())
            return zero, zero
        x, y = self.energy_x - other.energy_x, other.energy_y - self.energy_y
        return self._difference((x, y), (self.weight_ex, self.weight_ey))

    def _difference(self, values, weights):
        """Mean of the first minus mean of the second, and its standard error."""
        means = [_mean(*pair) for pair in zip(values, weights, strict=True)]
        variance = sum(map(_variance_of_mean, values, weights))
        error = (self._of_classes(variance) / self.ensemble_size).sqrt()
        return self._of_classes(means[0] - means[1]), error

    def where(self, classes, other):
        """This risk for the classes of the mask, another one for the rest."""
        mask = classes.repeat_interleave(self.ensemble_size).unsqueeze(-1)
        mine, theirs = self.values(), other.values()
        both = {name: torch.where(mask, mine[name], theirs[name]) for name in mine}
        return replace(self, **both)

    def _of_classes(self, values):
        return values.unflatten(0, (-1, self.ensemble_size)).mean(1)


def _mean(values, weight):
    return (weight * values).sum(-1)


def _variance_of_mean(values, weight):
    deviation = values - _mean(values, weight).unsqueeze(-1)
    return (weight * deviation).square().sum(-1)


def _winsorised(x, y, weight_x, weight_y):
    """Values of both sides, drawn in to `WIDE` deviations of their common median."""
    both = torch.cat([x, y], -1)
    weight = torch.cat([weight_x, weight_y], -1)
    (centre,) = _quantiles(both, weight, 0.5)
    half, most = _quantiles((both - centre).abs(), weight, 0.5, 0.9)
    # Of a value that most rows share there is no median deviation.
    limit = WIDE * torch.where(half > 0, half / 0.6745, most / 1.6449)
    drawn_in = torch.maximum(torch.minimum(both, centre + limit), centre - limit)
    drawn_in = torch.where(both.isfinite(), drawn_in, torch.nan)
    return drawn_in.split([x.shape[-1], y.shape[-1]], -1)


def _quantiles(values, weight, *levels):
    """Weighted quantiles of every row of [K, n], each of shape [K, 1]."""
    values, order = values.sort(-1)
    cumulative = weight.gather(-1, order).cumsum(-1)
    last = values.shape[-1] - 1
    for level in levels:
        place = torch.searchsorted(cumulative, level * cumulative[:, -1:].contiguous())
        yield values.gather(-1, place.clamp_max(last))


def of_first_process(measure):
    """A measure whose value is that of the first process, in all that train together.

    Whether to go on follows from it: rounding must not tell the processes apart, as
    they wait for each other.
    """

    def measured():
        risk = measure()
        values = {name: value.contiguous() for name, value in risk.values().items()}
        for value in values.values():
            torch.distributed.broadcast(value, 0)
        return replace(risk, **values)

    return measured


@torch.no_grad()
def held_out_risk(flow, x, y, weight_x, weight_y, ensemble_size=1, n_iter=12):
    r"""Semi-dual risk of the potential on rows it was not trained on.

    .. math:: J(u) = E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]

    A proper scoring rule for transport maps, lower is better (Hutter and Rigollet,
    2021; Vacher and Vialard, 2022). The minimum is searched in `n_iter` steps
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
    n_iter : int, default=12

    Returns
    -------
    Risk
    """
    amortised, target = flow.hopf_lax_minimum(y, n_iter)
    source = flow.potential(x, x.new_zeros(x.shape[:-1]))
    gap = amortised - target
    energy = _second_opinion(flow, x, y, weight_x, weight_y)
    return Risk(source, target, gap, weight_x, weight_y, ensemble_size, *energy)


def _second_opinion(flow, x, y, weight_x, weight_y):
    r"""What rows contribute to the energy distance of mapped rows, both ways.

    Of :math:`2 E|T(x) - y| - E|T(x) - T(x')|`, whose last term
    :math:`-E|y - y'|` no map changes, row x contributes its value plus
    :math:`2 E|T(x) - y| - 2 E|T(x) - T(x')|` less the mean of that: the first order of
    Hoeffding's decomposition, from which its standard error is found.
    """
    (x, weight_x), (y, weight_y) = _some(x, weight_x), _some(y, weight_y)
    head, foot = flow.head(x), flow.inverse(y, 3)
    of_x, from_y = _contributions(head, y, weight_x, weight_y)
    of_y, from_x = _contributions(foot, x, weight_y, weight_x)
    return of_x + from_x, of_y + from_y, weight_x, weight_y


def _some(rows, weight):
    """Some rows, evenly spread, and their weights."""
    at_most = max(64, math.isqrt(AT_MOST_COMPARED // len(rows)))
    step = -(-rows.shape[-2] // at_most)
    rows, weight = rows[..., ::step, :], weight[..., ::step]
    return rows, weight / weight.sum(-1, keepdim=True)


def _contributions(mapped, wanted, weight, weight_wanted):
    """Of the mapped rows, and of the wanted ones, whose mean is zero."""
    between = torch.cdist(mapped, wanted)
    within = torch.cdist(mapped, mapped) @ weight.unsqueeze(-1)
    within = within / (1 - weight).clamp_min(0.5).unsqueeze(-1)  # no pair with itself
    to_wanted = between @ weight_wanted.unsqueeze(-1)
    to_mapped = 2 * (weight.unsqueeze(-2) @ between).squeeze(-2)
    within, to_wanted = within.squeeze(-1), to_wanted.squeeze(-1)
    own = 2 * (to_wanted - within) + _mean(within, weight)[:, None]
    return own, to_mapped - _mean(to_mapped, weight_wanted)[:, None]


@torch.no_grad()
def matching_risk(flow: CharacteristicFlow, x, y, weight_x, weight_y, hj_share):
    r"""What a map that is shared by classes is selected by.

    The held-out squared energy distance of the mapped rows of every class to the other
    side's rows of that class, averaged over classes, both ways, plus `hj_share` times
    the squared Hamilton-Jacobi residual. But for terms that no map changes:

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

    Returns
    -------
    Risk
        Of one class, its rows those of all classes.
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


def _distances(mapped, wanted, weight, weight_wanted):
    """Rows' shares in the energy distance, shape [K, n]."""
    between = torch.cdist(mapped, wanted) * weight_wanted.unsqueeze(-2)
    within = torch.cdist(mapped, mapped) * weight.unsqueeze(-2)
    return 2 * between.sum(-1) - within.sum(-1)
