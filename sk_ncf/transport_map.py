"""The fitted map on arrays: chunks of rows in, mapped rows out."""

import copy

import numpy as np
import torch

__all__ = ["TransportMap", "discrete_dual_value"]


class TransportMap:
    """A flow and its change of variables, as functions of NumPy rows.

    Rows of float32 are mapped in float32 (after centring in float64), all others in
    float64; the result has the type of the input.

    Parameters
    ----------
    flow : CharacteristicFlow
    preconditioner : Preconditioner
    device : str or torch.device, default="cpu"
    chunk_size : int, default=8192
        Rows mapped at a time: what bounds the memory.
    """

    def __init__(self, flow, preconditioner, device="cpu", chunk_size=8192):
        self.flow = flow
        self.preconditioner = preconditioner
        self.device = torch.device(device)
        self.chunk_size = chunk_size

    def forward(self, X):
        """T(x), shape (n, d)."""
        frame = self.preconditioner
        return self._mapped(X, frame.source, frame.target, lambda f, x: f.head(x))

    def inverse(self, X, refinements=3):
        """T^-1(y), shape (n, d)."""
        frame = self.preconditioner
        return self._mapped(
            X, frame.target, frame.source, lambda f, y: f.inverse(y, refinements)
        )

    def source_potential(self, X):
        """u(x, 0) in the units of the cost, shape (n,)."""
        frame = self.preconditioner
        return frame.source_potential(X, self._potential(X, frame.source, 0.0))

    def target_potential(self, X):
        """u(y, 1) in the units of the cost, shape (n,)."""
        frame = self.preconditioner
        return frame.target_potential(X, self._potential(X, frame.target, 1.0))

    def cost(self, X, Y):
        """c(x, y) row by row, in float64, shape (n,)."""
        x, y = (torch.from_numpy(Z.astype(np.float64)) for Z in (X, Y))
        with torch.no_grad():
            return self.preconditioner.original_cost(x, y).numpy()

    def held_out_dual(self, X, Y):
        r"""Held-out estimate of the dual value, -J in the units of the cost.

        With :math:`c = \lambda c' + \alpha(x) + \beta(y)` between the variables,
        :math:`J = \lambda J' - E \alpha(x) - E \beta(y)`.
        """
        frame, flow = self.preconditioner, self._flow(np.float64)
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
        return float(frame.unit * (minimum - source).item() + offsets)

    def _mapped(self, X, enter, leave, function):
        flow, out = self._flow(X.dtype), np.empty_like(X, order="C")
        start = 0
        for part in self._chunks(X):
            rows = self._tensor(enter.forward(part), X.dtype)
            with torch.no_grad():
                mapped = function(flow, rows)[0].double().cpu().numpy()
            out[start : start + len(part)] = leave.inverse(mapped)
            start += len(part)
        return out

    def _potential(self, X, side, t):
        flow = self._flow(np.float64)
        values = []
        for part in self._chunks(X):
            rows = self._tensor(side.forward(part), np.float64)
            u = flow.potential(rows, torch.full_like(rows[..., 0], t))
            values.append(u[0].detach().double().cpu().numpy())
        return np.concatenate(values)

    def _flow(self, dtype):
        """A copy in the type of the rows: the fitted flow itself is never touched."""
        return copy.deepcopy(self.flow).to(self.device, self._torch_dtype(dtype))

    def _tensor(self, rows, dtype):
        rows = torch.from_numpy(np.ascontiguousarray(rows))[None]
        return rows.to(self.device, self._torch_dtype(dtype))

    def _torch_dtype(self, dtype):
        single = dtype == np.float32 or self.device.type == "mps"
        return torch.float32 if single else torch.float64

    def _chunks(self, X):
        size = self.chunk_size
        return (X[start : start + size] for start in range(0, len(X), size))


def discrete_dual_value(cost, X, Y, f, chunk_size=1024):
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
        return float(f.mean() + g.mean())
