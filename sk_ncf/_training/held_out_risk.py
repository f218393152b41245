"""The held-out semi-dual risk: a score for transport maps that needs no true map."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow

__all__ = ["VALUES", "Risk", "held_out_risk", "matching_risk", "of_first_process"]

VALUES = ("source", "target", "gap")  # of a Risk, row by row


@dataclass
class Risk:
    """Held-out semi-dual risk, row by row, so that two of them can be compared.

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
    """

    source: Tensor
    target: Tensor
    gap: Tensor
    weight_x: Tensor
    weight_y: Tensor
    ensemble_size: int = 1

    def value(self):
        """J = E u(x, 0) - E min_x [u(x, 0) + c(x, y)] of every class."""
        return self._of_classes(
            _mean(self.source, self.weight_x) - _mean(self.target, self.weight_y)
        )

    def criterion(self):
        """What selection minimises: J plus the mean gap of the amortised minimiser."""
        return self.value() + self._of_classes(_mean(self.gap, self.weight_y))

    def standard_error(self, other):
        """Of the difference of the two criteria, the rows being the same."""
        x = self.source - other.source
        y = self.target - other.target - self.gap + other.gap
        variance = _variance_of_mean(x, self.weight_x)
        variance += _variance_of_mean(y, self.weight_y)
        return (self._of_classes(variance) / self.ensemble_size).sqrt()

    def where(self, classes, other):
        """This risk for the classes of the mask, another one for the rest."""
        mask = classes.repeat_interleave(self.ensemble_size).unsqueeze(-1)
        pairs = ((getattr(r, name) for r in (self, other)) for name in VALUES)
        return replace(
            self,
            **dict(zip(VALUES, (torch.where(mask, *p) for p in pairs), strict=True)),
        )

    def _of_classes(self, values):
        return values.unflatten(0, (-1, self.ensemble_size)).mean(1)


def _mean(values, weight):
    return (weight * values).sum(-1)


def _variance_of_mean(values, weight):
    deviation = values - _mean(values, weight).unsqueeze(-1)
    return (weight * deviation).square().sum(-1)


def of_first_process(measure):
    """A measure whose value is that of the first process, in all that train together.

    Whether to go on follows from it: rounding must not tell the processes apart, as
    they wait for each other.
    """

    def measured():
        risk = measure()
        values = {name: getattr(risk, name).contiguous() for name in VALUES}
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
    return Risk(source, target, gap, weight_x, weight_y, ensemble_size)


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
