"""Errors of transport maps."""

import numpy as np

from sk_ncf._inputs.errors import check_finite, is_number
from sk_ncf.datasets import _rows

__all__ = ["l2_uvp"]


def l2_uvp(mapped, exact, reference_variance=None):
    r"""Unexplained variance percentage :math:`100 \, E|\hat T - T|^2 / Var(\nu)`.

    Zero for the exact map, 100 for the constant map to the mean (Korotin et al., "Do
    Neural Optimal Transport Solvers Work?", NeurIPS 2021).

    Parameters
    ----------
    mapped : array-like of shape (n_samples, n_features)
        Rows as an estimator maps them.
    exact : array-like of shape (n_samples, n_features)
        The same rows as the exact map maps them.
    reference_variance : float or None, default=None
        Total variance of the law of `exact`; None takes that of its rows.

    Returns
    -------
    float
        In percent.
    """
    mapped, exact = _rows(mapped=mapped), _rows(exact=exact)
    if mapped.shape != exact.shape:
        raise ValueError(
            f"mapped and exact must have the same shape, got {mapped.shape} and "
            f"{exact.shape}."
        )
    with np.errstate(all="ignore"):
        if reference_variance is None:
            reference_variance = exact.var(axis=0).sum()
        if not is_number(reference_variance, 1e-300, 1e300):
            raise ValueError(
                f"reference_variance must be > 0, got {reference_variance!r}."
            )
        error = np.square(mapped - exact).sum(axis=1).mean()
        return check_finite(float(100 * error / reference_variance), "The error")
