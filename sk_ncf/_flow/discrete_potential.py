r"""A discrete potential: the soft minimum over the rows of the other sample.

A smooth network bridges the kinks that u(., 0) has where the optimal map is
discontinuous, and some mapped rows end up between the clusters of the target. A discrete
potential has these kinks, because its map averages over nearby target rows only.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from sk_ncf._flow.potential import BasePotential
from sk_ncf.costs import Cost, SquaredEuclidean

__all__ = ["DiscretePotential"]

BUFFERS = ("x", "y", "log_a", "log_b", "f", "g", "epsilon")
# Pairs of a row and a kept row that are evaluated at a time. On a processor they fit its
# cache.
BLOCK_SIZE = 2**17
ACCELERATOR_BLOCK_SIZE = 2**25
NO_WEIGHT = -1e4  # logarithm of the weight of rows of weight 0, finite in float32
LEAST_LOGIT = -80.0  # of a share; exp is several times slower where it underflows
LEAST_SHARE = 1e-12  # kept rows with a smaller share in a mean momentum are left out


class DiscretePotential(BasePotential):
    r"""K potentials given by dual values of kept source rows and kept target rows.

    With kept rows :math:`x_i, y_j` of weights :math:`a_i, b_j`, dual values
    :math:`f_i, g_j` and the smoothing :math:`\varepsilon`,

    .. math:: u(x, 0) = \varepsilon \log \sum_j b_j e^{(g_j - c(x, y_j)) / \varepsilon},
              \quad
              u(y, 1) = -\varepsilon \log \sum_i a_i e^{(f_i - c(x_i, y)) / \varepsilon}.

    Their gradients are means of momenta,

    .. math:: \nabla u(x, 0) = \sum_j w_j(x) \nabla L(y_j - x), \quad
              \nabla u(y, 1) = \sum_i w_i(y) \nabla L(y - x_i),

    where the weights w are the shares of the terms in the sums above. So
    :math:`x + \nabla H(\nabla u(x, 0))` is the entropic map, for every cost (Pooladian
    and Niles-Weed, Entropic estimation of optimal transport maps, 2021).

    Rows are evaluated in blocks. No matrix of all pairs is held.

    Parameters
    ----------
    x, y : Tensor of shape [K, n, d] and [K, m, d]
        Kept source rows and target rows.
    log_a, log_b : Tensor of shape [K, n] and [K, m]
        Logarithms of their weights.
    f, g : Tensor of shape [K, n] and [K, m]
        Dual values.
    epsilon : Tensor of shape [K]
        In the units of the cost.
    cost : Cost
        Between rows in the network's variables.
    network : BasePotential, default=None
        The trained potential of the same fit, with which later training continues.
    """

    exact_inverse = True

    x: Tensor
    y: Tensor
    log_a: Tensor
    log_b: Tensor
    f: Tensor
    g: Tensor
    epsilon: Tensor

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        log_a: Tensor,
        log_b: Tensor,
        f: Tensor,
        g: Tensor,
        epsilon: Tensor,
        cost: Cost,
        network: BasePotential | None = None,
    ) -> None:
        super().__init__()
        self.cost, self.network = cost, network
        self.n_potentials = len(x)
        values = (x, y, log_a, log_b, f, g, epsilon)
        for name, value in zip(BUFFERS, values, strict=True):
            self.register_buffer(name, value)

    @classmethod
    def stack(
        cls,
        potentials: Sequence["DiscretePotential"],
        cost: Cost,
        network: BasePotential | None = None,
    ) -> "DiscretePotential":
        """One potential of K classes, from K potentials of one class.

        Rows of weight 0 fill up the classes with fewer rows.
        """
        n = max(p.x.shape[1] for p in potentials)
        m = max(p.y.shape[1] for p in potentials)
        lengths = {"x": n, "log_a": n, "f": n, "y": m, "log_b": m, "g": m, "epsilon": 1}
        stacked = {
            name: torch.cat(
                [_padded(getattr(p, name), lengths[name]) for p in potentials]
            )
            for name in BUFFERS
        }
        for name in ("log_a", "log_b"):
            for k, potential in enumerate(potentials):
                stacked[name][k, getattr(potential, name).shape[1] :] = NO_WEIGHT
        return cls(**stacked, cost=cost, network=network)

    def select_class(self, k: int) -> Self:
        """The potential of class k alone."""
        parts = {name: getattr(self, name)[k : k + 1] for name in BUFFERS}
        return type(self)(**parts, cost=self.cost.select_class(k))

    def value_and_gradient(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""u(x, t), shape [K, n], and :math:`p = \nabla u(x, t)`, shape [K, n, d].

        Parameters
        ----------
        x : Tensor of shape [K, n, d]
        t : Tensor, broadcast to shape [K, n]
            0 or 1. The potential is not defined between.
        """
        at_end = (t == 1).expand(x.shape[:-1])
        if not (at_end | (t == 0)).all():
            raise ValueError(f"a discrete potential needs t of 0 or 1, got {t}.")
        if at_end.all():
            return self._evaluate(x, end=True)
        u, p = self._evaluate(x, end=False)
        if not at_end.any():
            return u, p
        u_end, p_end = self._evaluate(x, end=True)
        return torch.where(at_end, u_end, u), torch.where(at_end[..., None], p_end, p)

    def _evaluate(self, rows: Tensor, end: bool) -> tuple[Tensor, Tensor]:
        """Value and gradient at t = 1 (`end`) or t = 0."""
        quadratic = isinstance(self.cost, SquaredEuclidean)
        momentum = self._quadratic_momentum if quadratic else self._momentum
        values, gradients = [], []
        for part in self.blocks(rows, end):
            value, share = self.soft_minimum(part, end)
            values.append(value)
            gradients.append(momentum(part, share, end))
        return torch.cat(values, -1), torch.cat(gradients, -2)

    def blocks(self, rows: Tensor, end: bool) -> tuple[Tensor, ...]:
        """Rows [K, n, d] in parts that are evaluated at a time."""
        kept = self.x if end else self.y
        size = BLOCK_SIZE if rows.device.type == "cpu" else ACCELERATOR_BLOCK_SIZE
        numbers = len(kept) * kept.shape[-2]
        if not isinstance(self.cost, SquaredEuclidean):
            numbers *= kept.shape[-1]
        return rows.split(max(1, size // numbers), -2)

    def pair_costs(self, rows: Tensor, end: bool) -> Tensor:
        """Costs of rows [K, n, d] and all kept rows of the other sample, [K, n, m]."""
        pairs = (self.x, rows) if end else (rows, self.y)
        cost = self.cost.pairwise(*pairs)
        return cost.mT if end else cost

    def soft_minimum(
        self, rows: Tensor, end: bool, cost: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """u at t = 1 (`end`) or t = 0, [K, n], and the shares w, [K, n, m].

        Parameters
        ----------
        rows : Tensor of shape [K, n, d]
            One of the :meth:`blocks`.
        end : bool
        cost : Tensor of shape [K, n, m], default=None
            Their :meth:`pair_costs`, if they are at hand. Quadratic costs need none.
        """
        kept, dual, log_weight = self.y, self.g, self.log_b
        if end:
            kept, dual, log_weight = self.x, self.f, self.log_a
        epsilon = self.epsilon.unsqueeze(-1)
        level = dual / epsilon + log_weight
        offset = torch.zeros_like(rows[..., 0])
        if isinstance(self.cost, SquaredEuclidean):  # without a difference of all pairs
            level = level - kept.square().sum(-1) / (2 * epsilon)
            scaled = rows / epsilon.unsqueeze(-1)
            logit = torch.baddbmm(level.unsqueeze(-2), scaled, kept.mT)
            offset = rows.square().sum(-1) / 2
        else:
            cost = self.pair_costs(rows, end) if cost is None else cost
            logit = level.unsqueeze(-2) - cost / epsilon.unsqueeze(-1)
        top = logit.amax(-1, keepdim=True)
        share = (logit - top).clamp_min(LEAST_LOGIT).exp()
        total = share.sum(-1, keepdim=True)
        u = epsilon * (top + total.log()).squeeze(-1) - offset
        return (-u if end else u), share / total

    def _quadratic_momentum(self, rows: Tensor, share: Tensor, end: bool) -> Tensor:
        return rows - share @ self.x if end else share @ self.y - rows

    def _momentum(self, rows: Tensor, share: Tensor, end: bool) -> Tensor:
        """The mean momentum, over the kept rows whose share counts."""
        kept = self.x if end else self.y
        gradients = []
        for k in range(len(rows)):
            i, j = (share[k] > LEAST_SHARE).nonzero(as_tuple=True)
            v = kept[k, j] - rows[k, i]
            momentum = self.cost.select_class(k).momentum(-v if end else v)
            part = share[k, i, j].unsqueeze(-1) * momentum
            gradients.append(torch.zeros_like(rows[k]).index_add(0, i, part))
        return torch.stack(gradients)


def _padded(values: Tensor, length: int) -> Tensor:
    """Values [1, n, ...] filled up to a length with the first one."""
    n = values.shape[1] if values.dim() > 1 else length
    if n == length:
        return values
    return torch.cat(
        [values, values[:, :1].expand(-1, length - n, *values.shape[2:])], 1
    )
