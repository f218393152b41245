"""Pairs of samples with a known optimal map, two-dimensional toys, and the error."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import softmax
from sklearn.utils import check_array

from sk_ncf._inputs.errors import LARGEST, as_generator, is_number, named
from sk_ncf.costs import Cost, SquaredEuclidean
from sk_ncf.costs._checks import check_cost
from sk_ncf.costs._registry import make_cost

__all__ = [
    "TransportProblem",
    "make_checkerboard",
    "make_convex_map",
    "make_eight_gaussians",
    "make_gaussians",
    "make_moons_2d",
    "make_swiss_roll_2d",
]


MOST = 2**40  # rows or features


@dataclass(frozen=True)
class TransportProblem:
    """Two independent samples and the optimal map between their laws.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Source rows.
    X_target : ndarray of shape (n_samples, n_features)
        Target rows, not the images of `X`.
    cost : Cost
    forward : callable
        The exact map T, rows of shape (n, n_features) to rows.
    inverse : callable or None
        Its inverse, where that has a closed form. :meth:`sample_pairs` gives rows with
        their exact pre-images in any case.
    draw_source : callable
        ``draw_source(n, rng)`` draws rows of the source law.
    """

    X: np.ndarray
    X_target: np.ndarray
    cost: Cost
    forward: Callable
    inverse: Callable | None
    draw_source: Callable

    @classmethod
    def draw(cls, n_samples, cost, forward, inverse, draw_source, rng):
        """The problem of a source law and its map, with samples of `n_samples` rows."""
        _check_counts(n_samples=n_samples)
        X = draw_source(n_samples, rng)
        X_target = forward(draw_source(n_samples, rng))
        return cls(X, X_target, cost, forward, inverse, draw_source)

    def sample_pairs(self, n_samples, random_state=None):
        """New source rows and their exact images, row by row.

        The images follow the target law, so that the same pairs test both directions.

        Parameters
        ----------
        n_samples : int
        random_state : int, numpy.random.Generator or None, default=None

        Returns
        -------
        X, X_mapped : ndarray of shape (n_samples, n_features)
        """
        _check_counts(n_samples=n_samples)
        X = self.draw_source(n_samples, as_generator(random_state))
        return X, self.forward(X)


def make_gaussians(n_samples=4096, n_features=2, *, random_state=None):
    r"""Two random Gaussians; the optimal map for the squared Euclidean cost is affine.

    .. math:: T(x) = m_y + A (x - m_x), \qquad
              A = S_x^{-1/2} (S_x^{1/2} S_y S_x^{1/2})^{1/2} S_x^{-1/2} .

    Parameters
    ----------
    n_samples : int, default=4096
    n_features : int, default=2
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    TransportProblem
    """
    _check_counts(n_features=n_features)
    rng = as_generator(random_state)
    (mean_x, cov_x), (mean_y, cov_y) = (_random_law(n_features, rng) for _ in range(2))
    root = _symmetric_power(cov_x, 0.5)
    inverse_root = _symmetric_power(cov_x, -0.5)
    A = inverse_root @ _symmetric_power(root @ cov_y @ root, 0.5) @ inverse_root
    A_inverse = np.linalg.inv(A)

    def draw_source(n, rng):
        return mean_x + rng.standard_normal((n, n_features)) @ root

    def forward(X):
        return mean_y + (X - mean_x) @ A

    def inverse(X):
        return mean_x + (X - mean_y) @ A_inverse

    cost = SquaredEuclidean()
    return TransportProblem.draw(n_samples, cost, forward, inverse, draw_source, rng)


def make_convex_map(
    cost="sqeuclidean",
    n_samples=4096,
    n_features=2,
    *,
    cost_params=None,
    size=1.0,
    random_state=None,
):
    r"""Standard normal rows and a map that is optimal for the given cost.

    .. math:: T(x) = x + \nabla H(\nabla \phi(x)), \qquad
              \phi(x) = s \tau \log \sum_k e^{(\langle a_k, x \rangle + b_k) / \tau}

    is optimal because :math:`\phi` is convex: so is
    :math:`x \mapsto \phi(x) + L(y - x)`, whose only stationary point is therefore its
    minimum, and it is stationary exactly where :math:`y = T(x)`.

    Parameters
    ----------
    cost : str or Cost, default="sqeuclidean"
    n_samples : int, default=4096
    n_features : int, default=2
    cost_params : dict or None, default=None
        Parameters of a cost given by name.
    size : float, default=1.0
        Root mean square of the displacement of a feature; the source has standard
        deviation 1. Less where the cost only allows for less (pseudo-Huber).
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    TransportProblem
    """
    _check_counts(n_features=n_features)
    if not is_number(size, 1 / LARGEST, LARGEST):
        raise ValueError(
            f"size must be a number > 0, at most {LARGEST:g}, got {size!r}."
        )
    cost, rng = make_cost(cost, cost_params), as_generator(random_state)
    size = float(size)
    check_cost(cost, n_features, size)
    slope = rng.standard_normal((4 * n_features, n_features))
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    offset, temperature = 0.3 * rng.standard_normal(len(slope)), 0.3

    def direction(X):
        return softmax((X @ slope.T + offset) / temperature, axis=1) @ slope

    def draw_source(n, rng):
        return rng.standard_normal((n, n_features))

    def displacement(p):
        return cost.velocity(torch.from_numpy(p)).numpy()

    s = _gradient_size(displacement, direction(draw_source(4096, rng)), size, cost)

    def forward(X):
        return X + displacement(s * direction(X))

    return TransportProblem.draw(n_samples, cost, forward, None, draw_source, rng)


def make_moons_2d(n_samples=1000, *, noise=0.05, random_state=None):
    """Two interleaving half circles, features of unit variance.

    Parameters
    ----------
    n_samples : int, default=1000
    noise : float, default=0.05
        Standard deviation of the Gaussian noise, in standard deviations of a feature.
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    _check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    angle = rng.uniform(0, np.pi, n_samples)
    upper = rng.integers(2, size=n_samples) == 1
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) - 0.5
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) - 0.25
    std = np.sqrt([3 / 4, 9 / 16 - 1 / np.pi])  # integrals over the angle
    return _with_noise(np.column_stack([x, y]) / std, noise, rng)


