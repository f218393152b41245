"""Two-dimensional samples with zero mean and unit variance."""

import numpy as np

from sk_ncf._inputs.errors import LARGEST, as_generator, is_number
from sk_ncf._inputs.types import GeneratorSeed
from sk_ncf.datasets._checks import check_counts

__all__ = [
    "make_checkerboard",
    "make_eight_gaussians",
    "make_moons_2d",
    "make_swiss_roll_2d",
]


def make_moons_2d(
    n_samples: int = 1000, *, noise: float = 0.05, random_state: GeneratorSeed = None
) -> np.ndarray:
    """Two interleaving half circles, features of unit variance.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    noise : float, default=0.05
        Standard deviation of the Gaussian noise that is added.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or generator to draw from.

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    angle = rng.uniform(0, np.pi, n_samples)
    upper = rng.integers(2, size=n_samples) == 1
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle)) - 0.5
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle)) - 0.25
    std = np.sqrt([3 / 4, 9 / 16 - 1 / np.pi])  # integrals over the angle
    return _with_noise(np.column_stack([x, y]) / std, noise, rng)


def make_swiss_roll_2d(
    n_samples: int = 1000, *, noise: float = 0.05, random_state: GeneratorSeed = None
) -> np.ndarray:
    """A spiral of one and a half turns, uniform along its arc, of unit variance.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    noise : float, default=0.05
        Standard deviation of the Gaussian noise that is added.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or generator to draw from.

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2049)
    speed = np.hypot(1, grid)  # of the curve below
    length = np.cumsum(speed)
    angle = np.interp(rng.uniform(length[0], length[-1], n_samples), length, grid)

    def curve(t: np.ndarray) -> np.ndarray:
        return np.column_stack([t * np.cos(t), t * np.sin(t)])

    mean, square = (np.average(curve(grid) ** k, axis=0, weights=speed) for k in (1, 2))
    return _with_noise((curve(angle) - mean) / np.sqrt(square - mean**2), noise, rng)


def make_checkerboard(
    n_samples: int = 1000, *, noise: float = 0.0, random_state: GeneratorSeed = None
) -> np.ndarray:
    """Uniform on the eight dark squares of a board of four by four.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    noise : float, default=0.0
        Standard deviation of the Gaussian noise that is added.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or generator to draw from.

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    row, half = rng.integers(4, size=n_samples), rng.integers(2, size=n_samples)
    corner = np.column_stack([2 * half + row % 2, row])
    board = corner + rng.uniform(size=(n_samples, 2)) - 2
    return _with_noise(board * np.sqrt(3) / 2, noise, rng)


def make_eight_gaussians(
    n_samples: int = 1000, *, noise: float = 0.1, random_state: GeneratorSeed = None
) -> np.ndarray:
    """Eight Gaussian blobs on a circle; their centres have unit variance.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    noise : float, default=0.1
        Standard deviation of each blob.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or generator to draw from.

    Returns
    -------
    ndarray of shape (n_samples, 2)
    """
    check_counts(n_samples=n_samples)
    rng = as_generator(random_state)
    angle = np.pi / 4 * rng.integers(8, size=n_samples)
    centre = np.sqrt(2) * np.column_stack([np.cos(angle), np.sin(angle)])
    return _with_noise(centre, noise, rng)


def _with_noise(X: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if not is_number(noise, 0, LARGEST):
        raise ValueError(f"noise must be a number in [0, {LARGEST:g}], got {noise!r}.")
    return X + noise * rng.standard_normal(X.shape)
