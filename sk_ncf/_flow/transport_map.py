"""The fitted map on arrays: chunks of rows in, mapped rows out."""

import copy

import numpy as np
import torch

from sk_ncf._inputs.errors import check_finite

__all__ = ["TransportMap", "discrete_dual_lower_bound"]


class TransportMap:
    r"""A flow and its changes of variables, as functions of NumPy rows.

    A row x far outside those of the fit is moved like the nearest one that the fit knows
    of, :math:`T(x) = T(\pi(x)) + x - \pi(x)` in the network's variables, with
    :math:`\pi` the projection towards the mean onto a ball somewhat larger than they
    fill: far out, the map goes on as the one that training starts from.

    Rows are mapped by the flow of their class, `codes` of shape (n,); None is class 0.

    Rows of float32 are mapped in float32 (after centring in float64), all others in
    float64; the result has the type of the input.

    Parameters
    ----------
    flow : CharacteristicFlow
    preconditioners : list of Preconditioner
        Of every class.
    device : str or torch.device, default="cpu"
    chunk_size : int, default=8192
        Rows mapped at a time: what bounds the memory.
    """

    def __init__(self, flow, preconditioners, device="cpu", chunk_size=8192):
        self.flow = flow
        self.preconditioners = preconditioners
        self.device = torch.device(device)
        self.chunk_size = chunk_size

    def forward(self, X, codes=None):
        """T(x), shape (n, d)."""
        return self._mapped(X, codes, "source", "target", lambda f, x: f.head(x))

    def inverse(self, X, codes=None, refinements=3):
        """T^-1(y), shape (n, d)."""
        return self._mapped(
            X, codes, "target", "source", lambda f, y: f.inverse(y, refinements)
        )

    def source_potential(self, X, codes=None):
        """u(x, 0) in the units of the cost, shape (n,)."""
        return self._potential(X, codes, "source", 0.0)

    def target_potential(self, X, codes=None):
        """u(y, 1) in the units of the cost, shape (n,)."""
        return self._potential(X, codes, "target", 1.0)

    def cost(self, X, Y):
        """c(x, y) row by row, in float64, shape (n,)."""
        x, y = (torch.from_numpy(Z.astype(np.float64)) for Z in (X, Y))
        with torch.no_grad():
            cost = self.preconditioners[0].original_cost(x, y).numpy()
        return check_finite(cost, "The cost")

    def held_out_dual(self, X, Y, k=0):
        r"""Held-out estimate of the dual value of class k, -J in the units of the cost.

        With :math:`c = \lambda c' + \alpha(x) + \beta(y)` between the variables,
        :math:`J = \lambda J' - E \alpha(x) - E \beta(y)`. Rows far outside those of the
        fit are left out: each of them could decide it.
        """
        frame, flow = self.preconditioners[k], self._flow(np.float64, k)
        X, Y = _near_rows(X, frame.source), _near_rows(Y, frame.target)
        sources, minima = [], []
        for X_part in self._chunks(X):
            x = self._tensor(frame.source.forward(X_part), np.float64)
            sources.append(flow.potential(x, x.new_zeros(x.shape[:-1])).detach())
        for Y_part in self._chunks(Y):
            y = self._tensor(frame.target.forward(Y_part), np.float64)
            with torch.no_grad():
                minima.append(flow.hopf_lax(y, 12)[1])
        source, minimum = torch.cat(sources, -1).mean(), torch.cat(minima, -1).mean()
        offsets = frame.offsets(X, frame.source, -1.0).mean()
        offsets += frame.offsets(Y, frame.target, 1.0).mean()
        dual = float(frame.unit * (minimum - source).item() + offsets)
        return check_finite(dual, "The dual value")

    def _mapped(self, X, codes, enter, leave, function):
        out = np.empty_like(X, order="C")
        for frame, flow, places in self._by_class(X, codes, X.dtype):
            enter_, leave_ = getattr(frame, enter), getattr(frame, leave)
            for at in self._chunks(places):
                rows = enter_.forward(X[at])
                near = enter_.clipped(rows)
                with torch.no_grad():
                    mapped = function(flow, self._tensor(near, X.dtype))[0]
                mapped = mapped.cpu().double().numpy()
                with np.errstate(over="ignore", invalid="ignore"):
                    out[at] = leave_.inverse(
                        mapped if near is rows else mapped + (rows - near)
                    )
        return check_finite(out, "The map")

    def _potential(self, X, codes, side, t):
        values = np.empty(len(X))
        for frame, flow, places in self._by_class(X, codes, np.float64):
            for at in self._chunks(places):
                rows = getattr(frame, side).forward(X[at])
                near = getattr(frame, side).clipped(rows)
                x = self._tensor(near, np.float64)
                time = torch.full_like(x[..., 0], t)
                with torch.no_grad():
                    u, p = flow.potential.value_and_gradient(x, time)
                u, p = (z[0].cpu().double().numpy() for z in (u, p))
                if near is not rows:  # it goes on along its tangent
                    u = u + np.einsum("ij,ij->i", p, rows - near)
                values[at] = getattr(frame, f"{side}_potential")(X[at], u)
        return check_finite(values, "The potential")

    def _by_class(self, X, codes, dtype):
        """Change of variables, flow and places of the rows of every class there is."""
        if codes is None:
            yield self.preconditioners[0], self._flow(dtype), range(len(X))
            return
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        for k, places in zip(present, np.split(order, starts)[1:], strict=True):
            yield self.preconditioners[k], self._flow(dtype, k), places

    def _flow(self, dtype, k=0):
        """A copy in the type of the rows: the fitted flow itself is never touched."""
        flow = copy.deepcopy(self.flow.of_class(k))
        return flow.to(self.device, self._torch_dtype(dtype))

    def _tensor(self, rows, dtype):
        rows = torch.from_numpy(np.ascontiguousarray(rows))[None]
        return rows.to(self.device, self._torch_dtype(dtype))

    def _torch_dtype(self, dtype):
        single = dtype == np.float32 or self.device.type == "mps"
        return torch.float32 if single else torch.float64

    def _chunks(self, X):
        """Parts of rows or of places; of a range, slices."""
        size = self.chunk_size
        for start in range(0, len(X), size):
            part = X[start : start + size]
            yield slice(part.start, part.stop) if isinstance(part, range) else part


