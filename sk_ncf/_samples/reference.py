"""Samples of the reference distribution."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import qmc
from sklearn.utils import check_array

from sk_ncf._inputs.errors import as_array, check_size, errors_mention
from sk_ncf._inputs.validation import DTYPES

__all__ = ["output_rows"]

OutputDistribution = Literal["normal", "uniform"] | Callable[..., ArrayLike]


def output_rows(
    output_distribution: OutputDistribution,
    n_features: int,
    rng: np.random.RandomState,
    n: int = 16384,
) -> np.ndarray:
    """Rows of the reference distribution, shape (n, d).

    Their number does not depend on the data, so that a row of weight 2 and two equal
    rows give the same fit. Normal and uniform rows are scrambled Sobol points, whose
    moments are much more accurate than those of random rows (Owen, 1998).
    """
    if callable(output_distribution):
        return _drawn_rows(output_distribution, n_features, rng, n)
    seed = np.random.default_rng(rng.randint(2**31))
    uniform = qmc.Sobol(n_features, rng=seed).random(n)
    if output_distribution == "uniform":
        return uniform
    normal: np.ndarray = ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))
    return normal


def _drawn_rows(
    draw: Callable[..., ArrayLike], n_features: int, rng: np.random.RandomState, n: int
) -> np.ndarray:
    """Rows drawn by the user's function, checked."""
    rows = draw(size=(n, n_features), random_state=rng)
    array = as_array("output_distribution", rows)
    if array.shape != (n, n_features):
        raise ValueError(
            f"output_distribution must return shape {(n, n_features)} when called "
            f"with size={(n, n_features)}, got {array.shape}."
        )
    with errors_mention("output_distribution"):
        checked: np.ndarray = check_array(
            array, dtype=DTYPES, input_name="output_distribution"
        )
    check_size("output_distribution", checked)
    return checked
