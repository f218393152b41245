r"""Dual values of a discrete potential, by Sinkhorn's updates and Newton's method.

The entropic dual problem

.. math:: \max_g D(g) = \sum_i a_i f_i(g) + \sum_j b_j g_j, \qquad
          f_i(g) = -\varepsilon \log \sum_j b_j e^{(g_j - c(x_i, y_j)) / \varepsilon}

is concave. Its gradient is :math:`b - \hat b`, where :math:`\hat b` is the weight that
the target rows receive. Sinkhorn's update, :math:`\varepsilon \log(b_j / \hat b_j)`, takes
thousands of steps for a small epsilon if weight has to move between clusters. Newton's
step takes a few. The Hessian is sparse for a small epsilon, because every source row then
sends its weight to few target rows (Tang et al., Accelerating Sinkhorn algorithm with
sparse Newton iterations, 2024). Epsilon decreases to its value in steps.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from sk_ncf._flow.discrete_potential import DiscretePotential
from sk_ncf.costs import Cost, SquaredEuclidean

__all__ = ["fit_discrete_potential"]

EPSILON = 5e-4  # in units of the variance of the rows
NEAREST = 5.0  # upper bound of epsilon, in units of squared distances of nearest rows
LEAST_EPSILON = 2e-6  # lower bound of epsilon, in units of the variance
NEAR = 2.0  # times as large is the epsilon from which all rows are used
COARSE_ROWS = 1024  # of each sample; enough for a larger epsilon
N_STEPS = 4  # at most, at every epsilon but the last
NEARLY = 0.005  # error at every epsilon but the last
MAX_STEPS = 12  # at the last epsilon
LARGEST_STEP = 3.0  # of a dual value, in units of epsilon
SHARE_OF_ERROR = 0.03  # of the sampling error of a weight is the final error
SPARSE = 0.2  # Newton's method is used if epsilon is smaller, in units of the variance
LEAST_SHARE = 5e-4  # of a target row in the weight of a source row, in the Hessian
RIDGE = 1e-3  # added to the Hessian, in units of the weights of the target rows
FACTOR = 0.02  # of epsilon in the map, which then averages over few rows
REPEATED_FACTOR = 1e-3  # the same if values repeat: a mean of them would be a new value
HEAVY = 4.0  # times the mean weight is that of a repeated row
REPEATED = 0.02  # share of the weight in such rows, from which values repeat
SOME_ROWS = 512  # whose costs give the first epsilon, and the last one
KEPT_COSTS = 2**24  # at most, of pairs of rows: 128 MiB


def fit_discrete_potential(
    x: Tensor,
    y: Tensor,
    weight_x: Tensor,
    weight_y: Tensor,
    cost: Cost,
) -> DiscretePotential:
    """The discrete potential of two weighted samples.

    Memory is that of some blocks of pairs of rows. For costs that are not quadratic, the
    costs of all pairs are kept if they are at most `KEPT_COSTS`, because their powers take
    most of the time.

    Parameters
    ----------
    x, y : Tensor of shape (n, d) and (m, d)
        Distinct rows in the network's variables.
    weight_x, weight_y : Tensor of shape (n,) and (m,)
        Positive weights that sum to one.
    cost : Cost
        Between these rows, of one class.
    """
    potential = DiscretePotential(
        x[None],
        y[None],
        weight_x.log()[None],
        weight_y.log()[None],
        torch.zeros_like(weight_x)[None],
        torch.zeros_like(weight_y)[None],
        x.new_ones(1),
        cost,
    )
    some_x, some_y = _some(x), _some(y)
    variance = (_variance(some_x) + _variance(some_y)) / 2 or 1.0
    last = min(EPSILON * variance, NEAREST * min(_nearest(x), _nearest(y)))
    last = max(last, LEAST_EPSILON * variance)
    first = float(cost.pairwise(some_x, some_y).mean())
    n_levels = max(1, math.ceil(math.log2(max(first, variance) / last)))
    levels = [last * 2**k for k in reversed(range(n_levels))]
    sparse = SPARSE * variance
    if min(len(x), len(y)) > COARSE_ROWS:
        few, error = _quantised(potential)
        coarse = [level for level in levels if level > max(NEAR * last, error)]
        if coarse:
            _ascend(few, coarse, sparse)
            potential.g = few(y[None], y.new_ones(()))
        levels = levels[len(coarse) :]
    _ascend(potential, levels, sparse)
    repeated = max(_heavy_share(weight_x), _heavy_share(weight_y)) > REPEATED
    potential.epsilon = (REPEATED_FACTOR if repeated else FACTOR) * potential.epsilon
    return potential


def _heavy_share(weight: Tensor) -> float:
    """Share of the weight in rows that are much heavier than the mean."""
    return float(weight[weight > HEAVY / len(weight)].sum())


def _quantised(potential: DiscretePotential) -> tuple[DiscretePotential, float]:
    """A problem of about `COARSE_ROWS` rows of each sample, and its squared error.

    They have the weights of the rows nearest to them. The error is the larger mean
    squared distance of a row to the nearest of them.
    """
    (x, log_a, error_x), (y, log_b, error_y) = (
        _nearest_rows(potential.x[0], potential.log_a[0]),
        _nearest_rows(potential.y[0], potential.log_b[0]),
    )
    zeros = torch.zeros_like(log_a), torch.zeros_like(log_b)
    epsilon, cost = potential.epsilon, potential.cost
    few = DiscretePotential(x, y, log_a, log_b, *zeros, epsilon, cost)
    return few, max(error_x, error_y)


def _nearest_rows(rows: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor, float]:
    """Some rows [1, n', d], the logarithms of their weights, and the error."""
    some = rows[:: -(-len(rows) // COARSE_ROWS)]
    found = [torch.cdist(part, some).min(-1) for part in rows.split(256)]
    nearest = torch.cat([part.indices for part in found])
    error = float(torch.cat([part.values for part in found]).square().mean())
    weight = torch.zeros_like(some[:, 0]).index_add(0, nearest, log_weight.exp())
    kept = weight > 0
    return some[kept][None], weight[kept].log()[None], error


def _some(rows: Tensor) -> Tensor:
    return rows[:: -(-len(rows) // SOME_ROWS)]


def _nearest(rows: Tensor) -> float:
    """Lower quartile of the squared distance of a row to the nearest other row.

    Where many rows lie close together (values that nearly repeat, a sharp peak beside a
    heavy tail), it is far smaller than the variance.
    """
    if len(rows) < 2:
        return math.inf
    some = _some(rows)
    distance = torch.cdist(some, rows)
    own = torch.arange(len(some))
    distance[own, own * -(-len(rows) // SOME_ROWS)] = math.inf
    return float(distance.amin(-1).square().quantile(0.25))


def _variance(rows: Tensor) -> float:
    """Half the median squared distance of two rows; half the mean if that is zero."""
    squared = torch.cdist(rows, rows).square()
    return float(squared.median() or squared.mean()) / 2


@torch.no_grad()
def _ascend(potential: DiscretePotential, levels: list[float], sparse: float) -> None:
    """Maximise D, for a decreasing epsilon; sets the dual values of the potential."""
    size = 1 / float((2 * potential.log_b).exp().sum())
    size = min(size, 1 / float((2 * potential.log_a).exp().sum()))
    tolerance = SHARE_OF_ERROR / np.sqrt(size)
    costs = _kept_costs(potential)
    for level in levels:
        potential.epsilon = torch.full_like(potential.epsilon, level)
        problem = _DualProblem(potential, costs, newton=level < sparse)
        state = problem.state(potential.g)
        is_last = level == levels[-1]
        for _ in range(MAX_STEPS if is_last else N_STEPS):
            if state.error <= (tolerance if is_last else max(tolerance, NEARLY)):
                break
            state = problem.improved(state)
        potential.f, potential.g = state.f, state.g


def _kept_costs(potential: DiscretePotential) -> list[Tensor | None]:
    """Costs of every block of source rows and all target rows, or None for each."""
    parts = potential.blocks(potential.x, end=False)
    n_pairs = potential.x.shape[1] * potential.y.shape[1]
    if n_pairs > KEPT_COSTS or isinstance(potential.cost, SquaredEuclidean):
        return [None] * len(parts)
    return [potential.pair_costs(part, end=False) for part in parts]


class _State(NamedTuple):
    """The dual problem at g."""

    g: Tensor  # [1, m]
    f: Tensor  # [1, n]
    dual: float  # D(g)
    received: np.ndarray  # weight that every target row receives, (m,)
    error: float  # weight that the wrong target rows receive
    share: csr_array | None  # of target rows in the weight of source rows, (n, m)


class _DualProblem:
    """D at the present epsilon of a potential."""

    def __init__(
        self, potential: DiscretePotential, costs: list[Tensor | None], newton: bool
    ) -> None:
        self.potential, self.costs, self.newton = potential, costs, newton
        self.a, self.b = (
            w[0].exp().double().cpu().numpy()
            for w in (potential.log_a, potential.log_b)
        )

    def state(self, g: Tensor) -> _State:
        """One pass over all pairs of rows."""
        self.potential.g = g
        values, received, entries = [], torch.zeros_like(g[0]), []
        weights = self.potential.log_a[0].exp()
        start = 0
        parts = self.potential.blocks(self.potential.x, end=False)
        for part, cost in zip(parts, self.costs, strict=True):
            u, share = self.potential.soft_minimum(part, False, cost)
            values.append(-u)
            stop = start + part.shape[1]
            received += weights[start:stop] @ share[0]
            if self.newton:
                i, j = (share[0] > LEAST_SHARE).nonzero(as_tuple=True)
                entries.append((i + start, j, share[0, i, j]))
            start = stop
        f = torch.cat(values, -1)
        to_target = received.double().cpu().numpy()
        dual = float(self.a @ _numpy(f[0]) + self.b @ _numpy(g[0]))
        error = float(np.abs(to_target - self.b).sum()) / 2
        return _State(g, f, dual, to_target, error, self._matrix(entries))

    def _matrix(self, entries: list[tuple[Tensor, Tensor, Tensor]]) -> csr_array | None:
        """The shares that are not small, with rows that sum to one."""
        if not entries:
            return None
        i, j, share = (_numpy(torch.cat(part)) for part in zip(*entries, strict=True))
        shape = len(self.a), len(self.b)
        totals = np.bincount(i, share, minlength=shape[0])
        return csr_array((share / totals[i], (i, j)), shape=shape)

    def improved(self, state: _State) -> _State:
        """The state after a step of Sinkhorn's and, if D is larger then, Newton's.

        The first corrects the weights of single rows, the second those of clusters.
        """
        with np.errstate(divide="ignore"):
            step = np.log(self.b / state.received)
        state = self.state(self._moved(state, step.clip(-50, 50)))
        if state.share is None:
            return state
        step = self._newton_step(state).clip(-LARGEST_STEP, LARGEST_STEP)
        new = self.state(self._moved(state, step))
        return new if new.dual > state.dual else state

    def _moved(self, state: _State, step: np.ndarray) -> Tensor:
        """g after a step in units of epsilon."""
        return state.g + self.potential.epsilon * torch.from_numpy(step).to(state.g)

    def _newton_step(self, state: _State) -> np.ndarray:
        """The solution of (diag(b') - S' diag(a) S) step = b - b', for the shares S."""
        share = state.share
        assert share is not None
        weighted = share.T.multiply(self.a).tocsr()
        received = weighted.sum(axis=1)
        diagonal = np.maximum(received, self.b / 2) + RIDGE * self.b
        shape = (len(self.b), len(self.b))
        hessian = LinearOperator(
            shape, matvec=lambda v: diagonal * v - weighted @ (share @ v), dtype=float
        )
        inverse = LinearOperator(shape, matvec=lambda v: v / diagonal, dtype=float)
        residual = self.b - state.received
        step, _ = cg(hessian, residual, rtol=1e-3, maxiter=300, M=inverse)
        return np.asarray(step - self.b @ step)


def _numpy(values: Tensor) -> np.ndarray:
    values = values.double() if values.is_floating_point() else values
    array: np.ndarray = values.cpu().numpy()
    return array
