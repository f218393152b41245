"""The semi-dual objective, read off the characteristics."""

import math

from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import mmd_both_ways
from sk_ncf.objectives._losses import (
    hj_residual,
    hopf_lax_violation,
    momentum_residual,
    semi_dual,
)

__all__ = ["SemiDual"]

PAIR_VALUES = 3e5  # coordinates of the pairs of a minibatch, all potentials together


class SemiDual(Objective):
    r"""Semi-dual objective with the residuals of the Hamilton-Jacobi equation.

    .. math:: w_{sd} \Big[E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]\Big]
              + w_{hj} \, r_{hj} + w_p \, r_p + w_{hl} \, r_{hl} + w_{mmd} \, D^2

    The semi-dual part (Makkuva et al., ICML 2020) has the optimal potential as its
    minimiser. The residuals make :math:`u(\cdot, 1)` the Hopf-Lax transform of
    :math:`u(\cdot, 0)`: the implicit solution along the characteristics [1]_, the change
    of momentum along them, and the violation of the Hopf-Lax formula.

    Parameters
    ----------
    hj_weight : float, default=1.0
        Weight of the Hamilton-Jacobi residual
        (:func:`~sk_ncf.objectives.hj_residual`).
    momentum_weight : float or "auto", default="auto"
        Weight of the change of momentum along characteristics
        (:func:`~sk_ncf.objectives.momentum_residual`); "auto": 0.3, with classes 1.
    semi_dual_weight : float, default=1.0
        Weight of the semi-dual objective (:func:`~sk_ncf.objectives.semi_dual`).
    hopf_lax_weight : float, default=10.0
        Weight of the violation of the Hopf-Lax formula
        (:func:`~sk_ncf.objectives.hopf_lax_violation`).
    mmd_weight : float or "auto", default="auto"
        Weight of the squared maximum mean discrepancy between mapped rows and the rows
        of the other side, in both directions (:func:`~sk_ncf.objectives.mmd`); "auto":
        0, with classes 10.
    kernel : {"energy", "gaussian", "laplace"}, default="energy"
        Kernel of that discrepancy; the last two are sums over four bandwidths.

    References
    ----------
    .. [1] Y. Park, S. Liu, M. Zhou, S. Osher, "Neural Hamilton-Jacobi Characteristic
       Flows for Optimal Transport", ICLR 2026. https://arxiv.org/abs/2510.01153

    Examples
    --------
    >>> from sk_ncf import NCFTransport, SemiDual
    >>> transport = NCFTransport(objective=SemiDual(mmd_weight=1.0))
    >>> transport.set_params(objective__mmd_weight=2.0).objective
    SemiDual(mmd_weight=2.0)
    """

    def __init__(
        self,
        *,
        hj_weight=1.0,
        momentum_weight="auto",
        semi_dual_weight=1.0,
        hopf_lax_weight=10.0,
        mmd_weight="auto",
        kernel="energy",
    ):
        self.hj_weight = hj_weight
        self.momentum_weight = momentum_weight
        self.semi_dual_weight = semi_dual_weight
        self.hopf_lax_weight = hopf_lax_weight
        self.mmd_weight = mmd_weight
        self.kernel = kernel

    def resolved(self, class_conditional: bool) -> "SemiDual":
        """A copy in which every weight "auto" is a number.

        A class has few rows: there the discrepancy keeps the semi-dual from overfitting
        them, and the momentum residual keeps the inverse close to the map.
        """
        objective = super().resolved(class_conditional)
        if objective.momentum_weight == "auto":
            objective.momentum_weight = 1.0 if class_conditional else 0.3
        if objective.mmd_weight == "auto":
            objective.mmd_weight = 10.0 if class_conditional else 0.0
        return objective

    def terms(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """Four terms read off the characteristics; the discrepancy if it has a weight."""
        from_x, from_y = flow.characteristics(x, y)
        rows = slice(_n_pair_rows(x))
        pairs = flow.cost.pairwise(x[:, rows], y)
        pairs = from_x.u[:, rows].unsqueeze(-1) + pairs  # u(x_i, 0) + c(x_i, y_j)
        terms = {
            "hj": hj_residual(from_x, from_y),
            "momentum": momentum_residual(from_x, from_y),
            "semi_dual": semi_dual(from_x, from_y, pairs),
            "hopf_lax": hopf_lax_violation(pairs, from_y.u),
        }
        if self.mmd_weight:
            terms["mmd"] = mmd_both_ways(x, y, from_x.end, from_y.end, self.kernel)
        return terms


def _n_pair_rows(x: Tensor) -> int:
    """Source rows of the pair matrix; pairs of most costs are no matrix product."""
    n_potentials, _, d = x.shape
    return max(8, int(math.sqrt(PAIR_VALUES / d / n_potentials)))
