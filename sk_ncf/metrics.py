"""Errors of transport maps."""

import numpy as np
from numpy.typing import ArrayLike

from sk_ncf._inputs.errors import check_finite, is_number
from sk_ncf._inputs.validation import float_rows

__all__ = ["l2_uvp"]


def l2_uvp(
    mapped: ArrayLike, exact: ArrayLike, reference_variance: float | None = None
) -> float:
    r"""Unexplained variance percentage :math:`100 \, E|\hat T - T|^2 / Var(\nu)`.

    It is 0 for the exact map, and 100 for the constant map to the mean (Korotin et al.,
    "Do Neural Optimal Transport Solvers Work?", NeurIPS 2021).

    Parameters
    ----------
    mapped : array-like of shape (n_samples, n_features)
        Rows mapped by an estimator.
    exact : array-like of shape (n_samples, n_features)
        The same rows mapped by the exact map.
    reference_variance : float or None, default=None
        Total variance of the target distribution. If None, the total variance of
        `exact` is used.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    ValueError
        If the shapes differ, or an argument is not valid.
    """
    mapped, exact = float_rows("mapped", mapped), float_rows("exact", exact)
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
