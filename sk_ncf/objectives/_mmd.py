"""The objective of the NCF paper."""

from typing import Literal

from torch import Tensor

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import KernelName, bidirectional_mmd
from sk_ncf.objectives._losses import implicit_residual

__all__ = ["MMD"]


class MMD(Objective):
    r"""The objective of the paper [1]_: implicit residual and maximum mean discrepancy.

    .. math:: w_{hj} \, E \big[u(x, t) - t L(v) - u(x - t v, 0)\big]^2
              + w_{mmd} \, \big[\mathrm{MMD}^2(T_\# \mu, \nu)
              + \mathrm{MMD}^2(T^{-1}_\# \nu, \mu)\big],
              \qquad v = \nabla H(\nabla u(x, t))

    The first term is taken at :math:`(1 - t) x + t y`, for a random pair (x, y) of
    samples and t uniform in [0, 1]. With ``class_conditional="shared"`` the
    discrepancy is averaged over the classes.

    Parameters
    ----------
    hj_weight : float, default=1.0
        Weight of the squared implicit residual
        (:func:`~sk_ncf.objectives.implicit_residual`).
    mmd_weight : float or "auto", default="auto"
        Weight of the discrepancy (:func:`~sk_ncf.objectives.mmd`). "auto": 10, and 30
        with classes.
    kernel : {"energy", "gaussian", "laplace"}, default="energy"
        Kernel of the discrepancy; the last two are sums over four bandwidths.

    References
    ----------
    .. [1] Y. Park, S. Liu, M. Zhou, S. Osher, "Neural Hamilton-Jacobi Characteristic
       Flows for Optimal Transport", ICLR 2026. https://arxiv.org/abs/2510.01153
    """

    allows_shared_map = True
    # Only the discrepancy tells a shared map where the samples of each class belong.
    auto_weights = {"mmd_weight": (10.0, 30.0)}

    def __init__(
        self,
        *,
        hj_weight: float = 1.0,
        mmd_weight: float | Literal["auto"] = "auto",
        kernel: KernelName = "energy",
    ) -> None:
        self.hj_weight = hj_weight
        self.mmd_weight = mmd_weight
        self.kernel = kernel

    def terms(
        self, flow: CharacteristicFlow, x: Tensor, y: Tensor, t: Tensor
    ) -> dict[str, Tensor]:
        """The two terms of the paper, each of shape [K]."""
        x_t = x + t.unsqueeze(-1) * (y - x)
        # One potential may serve several classes: their samples are then concatenated.
        n_potentials = flow.potential.n_potentials
        x_t, t, all_x, all_y = (
            z.reshape(n_potentials, -1, *z.shape[2:]) for z in (x_t, t, x, y)
        )
        residual = implicit_residual(flow, x_t, t)
        heads, feet = flow.head(all_x).view_as(x), flow.foot(all_y).view_as(y)
        return {
            "hj": residual.square().mean(-1),
            "mmd": bidirectional_mmd(x, y, heads, feet, self.kernel),
        }
