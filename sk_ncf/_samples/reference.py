"""Samples of the reference distribution."""

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc
from sklearn.utils import check_array

from sk_ncf._inputs.errors import as_array, check_size, named
from sk_ncf._inputs.validation import DTYPES

__all__ = ["output_rows"]


def output_rows(output_distribution, n_features, rng, n=16384):
    """Rows of the reference distribution, shape (n, d).

    Their number is fixed, so that a row of weight 2 and two equal rows meet the same
    reference. The named distributions are scrambled Sobol points, whose moments are
    far closer to the truth than those of random draws (Owen, 1998).
    """
    if callable(output_distribution):
        rows = output_distribution(size=(n, n_features), random_state=rng)
        rows = as_array("output_distribution", rows)
        if rows.shape != (n, n_features):
            raise ValueError(
                f"output_distribution must return shape {(n, n_features)} when called "
                f"with size={(n, n_features)}, got {rows.shape}."
            )
        with named("output_distribution"):
            rows = check_array(rows, dtype=DTYPES, input_name="output_distribution")
        check_size("output_distribution", rows)
        return rows
    seed = np.random.default_rng(rng.randint(2**31))
    uniform = qmc.Sobol(n_features, rng=seed).random(n)
    if output_distribution == "uniform":
        return uniform
    return ndtri(np.clip(uniform, 1e-12, 1 - 1e-12))
