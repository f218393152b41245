"""The optimal map between Gaussians."""

import numpy as np

__all__ = ["gaussian_map", "geometric_mean"]


def gaussian_map(cov_x, cov_y):
    r"""The optimal map between centred Gaussians, a symmetric matrix (d, d).

    .. math:: A = C_x^{-1/2} (C_x^{1/2} C_y C_x^{1/2})^{1/2} C_x^{-1/2} = C_x^{-1} \# C_y

    (Olkin and Pukelsheim, "The distance between two random vectors with given
    dispersion matrices", 1982): the positive definite solution of
    :math:`A C_x A = C_y`.
    """
    return geometric_mean(_inverse(cov_x), cov_y)


def geometric_mean(a, b, max_iter=128):
    r"""Geometric mean :math:`a \# b` of positive definite matrices; a # I is a^(1/2).

    The common limit of arithmetic and harmonic means (Bhatia, Positive Definite
    Matrices, 2007, chapter 4). Unlike an eigendecomposition, it keeps the digits of
    features whose unit is many orders of magnitude smaller than that of others.
    """
    balance = np.exp((np.log(np.diag(b)) - np.log(np.diag(a))).mean() / 2)
    a, inv_b = a * balance, _inverse(b) * balance  # the mean is that of b / balance
    for _ in range(max_iter):
        inv_a, b = _inverse(a), _inverse(inv_b)
        size = np.sqrt(np.diag(a))
        close = (np.abs(a - b) <= 1e-7 * np.outer(size, size)).all()
        a, inv_b = (a + b) / 2, (inv_a + inv_b) / 2
        if close:  # the next error is of the order of the square of this one
            break
    return a


def _inverse(matrix):
    """Inverse of a positive definite matrix, computed with a unit diagonal."""
    size = np.sqrt(np.diag(matrix))
    outer = np.outer(size, size)
    inverse = np.linalg.inv(matrix / outer) / outer
    return (inverse + inverse.T) / 2


def _seen_through(root, cov):
    """Covariance of the rows times `root`, positive definite in spite of rounding."""
    cov = root @ cov @ root
    return (cov + cov.T) / 2 + 1e-14 * np.trace(cov) / len(cov) * np.eye(len(cov))
