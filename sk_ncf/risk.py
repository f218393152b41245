"""The held-out semi-dual risk: a score for transport maps that needs no true map."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sk_ncf.flow import CharacteristicFlow

__all__ = ["Risk", "held_out_risk"]


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
    """

    source: Tensor
    target: Tensor
    gap: Tensor
    weight_x: Tensor
    weight_y: Tensor

    def value(self):
        """J = E u(x, 0) - E min_x [u(x, 0) + c(x, y)], averaged over classes."""
        return (
            (_mean(self.source, self.weight_x) - _mean(self.target, self.weight_y))
            .mean()
            .item()
        )

    def criterion(self):
        """What selection minimises: J plus the mean gap of the amortised minimiser."""
        return self.value() + _mean(self.gap, self.weight_y).mean().item()

    def standard_error(self, other):
        """Of the difference of the two criteria, the rows being the same."""
        x = self.source - other.source
        y = self.target - other.target - self.gap + other.gap
        variance = _variance_of_mean(x, self.weight_x)
        variance += _variance_of_mean(y, self.weight_y)
        return math.sqrt(variance) / len(x)


def _mean(values, weight):
    return (weight * values).sum(-1)


def _variance_of_mean(values, weight):
    """Variance of the weighted mean, summed over classes."""
    deviation = values - _mean(values, weight).unsqueeze(-1)
    return (weight * deviation).square().sum().item()


@torch.no_grad()
def held_out_risk(flow: CharacteristicFlow, x, y, weight_x, weight_y, n_iter=12):
    r"""Semi-dual risk of the potential on rows it was not trained on.

    .. math:: J(u) = E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]

    A proper scoring rule for transport maps, lower is better (Hutter and Rigollet,
    2021; Vacher and Vialard, 2022). The minimum is searched in `n_iter` steps
    (:meth:`~sk_ncf.flow.CharacteristicFlow.hopf_lax`).

    Parameters
    ----------
    flow : CharacteristicFlow
    x : Tensor of shape [K, n, d]
    y : Tensor of shape [K, m, d]
    weight_x, weight_y : Tensor of shape [K, n] and [K, m]
        Row weights that sum to one.
    n_iter : int, default=12

    Returns
    -------
    Risk
    """
    amortised, target = flow.hopf_lax(y, n_iter)
    source = flow.potential(x, x.new_zeros(x.shape[:-1]))
    return Risk(source, target, amortised - target, weight_x, weight_y)
