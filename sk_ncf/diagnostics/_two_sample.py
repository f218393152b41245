"""Two-sample statistics, from the distances between rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import permutation_test

__all__ = [
    "debiased_distance",
    "energy_distance",
    "permutation_p_value",
    "squared_wasserstein",
]


def debiased_distance(
    distance: Callable[[Any, Any], float], parts: Sequence[Any]
) -> float:
    r"""A squared distance of two distributions, minus its noise floor.

    .. math:: \tfrac14 \sum_{i, j} D(a_i, b_j) - \tfrac12 D(a_1, a_2) - \tfrac12 D(b_1, b_2)

    There are two samples a of one distribution and two samples b of the other. The
    distance D is positive even between samples of the same distribution, and in many
    dimensions most of D is that. It is subtracted, as in the Sinkhorn divergence
    (Genevay, Peyre and Cuturi, 2018).
    """
    a1, a2, b1, b2 = parts
    across = np.mean([distance(a, b) for a in (a1, a2) for b in (b1, b2)])
    return float(across - (distance(a1, a2) + distance(b1, b2)) / 2)


def squared_wasserstein(distance: np.ndarray) -> float:
    """Squared Wasserstein distance of two samples of equal size, from the matrix (n, n)."""
    square = np.square(distance)
    return float(square[linear_sum_assignment(square)].mean())


def energy_distance(distance: np.ndarray, i: np.ndarray, j: np.ndarray) -> float:
    r"""Squared energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|`."""
    across = distance[np.ix_(i, j)].mean()
    within = distance[np.ix_(i, i)].mean() + distance[np.ix_(j, j)].mean()
    return float(2 * across - within)


def permutation_p_value(
    distance: np.ndarray, rng: np.random.RandomState, n_permutations: int
) -> float:
    """The p-value of a permutation test of equal distributions.

    The first half of the rows is one sample, the second half the other. The statistic is
    the energy distance (Szekely and Rizzo, 2004).
    """
    n = len(distance) // 2

    def statistic(i: np.ndarray, j: np.ndarray, axis: int) -> np.ndarray:
        sign = np.full((*np.shape(i)[:-1], 2 * n), -1 / n)
        np.put_along_axis(sign, i, 1 / n, axis=-1)
        return -((sign @ distance) * sign).sum(axis=-1)

    return float(
        permutation_test(
            (np.arange(n), np.arange(n, 2 * n)),
            statistic,
            vectorized=True,
            n_resamples=n_permutations,
            batch=256,
            alternative="greater",
            rng=np.random.default_rng(rng.randint(2**31)),
        ).pvalue
    )
