"""The fitted map as a function of NumPy arrays."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.characteristics import INVERSE_STEPS, CharacteristicFlow
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._inputs.errors import check_finite
from sk_ncf.costs import Cost

__all__ = ["TransportMap", "discrete_dual_lower_bound"]

Side = Literal["source", "target"]
Rows = slice | np.ndarray  # an index of some rows


class TransportMap:
    r"""A flow and its changes of variables, as functions of NumPy arrays.

    A row x outside the training rows is displaced like the nearest row that the fit can
    map: :math:`T(x) = T(\pi(x)) + x - \pi(x)` in the network's variables, where
    :math:`\pi` projects onto a ball around the mean, somewhat larger than that of the
    training rows. So the map continues like the initial map. A value that may be a code of
    a missing value (:mod:`~sk_ncf._samples.missing_codes`) is replaced by the mean before,
    and the mapped row is then shifted by the difference.

    `codes` of shape (n,) gives the class of each row. None means class 0.

    Arrays of float32 are mapped in float32 (after centring in float64), all others in
    float64. The result has the dtype of the input.

    Parameters
    ----------
    flow : CharacteristicFlow
        Of all classes.
    preconditioners : sequence of Preconditioner
        One for every class.
    device : str or torch.device, default="cpu"
    chunk_size : int, default=8192
        Number of rows mapped at a time, which limits the memory.
    """

    def __init__(
        self,
        flow: CharacteristicFlow,
        preconditioners: Sequence[Preconditioner],
        device: str | torch.device = "cpu",
        chunk_size: int = 8192,
    ) -> None:
        self.flow = flow
        self.preconditioners = preconditioners
        self.device = torch.device(device)
        self.chunk_size = chunk_size

    def forward(self, X: np.ndarray, codes: np.ndarray | None = None) -> np.ndarray:
        """T(x), shape (n, d)."""
        return self._map(X, codes, "source", "target", lambda flow, x: flow.head(x))

    def inverse(self, X: np.ndarray, codes: np.ndarray | None = None) -> np.ndarray:
        """T^-1(y), shape (n, d)."""
        return self._map(
            X, codes, "target", "source", lambda flow, y: flow.inverse(y, INVERSE_STEPS)
        )

    def source_potential(
        self, X: np.ndarray, codes: np.ndarray | None = None
    ) -> np.ndarray:
        """u(x, 0) in the units of the cost, shape (n,)."""
        return self._potential(X, codes, "source", 0.0)

    def target_potential(
        self, X: np.ndarray, codes: np.ndarray | None = None
    ) -> np.ndarray:
        """u(y, 1) in the units of the cost, shape (n,)."""
        return self._potential(X, codes, "target", 1.0)

    def cost(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """c(x, y) for each pair of rows, computed in float64, shape (n,)."""
        x, y = (torch.from_numpy(Z.astype(np.float64)) for Z in (X, Y))
        with torch.no_grad():
            cost = self.preconditioners[0].original_cost(x, y).numpy()
        return check_finite(cost, "The cost")

    def held_out_dual(self, X: np.ndarray, Y: np.ndarray, k: int = 0) -> float:
        r"""Estimate of the dual value of class k, -J, in the units of the cost.

        It is a held-out estimate if the samples were not used in training. With
        :math:`c = \lambda c' + \alpha(x) + \beta(y)` between the two sets of variables,
        :math:`J = \lambda J' - E \alpha(x) - E \beta(y)`.

        Parameters
        ----------
        X, Y : ndarray of shape (n, d) and (m, d)
        k : int, default=0
        """
        frame, flow = self.preconditioners[k], self._flow(np.float64, k)
        X, Y = _near_rows(X, frame.source), _near_rows(Y, frame.target)
        sources, minima = [], []
        for rows in self._chunks(len(X)):
            x = self._tensor(frame.source.forward(X[rows]), np.float64)
            sources.append(flow.potential(x, x.new_zeros(x.shape[:-1])).detach())
        for rows in self._chunks(len(Y)):
            y = self._tensor(frame.target.forward(Y[rows]), np.float64)
            with torch.no_grad():
                minima.append(flow.hopf_lax_minimum(y).minimum)
        source, minimum = torch.cat(sources, -1).mean(), torch.cat(minima, -1).mean()
        offsets = frame.offsets(X, frame.source, -1.0).mean()
        offsets += frame.offsets(Y, frame.target, 1.0).mean()
        dual = float(frame.unit * (minimum - source).item() + offsets)
        return check_finite(dual, "The dual value")

    def _map(
        self,
        X: np.ndarray,
        codes: np.ndarray | None,
        from_side: Side,
        to_side: Side,
        function: Callable[[CharacteristicFlow, Tensor], Tensor],
    ) -> np.ndarray:
        out = np.empty_like(X, order="C")
        for frame, flow, rows in self._by_class(len(X), codes, X.dtype):
            before, after = getattr(frame, from_side), getattr(frame, to_side)
            plane = frame.plane
            part = X[rows]
            inside = before.imputed(part)
            in_plane = inside if plane is None else plane.project(inside, from_side)
            x = before.forward(in_plane)
            near = before.clipped(x)
            with torch.no_grad():
                z = function(flow, self._tensor(near, X.dtype))[0]
            mapped = z.cpu().double().numpy()
            with np.errstate(over="ignore", invalid="ignore"):
                mapped = after.inverse(mapped if near is x else mapped + (x - near))
                if plane is not None:
                    mapped = plane.restore_offset(mapped, inside, from_side, to_side)
                if inside is not part:
                    mapped = mapped + (part - inside)
                out[rows] = mapped
        return check_finite(out, "The map")

    def _potential(
        self, X: np.ndarray, codes: np.ndarray | None, side: Side, t: float
    ) -> np.ndarray:
        values = np.empty(len(X))
        for frame, flow, rows in self._by_class(len(X), codes, np.float64):
            x = getattr(frame, side).forward(X[rows])
            near = getattr(frame, side).clipped(x)
            z = self._tensor(near, np.float64)
            with torch.no_grad():
                values_at, p = flow.potential.value_and_gradient(
                    z, torch.full_like(z[..., 0], t)
                )
            u = values_at[0].cpu().double().numpy()
            if near is not x:  # linear extrapolation
                gradient = p[0].cpu().double().numpy()
                u = u + np.einsum("ij,ij->i", gradient, x - near)
            values[rows] = getattr(frame, f"{side}_potential")(X[rows], u)
        return check_finite(values, "The potential")

    def _by_class(
        self, n_rows: int, codes: np.ndarray | None, dtype: DTypeLike
    ) -> Iterator[tuple[Preconditioner, CharacteristicFlow, Rows]]:
        """Chunks of rows of one class, with its change of variables and its flow."""
        if codes is None:
            flow = self._flow(dtype)
            for rows in self._chunks(n_rows):
                yield self.preconditioners[0], flow, rows
            return
        order = np.argsort(codes, kind="stable")
        present, starts = np.unique(codes[order], return_index=True)
        for k, of_class in zip(present, np.split(order, starts)[1:], strict=True):
            flow = self._flow(dtype, k)
            for rows in self._chunks(len(of_class)):
                yield self.preconditioners[k], flow, of_class[rows]

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        for start in range(0, n_rows, self.chunk_size):
            yield slice(start, min(start + self.chunk_size, n_rows))

    def _flow(self, dtype: DTypeLike, k: int = 0) -> CharacteristicFlow:
        """A copy of the flow of class k in a dtype; the fitted flow is not changed."""
        flow = copy.deepcopy(self.flow.select_class(k))
        return flow.to(self.device, self._torch_dtype(dtype))

    def _tensor(self, rows: np.ndarray, dtype: DTypeLike) -> Tensor:
        """Rows (n, d) as a tensor [1, n, d]."""
        tensor = torch.from_numpy(np.ascontiguousarray(rows))[None]
        return tensor.to(self.device, self._torch_dtype(dtype))

    def _torch_dtype(self, dtype: DTypeLike) -> torch.dtype:
        single = dtype == np.float32 or self.device.type == "mps"
        return torch.float32 if single else torch.float64


def _near_rows(X: np.ndarray, side: AffineMap) -> np.ndarray:
    """The rows that are not far outside the training rows; all rows if all are far."""
    far = side.is_far(X)
    return X if far.all() or not far.any() else X[~far]


def discrete_dual_lower_bound(
    cost: Cost, X: np.ndarray, Y: np.ndarray, f: np.ndarray, chunk_size: int = 1024
) -> float:
    r"""A lower bound of the optimal transport cost between two samples.

    Two c-transforms over the samples,

    .. math:: g_j = \min_i c(x_i, y_j) - f_i, \qquad f_i = \min_j c(x_i, y_j) - g_j,

    turn any f into a feasible pair :math:`f_i + g_j \le c(x_i, y_j)`. By weak duality
    :math:`\bar f + \bar g \le \mathrm{OT}(X, Y)` (Villani, Optimal transport: old and
    new, 2009, Theorem 5.10).

    Parameters
    ----------
    cost : Cost
    X, Y : ndarray of shape (n, d) and (m, d)
    f : ndarray of shape (n,)
        Any function of the rows of X.
    chunk_size : int, default=1024
        Number of columns, or rows, of the cost matrix that are computed at a time.
    """
    centre = X.mean(axis=0, dtype=np.float64)
    x, y = (torch.from_numpy(Z.astype(np.float64) - centre) for Z in (X, Y))
    f_x = torch.from_numpy(np.asarray(f, dtype=np.float64))

    def transform_to_target(f: Tensor) -> Tensor:
        parts = (cost.pairwise(x, part) for part in y.split(chunk_size))
        return torch.cat([(c - f.unsqueeze(-1)).amin(0) for c in parts])

    def transform_to_source(g: Tensor) -> Tensor:
        parts = (cost.pairwise(part, y) for part in x.split(chunk_size))
        return torch.cat([(c - g).amin(-1) for c in parts])

    with torch.no_grad():
        g_y = transform_to_target(f_x)
        f_x = transform_to_source(g_y)
        return check_finite(float(f_x.mean() + g_y.mean()), "The dual value")