def _near_rows(X, side):
    """The rows that are not far from those of the fit; all, if there are no others."""
    far = side.is_far(X)
    return X if far.all() or not far.any() else X[~far]


def discrete_dual_lower_bound(cost, X, Y, f, chunk_size=1024):
    r"""A lower bound of the optimal transport cost between the rows themselves.

    From any f, two c-transforms over the rows,

    .. math:: g_j = \min_i c(x_i, y_j) - f_i, \qquad f_i = \min_j c(x_i, y_j) - g_j,

    give a feasible pair :math:`f_i + g_j \le c(x_i, y_j)`, hence
    :math:`\bar f + \bar g \le \mathrm{OT}(X, Y)` by weak duality (Villani, Optimal
    transport: old and new, 2009, Theorem 5.10).
    """
    centre = X.mean(axis=0, dtype=np.float64)
    x, y = (torch.from_numpy(Z.astype(np.float64) - centre) for Z in (X, Y))
    f = torch.from_numpy(np.asarray(f, dtype=np.float64))

    def target_transform(f):
        parts = (cost.pairwise(x, part) for part in y.split(chunk_size))
        return torch.cat([(c - f.unsqueeze(-1)).amin(0) for c in parts])

    def source_transform(g):
        parts = (cost.pairwise(part, y) for part in x.split(chunk_size))
        return torch.cat([(c - g).amin(-1) for c in parts])

    with torch.no_grad():
        g = target_transform(f)
        f = source_transform(g)
        return check_finite(float(f.mean() + g.mean()), "The dual value")
