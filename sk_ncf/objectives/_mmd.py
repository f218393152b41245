"""The objective of the NCF paper."""

from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import mmd_both_ways
from sk_ncf.objectives._losses import implicit_residual

__all__ = ["MMD"]


class MMD(Objective):
    r"""The objective of the paper [1]_: implicit residual and maximum mean discrepancy.

    .. math:: w_{hj} \, E \big[u(x, t) - t L(v) - u(x - t v, 0)\big]^2
              + w_{mmd} \, \big[\mathrm{MMD}^2(T_\# \mu, \nu)
              + \mathrm{MMD}^2(T^{-1}_\# \nu, \mu)\big],
              \qquad v = \nabla H(\nabla u(x, t))

    with x uniform on segments between a source row and a target row, t uniform in
    [0, 1]. With ``class_conditional="shared"`` the discrepancy is that of every class.

    Parameters
    ----------
    hj_weight : float, default=1.0
        Weight of the squared implicit residual
        (:func:`~sk_ncf.objectives.implicit_residual`).
    mmd_weight : float or "auto", default="auto"
        Weight of the discrepancy (:func:`~sk_ncf.objectives.mmd`); "auto": 10, with
        classes 30.
    kernel : {"energy", "gaussian", "laplace"}, default="energy"
        Kernel of the discrepancy; the last two are sums over four bandwidths.

    References
    ----------
    .. [1] Y. Park, S. Liu, M. Zhou, S. Osher, "Neural Hamilton-Jacobi Characteristic
       Flows for Optimal Transport", ICLR 2026. https://arxiv.org/abs/2510.01153
    """

    allows_shared_map = True

    def __init__(self, *, hj_weight=1.0, mmd_weight="auto", kernel="energy"):
        self.hj_weight = hj_weight
        self.mmd_weight = mmd_weight
        self.kernel = kernel

    def resolved(self, class_conditional: bool) -> "MMD":
        """A copy in which every weight "auto" is a number.

        If one map serves several classes, nothing but the discrepancy tells it where
        the rows of each class belong.
        """
        objective = super().resolved(class_conditional)
        if objective.mmd_weight == "auto":
            objective.mmd_weight = 30.0 if class_conditional else 10.0
        return objective

    def terms(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The two terms of the paper."""
        between = x + t.unsqueeze(-1) * (y - x)
        n_potentials = flow.potential.n_classes
        between, t, from_x, to_y = (
            z.reshape(n_potentials, -1, *z.shape[2:]) for z in (between, t, x, y)
        )
        residual = implicit_residual(flow, between, t)
        heads, feet = flow.head(from_x).view_as(x), flow.foot(to_y).view_as(y)
        return {
            "hj": residual.square().mean(-1),
            "mmd": mmd_both_ways(x, y, heads, feet, self.kernel),
        }
