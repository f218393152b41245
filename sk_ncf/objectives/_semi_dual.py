"""The semi-dual objective, computed from the characteristics."""

import math
from typing import Literal

from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import KernelName, bidirectional_mmd
from sk_ncf.objectives._losses import (
    hj_residual,
    hopf_lax_violation,
    momentum_residual,
    semi_dual,
)

__all__ = ["SemiDual"]

MAX_PAIR_COORDINATES = 3e5  # of the pairs of a minibatch, over all potentials


class SemiDual(Objective):
    r"""Semi-dual objective with the residuals of the Hamilton-Jacobi equation.

    .. math:: w_{sd} \Big[E_x u(x, 0) - E_y \min_x [u(x, 0) + c(x, y)]\Big]
              + w_{hj} \, r_{hj} + w_p \, r_p + w_{hl} \, r_{hl} + w_{mmd} \, D^2

    The semi-dual part (Makkuva et al., ICML 2020) has the optimal potential as its
    minimiser. Three residuals vanish if :math:`u(\cdot, 1)` is the Hopf-Lax transform of
    :math:`u(\cdot, 0)`: :math:`r_{hj}`, of the implicit solution formula [1]_;
    :math:`r_p`, the change of momentum along characteristics; :math:`r_{hl}`, the
    violation of the Hopf-Lax formula. :math:`D^2` is the squared maximum mean discrepancy
    of mapped rows, in both directions.

    Parameters
    ----------
    hj_weight : float, default=1.0
        Weight of the Hamilton-Jacobi residual
        (:func:`~sk_ncf.objectives.hj_residual`).
    momentum_weight : float or "auto", default="auto"
        Weight of the change of momentum along characteristics
        (:func:`~sk_ncf.objectives.momentum_residual`). "auto": 0.3, and 1 with classes.
    semi_dual_weight : float, default=1.0
        Weight of the semi-dual objective (:func:`~sk_ncf.objectives.semi_dual`).
    hopf_lax_weight : float, default=10.0
        Weight of the violation of the Hopf-Lax formula
        (:func:`~sk_ncf.objectives.hopf_lax_violation`).
    mmd_weight : float or "auto", default="auto"
        Weight of the squared maximum mean discrepancy between the mapped samples and
        the other sample, in both directions (:func:`~sk_ncf.objectives.mmd`). "auto":
        0, and 10 with classes.
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

    # A class has few samples: the discrepancy then reduces overfitting of the semi-dual,
    # and the momentum residual keeps the inverse map consistent with the map.
    auto_weights = {"momentum_weight": (0.3, 1.0), "mmd_weight": (0.0, 10.0)}

    def __init__(
        self,
        *,
        hj_weight: float = 1.0,
        momentum_weight: float | Literal["auto"] = "auto",
        semi_dual_weight: float = 1.0,
        hopf_lax_weight: float = 10.0,
        mmd_weight: float | Literal["auto"] = "auto",
        kernel: KernelName = "energy",
    ) -> None:
        self.hj_weight = hj_weight
        self.momentum_weight = momentum_weight
        self.semi_dual_weight = semi_dual_weight
        self.hopf_lax_weight = hopf_lax_weight
        self.mmd_weight = mmd_weight
        self.kernel = kernel

    def terms(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """Four terms, and the discrepancy if its weight is not 0, each of shape [K]."""
        from_x, from_y = flow.characteristics(x, y)
        n_potentials = getattr(flow.potential, "n_together", None) or len(x)
        some = slice(_n_pair_rows(n_potentials, x.shape[-1]))
        pairs = flow.cost.pairwise(x[:, some], y)
        pairs = from_x.u[:, some].unsqueeze(-1) + pairs  # u(x_i, 0) + c(x_i, y_j)
        terms = {
            "hj": hj_residual(from_x, from_y),
            "momentum": momentum_residual(from_x, from_y),
            "semi_dual": semi_dual(from_x, from_y, pairs),
            "hopf_lax": hopf_lax_violation(pairs, from_y.u),
        }
        if self.mmd_weight:
            terms["mmd"] = bidirectional_mmd(x, y, from_x.end, from_y.end, self.kernel)
        return terms


def _n_pair_rows(n_potentials: int, d: int) -> int:
    """Number n of source samples in the matrix of pairs: n^2 d K is bounded.

    The pairwise differences of most costs are no matrix product and take time and memory.
    """
    return max(8, int(math.sqrt(MAX_PAIR_COORDINATES / d / n_potentials)))
