"""How much two samples differ: from the distances between their rows."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import permutation_test

__all__ = ["energy_distance", "excess", "least_moves", "p_value_of_one_law"]


def excess(discrepancy, parts):
    r"""A squared distance of two laws from two samples a of one and two b of the other.

    .. math:: \tfrac14 \sum_{i, j} D(a_i, b_j) - \tfrac12 D(a_1, a_2) - \tfrac12 D(b_1, b_2)

    What samples of one law differ by, which in many dimensions is most of D, is taken
    off on both sides, as in the Sinkhorn divergence (Genevay, Peyre and Cuturi, 2018).
    """
    a1, a2, b1, b2 = parts
    across = np.mean([discrepancy(a, b) for a in (a1, a2) for b in (b1, b2)])
    return across - (discrepancy(a1, a2) + discrepancy(b1, b2)) / 2


def least_moves(distance):
    """Squared Wasserstein distance of two samples of equal size, from their distances."""
    square = np.square(distance)
    return square[linear_sum_assignment(square)].mean()


def energy_distance(distance, i, j):
    r"""Squared energy distance :math:`2 E|x - y| - E|x - x'| - E|y - y'|`."""
    across = distance[np.ix_(i, j)].mean()
    within = distance[np.ix_(i, i)].mean() + distance[np.ix_(j, j)].mean()
    return float(2 * across - within)


def p_value_of_one_law(distance, rng, n_permutations):
    """Of the permutation test with the energy distance (Szekely and Rizzo, 2004)."""
    n = len(distance) // 2

    def statistic(i, j, axis):
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
