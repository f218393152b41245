"""Pairs of samples with a known optimal map."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import softmax

from sk_ncf._inputs.errors import LARGEST, as_generator, is_number
from sk_ncf._inputs.types import CostName, GeneratorSeed
from sk_ncf.costs import Cost, SquaredEuclidean
from sk_ncf.costs._checks import check_cost
from sk_ncf.costs._registry import make_cost
from sk_ncf.datasets._checks import check_counts

__all__ = ["TransportProblem", "make_convex_map", "make_gaussians"]

RowMap = Callable[[np.ndarray], np.ndarray]  # (n, d) to (n, d)
Sampler = Callable[[int, np.random.Generator], np.ndarray]  # n rows


@dataclass(frozen=True)
class TransportProblem:
    """Two independent samples and the optimal map between their distributions.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Source rows.
    X_target : ndarray of shape (n_samples, n_features)
        Target rows. They are not the images of `X`.
    cost : Cost
        The cost for which the map is optimal.
    forward : callable
        The exact map T, from rows of shape (n, n_features) to rows of the same shape.
    inverse : callable or None
        Its inverse; None if it has no closed form. :meth:`sample_pairs` always gives
        rows with their exact pre-images.
    draw_source : callable
        ``draw_source(n, rng)`` draws n rows of the source distribution.
    """

    X: np.ndarray
    X_target: np.ndarray
    cost: Cost
    forward: RowMap
    inverse: RowMap | None
    draw_source: Sampler

    @classmethod
    def draw(
        cls,
        n_samples: int,
        cost: Cost,
        forward: RowMap,
        inverse: RowMap | None,
        draw_source: Sampler,
        rng: np.random.Generator,
    ) -> "TransportProblem":
        """The problem of a source distribution and its map, with `n_samples` rows each."""
        check_counts(n_samples=n_samples)
        X = draw_source(n_samples, rng)
        X_target = forward(draw_source(n_samples, rng))
        return cls(X, X_target, cost, forward, inverse, draw_source)

    def sample_pairs(
        self, n_samples: int, random_state: GeneratorSeed = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """New source rows and their exact images, row by row.

        The images follow the target distribution. So the same pairs test the map and
        its inverse.

        Parameters
        ----------
        n_samples : int
            Number of pairs.
        random_state : int, numpy.random.Generator or None, default=None
            Seed, or generator to draw from.

        Returns
        -------
        X, X_mapped : ndarray of shape (n_samples, n_features)
        """
        check_counts(n_samples=n_samples)
        X = self.draw_source(n_samples, as_generator(random_state))
        return X, self.forward(X)


def make_gaussians(
    n_samples: int = 4096, n_features: int = 2, *, random_state: GeneratorSeed = None
) -> TransportProblem:
    r"""Two random Gaussians; the optimal map for the squared Euclidean cost is affine.

    .. math:: T(x) = m_y + A (x - m_x), \qquad
              A = S_x^{-1/2} (S_x^{1/2} S_y S_x^{1/2})^{1/2} S_x^{-1/2} .

    Parameters
    ----------
    n_samples : int, default=4096
        Number of source rows, and of target rows.
    n_features : int, default=2
        Number of features.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or generator to draw from.

    Returns
    -------
    TransportProblem
    """
    check_counts(n_features=n_features)
    rng = as_generator(random_state)
    (mean_x, cov_x), (mean_y, cov_y) = (
        _random_gaussian(n_features, rng) for _ in range(2)
    )
    root = _symmetric_power(cov_x, 0.5)
    inverse_root = _symmetric_power(cov_x, -0.5)
    A = inverse_root @ _symmetric_power(root @ cov_y @ root, 0.5) @ inverse_root
    A_inverse = np.linalg.inv(A)

    def draw_source(n: int, rng: np.random.Generator) -> np.ndarray:
        return mean_x + rng.standard_normal((n, n_features)) @ root

    def forward(X: np.ndarray) -> np.ndarray:
        return mean_y + (X - mean_x) @ A

    def inverse(X: np.ndarray) -> np.ndarray:
        return mean_x + (X - mean_y) @ A_inverse

    cost = SquaredEuclidean()
    return TransportProblem.draw(n_samples, cost, forward, inverse, draw_source, rng)


def make_convex_map(
    cost: CostName | Cost = "sqeuclidean",
    n_samples: int = 4096,
    n_features: int = 2,
    *,
    cost_params: dict[str, Any] | None = None,
    size: float = 1.0,
    random_state: GeneratorSeed = None,
) -> TransportProblem:
    r"""Standard normal rows and a map that is optimal for the given cost.

    .. math:: T(x) = x + \nabla H(\nabla \phi(x)), \qquad
              \phi(x) = s \tau \log \sum_k e^{(\langle a_k, x \rangle + b_k) / \tau}

    The map is optimal because :math:`\phi` is convex. So
    :math:`x \mapsto \phi(x) + L(y - x)` is convex too, and its only stationary point is
    its minimum. It is stationary exactly if :math:`y = T(x)`.

    Parameters
    ----------
    cost : str or Cost, default="sqeuclidean"
        The cost, as in :class:`~sk_ncf.NCFTransport`.
    n_samples : int, default=4096
        Number of source rows, and of target rows.
    n_features : int, default=2
        Number of features.
    cost_params : dict or None, default=None
        Parameters of a cost given by name.
    size : float, default=1.0
        Root mean square displacement of a feature; the source has standard deviation 1.
        It is smaller if the cost does not allow that much (pseudo-Huber).
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or generator to draw from.

    Returns
    -------
    TransportProblem
    """
    check_counts(n_features=n_features)
    if not is_number(size, 1 / LARGEST, LARGEST):
        raise ValueError(
            f"size must be a number > 0, at most {LARGEST:g}, got {size!r}."
        )
    checked_cost: Cost = make_cost(cost, cost_params)
    rng, size = as_generator(random_state), float(size)
    check_cost(checked_cost, n_features, size)
    direction = _random_direction(n_features, rng)

    def draw_source(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((n, n_features))

    def displacement(p: np.ndarray) -> np.ndarray:
        return checked_cost.velocity(torch.from_numpy(p)).numpy()

    s = _gradient_size(
        displacement, direction(draw_source(4096, rng)), size, checked_cost
    )

    def forward(X: np.ndarray) -> np.ndarray:
        return X + displacement(s * direction(X))

    return TransportProblem.draw(
        n_samples, checked_cost, forward, None, draw_source, rng
    )


def _random_direction(n_features: int, rng: np.random.Generator) -> RowMap:
    """The gradient of a random convex function: a mean of unit vectors, by softmax."""
    slope = rng.standard_normal((4 * n_features, n_features))
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    offset, temperature = 0.3 * rng.standard_normal(len(slope)), 0.3

    def direction(X: np.ndarray) -> np.ndarray:
        weights: np.ndarray = softmax((X @ slope.T + offset) / temperature, axis=1)
        return weights @ slope

    return direction


def _random_gaussian(d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance with eigenvalues between 1/4 and 4, in random directions."""
    vectors = np.linalg.qr(rng.standard_normal((d, d)))[0]
    values = np.exp2(rng.uniform(-2, 2, size=d))
    return rng.standard_normal(d), (vectors * values) @ vectors.T


def _symmetric_power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def _gradient_size(
    displacement: RowMap, direction: np.ndarray, size: float, cost: Cost
) -> float:
    """s such that the displacements grad H(s * direction) have the given size."""
    # |direction| < 1, so for smaller s every gradient lies in the domain of H.
    largest = 0.95 * getattr(cost, "delta", np.inf)

    def difference(s: float) -> float:
        return float(np.sqrt(np.square(displacement(s * direction)).mean()) - size)

    high = min(1.0, largest)
    while difference(high) < 0 and high < largest:
        high = min(2 * high, largest)
    return float(brentq(difference, 0, high)) if difference(high) > 0 else high
