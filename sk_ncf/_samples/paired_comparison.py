"""Comparison of two maps on the same rows, which neither was fitted to.

Both maps have a value for every row: a contribution to the semi-dual risk, or to the
energy distance between mapped rows and the rows that they should match. Only the
differences of these values matter, so what the maps have in common cancels. All tensors
have a leading axis of K potentials, and weights sum to one.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["energy_contributions", "mean_difference", "weighted_mean", "winsorised"]

WINSORISED_AT = 5.0  # robust standard deviations from the median


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values of shape [K, n], shape [K]."""
    return (weight * values).sum(-1)


def mean_difference(
    x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean of x minus mean of y, and the square of its standard error, shape [K]."""
    difference = weighted_mean(x, weight_x) - weighted_mean(y, weight_y)
    return difference, _variance_of_mean(x, weight_x) + _variance_of_mean(y, weight_y)


def _variance_of_mean(values: Tensor, weight: Tensor) -> Tensor:
    deviation = values - weighted_mean(values, weight).unsqueeze(-1)
    return (weight * deviation).square().sum(-1)


def winsorised(
    x: Tensor, y: Tensor, weight_x: Tensor, weight_y: Tensor
) -> tuple[Tensor, Tensor]:
    """Two samples of values, clipped around their common median.

    The limits are `WINSORISED_AT` robust standard deviations (Huber, Robust statistics,
    1981), so no single row decides. Values that are not finite become NaN.
    """
    both = torch.cat([x, y], -1)
    weight = torch.cat([weight_x, weight_y], -1)
    (centre,) = _quantiles(both, weight, 0.5)
    median, ninth = _quantiles((both - centre).abs(), weight, 0.5, 0.9)
    # The median deviation is 0 if more than half of the values are equal. The numbers
    # are the quantiles of a standard normal deviation.
    deviation = torch.maximum(median / 0.6745, ninth / 1.6449)
    limit = WINSORISED_AT * deviation
    clipped = torch.maximum(torch.minimum(both, centre + limit), centre - limit)
    clipped = torch.where(both.isfinite(), clipped, torch.nan)
    of_x, of_y = clipped.split([x.shape[-1], y.shape[-1]], -1)
    return of_x, of_y


def _quantiles(values: Tensor, weight: Tensor, *levels: float) -> Iterator[Tensor]:
    """Weighted quantiles along the last axis of [K, n], each of shape [K, 1]."""
    values, order = values.sort(-1)
    cumulative = weight.gather(-1, order).cumsum(-1)
    last = values.shape[-1] - 1
    for level in levels:
        place = torch.searchsorted(cumulative, level * cumulative[:, -1:].contiguous())
        yield values.gather(-1, place.clamp_max(last))


def energy_contributions(
    images: tuple[Tensor, Tensor],
    rows: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Contributions of source and target rows to the energy distances, [K, n], [K, m].

    They are summed over both directions: mapped source rows against target rows, and
    target rows under the inverse against source rows.

    Parameters
    ----------
    images : pair of Tensor of shape [K, n, d] and [K, m, d]
        T(x) and T^-1(y).
    rows : pair of Tensor of shape [K, n, d] and [K, m, d]
        x and y.
    weights : pair of Tensor of shape [K, n] and [K, m]
    """
    (head, foot), (x, y), (weight_x, weight_y) = images, rows, weights
    of_x, from_y = _contributions(head, y, weight_x, weight_y)
    of_y, from_x = _contributions(foot, x, weight_y, weight_x)
    return of_x + from_x, of_y + from_y


def _contributions(
    mapped: Tensor, reference: Tensor, weight: Tensor, weight_reference: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Contributions of mapped rows and of reference rows to their energy distance.

    The energy distance is :math:`2 E|T(x) - y| - E|T(x) - T(x')|`, up to the term
    :math:`-E|y - y'|`, which does not depend on the map. Row x contributes that value
    plus the deviation of :math:`2 E|T(x) - y| - 2 E|T(x) - T(x')|` from its mean: the
    first order of Hoeffding's decomposition, which gives the standard error. The
    contributions of the reference rows have mean zero.
    """
    between = torch.cdist(mapped, reference)
    within = torch.cdist(mapped, mapped) @ weight.unsqueeze(-1)
    within = within / (1 - weight).clamp_min(0.5).unsqueeze(-1)  # no pair with itself
    to_reference = between @ weight_reference.unsqueeze(-1)
    to_mapped = 2 * (weight.unsqueeze(-2) @ between).squeeze(-2)
    within, to_reference = within.squeeze(-1), to_reference.squeeze(-1)
    own = 2 * (to_reference - within) + weighted_mean(within, weight)[:, None]
    return own, to_mapped - weighted_mean(to_mapped, weight_reference)[:, None]
