"""The optimal map between Gaussians."""

import numpy as np

__all__ = ["gaussian_map", "geometric_mean"]


def gaussian_map(cov_x: np.ndarray, cov_y: np.ndarray) -> np.ndarray:
    r"""Matrix A (d, d) of the optimal map between centred Gaussians, symmetric.

    .. math:: A = C_x^{-1/2} (C_x^{1/2} C_y C_x^{1/2})^{1/2} C_x^{-1/2} = C_x^{-1} \# C_y

    It is the positive definite solution of :math:`A C_x A = C_y` (Olkin and Pukelsheim,
    "The distance between two random vectors with given dispersion matrices", 1982).
    """
    return geometric_mean(_inverse(cov_x), cov_y)


def geometric_mean(a: np.ndarray, b: np.ndarray, max_iter: int = 128) -> np.ndarray:
    r"""Geometric mean :math:`a \# b` of positive definite matrices; a # I is a^(1/2).

    It is the common limit of arithmetic and harmonic means (Bhatia, Positive Definite
    Matrices, 2007, chapter 4). Unlike an eigendecomposition, it is accurate for
    features whose unit is many orders of magnitude smaller than that of others.
    """
    balance = np.exp((np.log(np.diag(b)) - np.log(np.diag(a))).mean() / 2)
    a, inv_b = a * balance, _inverse(b) * balance  # b is divided by balance
    for _ in range(max_iter):
        inv_a, b = _inverse(a), _inverse(inv_b)
        size = np.sqrt(np.diag(a))
        close = (np.abs(a - b) <= 1e-7 * np.outer(size, size)).all()
        a, inv_b = (a + b) / 2, (inv_a + inv_b) / 2
        if close:  # the next error is of the order of the square of this one
            break
    return a


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix, computed with a unit diagonal."""
    size = np.sqrt(np.diag(matrix))
    outer = np.outer(size, size)
    inverse: np.ndarray = np.linalg.inv(matrix / outer) / outer
    return (inverse + inverse.T) / 2


def _transformed_covariance(root: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Covariance of x @ root, positive definite in spite of rounding errors."""
    cov = root @ cov @ root
    ridge = 1e-14 * np.trace(cov) / len(cov) * np.eye(len(cov))
    return np.asarray((cov + cov.T) / 2 + ridge)