def make_swiss_roll_2d(n_samples=1000, *, noise=0.05, random_state=None):
    """A spiral of one turn and a half, uniform along its arc, of unit variance.

    Parameters
    ----------
    n_samples : int, default=1000
    noise : float, default=0.05
        Standard deviation of the Gaussian noise.
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    _check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2049)
    speed = np.hypot(1, grid)  # of the curve below
    length = np.cumsum(speed)
    angle = np.interp(rng.uniform(length[0], length[-1], n_samples), length, grid)

    def curve(t):
        return np.column_stack([t * np.cos(t), t * np.sin(t)])

    mean, square = (np.average(curve(grid) ** k, axis=0, weights=speed) for k in (1, 2))
    return _with_noise((curve(angle) - mean) / np.sqrt(square - mean**2), noise, rng)


def make_checkerboard(n_samples=1000, *, noise=0.0, random_state=None):
    """Uniform on the eight dark squares of a board of four by four.

    Parameters
    ----------
    n_samples : int, default=1000
    noise : float, default=0.0
        Standard deviation of the Gaussian noise.
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    _check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    row, half = rng.integers(4, size=n_samples), rng.integers(2, size=n_samples)
    corner = np.column_stack([2 * half + row % 2, row])
    board = corner + rng.uniform(size=(n_samples, 2)) - 2
    return _with_noise(board * np.sqrt(3) / 2, noise, rng)


def make_eight_gaussians(n_samples=1000, *, noise=0.1, random_state=None):
    """Eight blobs on a circle, features of unit variance but for the noise.

    Parameters
    ----------
    n_samples : int, default=1000
    noise : float, default=0.1
        Standard deviation of each blob.
    random_state : int, numpy.random.Generator or None, default=None

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    _check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    angle = np.pi / 4 * rng.integers(8, size=n_samples)
    centre = np.sqrt(2) * np.column_stack([np.cos(angle), np.sin(angle)])
    return _with_noise(centre, noise, rng)


def _random_law(d, rng):
    """Mean and covariance with eigenvalues between 1/4 and 4, in random directions."""
    vectors = np.linalg.qr(rng.standard_normal((d, d)))[0]
    values = np.exp2(rng.uniform(-2, 2, size=d))
    return rng.standard_normal(d), (vectors * values) @ vectors.T


def _symmetric_power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def _gradient_size(displacement, direction, size, cost):
    """s such that the displacements grad H(s * direction) have the size asked for."""
    # |direction| < 1, so below this s every gradient lies where H is finite.
    most = 0.95 * getattr(cost, "delta", np.inf)

    def excess(s):
        return np.sqrt(np.square(displacement(s * direction)).mean()) - size

    high = min(1.0, most)
    while excess(high) < 0 and high < most:
        high = min(2 * high, most)
    return brentq(excess, 0, high) if excess(high) > 0 else high


def _rows(**rows):
    """Rows as a finite array of float64, by name."""
    ((name, values),) = rows.items()
    with named(name):
        return check_array(values, dtype=np.float64, input_name=name)


def _check_counts(**counts):
    """Raise where a number of rows or features is none."""
    for name, n in counts.items():
        if not (isinstance(n, Integral) and 1 <= n <= MOST):
            raise ValueError(f"{name} must be an integer in [1, {MOST}], got {n!r}.")


def _with_noise(X, noise, rng):
    if not is_number(noise, 0, LARGEST):
        raise ValueError(f"noise must be a number in [0, {LARGEST:g}], got {noise!r}.")
    return X + noise * rng.standard_normal(X.shape)
