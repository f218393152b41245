"""Each term vanishes at the exact potential of every problem, and only there."""

import math

import numpy as np
import pytest
import torch
from problems import PROBLEMS
from scipy import stats
from scipy.spatial.distance import cdist

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import Potential
from sk_ncf._training.held_out_risk import held_out_risk
from sk_ncf.costs import Lp, SquaredEuclidean
from sk_ncf.objectives import _kernels as kernels
from sk_ncf.objectives import _losses as losses

pytestmark = pytest.mark.usefixtures("float64")
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
every_kernel = pytest.mark.parametrize("kernel", sorted(kernels.KERNELS))
ZERO = 1e-10


def _rows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _terms(problem, bend):
    """Every term that must vanish, on rows x and their images."""
    x, flow = problem.sample(), problem.flow(bend)
    y = problem.T(x)
    from_x, from_y = flow.characteristics(x, y)
    pairs = from_x.u.unsqueeze(-1) + problem.cost.pairwise(x, y)
    t = torch.rand(x.shape[:-1])
    return {
        "implicit": losses.implicit_residual(flow, x, t).square().mean(-1),
        "hj": losses.hj_residual(from_x, from_y),
        "momentum": losses.momentum_residual(from_x, from_y),
        "hopf_lax": losses.hopf_lax_violation(pairs, from_y.u),
    }


@every_problem
def test_residuals_vanish_at_the_exact_potential(problem):
    for name, term in _terms(problem, bend=0.0).items():
        assert term.shape == (1,)
        assert term.item() < ZERO, name


@every_problem
def test_residuals_do_not_vanish_where_the_potential_is_bent(problem):
    for name, term in _terms(problem, bend=0.3).items():
        assert term.item() > 100 * ZERO, name


def _semi_dual(problem, bend):
    x, flow = problem.sample(), problem.flow(bend)
    from_x, from_y = flow.characteristics(x, problem.T(x))
    pairs = from_x.u.unsqueeze(-1) + problem.cost.pairwise(x, problem.T(x))
    return losses.semi_dual(from_x, from_y, pairs).item()


@every_problem
def test_semi_dual_is_least_at_the_exact_potential_and_minus_the_cost_there(problem):
    x = problem.sample()
    cost = problem.cost(x, problem.T(x)).mean().item()
    assert _semi_dual(problem, 0.0) == pytest.approx(-cost, abs=1e-6)
    for bend in (-0.3, 0.3):
        assert _semi_dual(problem, bend) > -cost + 1e-6


@every_problem
def test_held_out_risk_is_least_at_the_exact_potential(problem):
    x = problem.sample(200)
    y, weight = problem.T(x), torch.full((1, 200), 1 / 200)
    exact, bent = (
        held_out_risk(problem.flow(bend), x, y, weight, weight) for bend in (0.0, 0.3)
    )
    cost = problem.cost(x, y).mean().item()
    assert exact.value().item() == pytest.approx(-cost, abs=1e-6)
    assert exact.criterion().item() == pytest.approx(-cost, abs=1e-6)
    gain, error = bent.gain(exact)
    assert gain > error


def _network(cost, n_classes=2, size=2.0):
    generator = torch.Generator().manual_seed(0)
    potential = Potential(3, (8, 8), n_classes, generator=generator)
    with torch.no_grad():
        potential.output_weight.mul_(100 * size)
    return CharacteristicFlow(potential, cost)


def _weight_gradient(flow, loss):
    return torch.autograd.grad(loss.sum(), tuple(flow.parameters()), allow_unused=True)


@pytest.mark.parametrize("cost", [SquaredEuclidean(), Lp(1.5)], ids=repr)
@pytest.mark.parametrize("guard", [False, True])
def test_gradient_of_the_dual_term_is_that_of_the_plain_formula(cost, guard):
    """E u(x, 0) - E [u(z, 0) + c(z, y)] with z, the lowest row or foot, held fixed."""
    flow, x, y = _network(cost), _rows(2, 20, 3), _rows(2, 15, 3, seed=1) + 1
    from_x, from_y = flow.characteristics(x, y)
    pairs = from_x.u.unsqueeze(-1) + cost.pairwise(x, y)
    pairs = pairs if guard else pairs + 1e6
    gradient = _weight_gradient(flow, losses.semi_dual(from_x, from_y, pairs))

    best = pairs.min(-2)
    use_foot = (from_y.u_end + from_y.action <= best.values).unsqueeze(-1)
    row = torch.take_along_dim(x, best.indices.unsqueeze(-1), -2)
    z = torch.where(use_foot, from_y.end, row).detach()
    zero = torch.zeros(())
    plain = flow.potential(x, zero).mean(-1) - flow.potential(z, zero).mean(-1)
    assert not guard or 0 < use_foot.double().mean() < 1
    for ours, wanted in zip(gradient, _weight_gradient(flow, plain), strict=True):
        torch.testing.assert_close(ours, wanted)


def test_classes_are_apart():
    """A term of K classes is the K terms of one class each."""
    flow, x, y = _network(SquaredEuclidean()), _rows(2, 9, 3), _rows(2, 7, 3, seed=1)
    both = losses.hj_residual(*flow.characteristics(x, y))
    for k in range(2):
        other = x.clone()
        other[1 - k] += 5
        moved = losses.hj_residual(*flow.characteristics(other, y))
        torch.testing.assert_close(moved[k], both[k])
        assert not torch.isclose(moved[1 - k], both[1 - k])


def test_residuals_count_as_squares_where_small_and_by_their_size_where_large():
    for size, wanted in ((1e-3, 1e-6), (1e6, 2e6)):
        pairs, u_y = torch.zeros(1, 3, 2), torch.full((1, 2), size).double()
        found = losses.hopf_lax_violation(pairs.double(), u_y).item()
        assert found == pytest.approx(wanted, rel=1e-5)


def test_hopf_lax_violation_counts_only_what_is_above():
    pairs, u_y = _rows(1, 6, 5), _rows(1, 5, seed=1)
    excess = [max(0.0, u_y[0, j] - pairs[0, i, j]) for i in range(6) for j in range(5)]
    wanted = np.mean([2 * (math.hypot(1, r) - 1) for r in excess])
    assert losses.hopf_lax_violation(pairs, u_y).item() == pytest.approx(wanted)
    assert losses.hopf_lax_violation(pairs, u_y - 100).item() == 0


def test_energy_distance_is_the_square_of_scipys():
    x, y = _rows(1, 30, 1), 2 * _rows(1, 20, 1, seed=1) + 1
    wanted = stats.energy_distance(x[0, :, 0], y[0, :, 0]) ** 2
    assert kernels.energy_distance(x, y).item() == pytest.approx(wanted)


def _kernel(kernel, x, y):
    r = cdist(x, y)
    if kernel == "energy":
        return -r
    h = np.array([1 / 8, 1 / 4, 1 / 2, 1])[:, None, None] * np.sqrt(2 * x.shape[1])
    return np.exp(-(r**2) / (2 * h**2) if kernel == "gaussian" else -r / h).sum(axis=0)


@every_kernel
@pytest.mark.parametrize("unbiased", [False, True])
def test_discrepancy_is_its_definition(kernel, unbiased):
    x, y = _rows(12, 3), _rows(9, 3, seed=1) + 0.5

    def within(z):
        gram = _kernel(kernel, z, z)
        keep = ~np.eye(len(z), dtype=bool) if unbiased else np.full(gram.shape, True)
        return gram[keep].mean()

    wanted = within(x) + within(y) - 2 * _kernel(kernel, x, y).mean()
    value = kernels.mmd(x[None], y[None], kernel, unbiased).item()
    assert value == pytest.approx(wanted, rel=1e-6)


@every_kernel
def test_discrepancy_is_a_squared_distance_of_distributions(kernel):
    x, y = _rows(1, 12, 3), _rows(1, 9, 3, seed=1)
    value = kernels.mmd(x, y, kernel)
    assert value.item() > 0
    torch.testing.assert_close(kernels.mmd(y, x, kernel), value)
    again = kernels.mmd(x, x.flip(1).repeat(1, 2, 1), kernel)
    assert again.abs().item() < 1e-7
    turn = torch.linalg.qr(_rows(3, 3, seed=2)).Q
    torch.testing.assert_close(kernels.mmd(x @ turn + 4, y @ turn + 4, kernel), value)


def test_energy_distance_scales_with_the_rows():
    x, y = _rows(1, 12, 3), _rows(1, 9, 3, seed=1)
    scaled = kernels.energy_distance(7 * x, 7 * y)
    torch.testing.assert_close(
        scaled, 7 * kernels.energy_distance(x, y), rtol=1e-6, atol=0
    )


@every_kernel
@pytest.mark.parametrize("unbiased", [False, True])
def test_gradient_of_the_discrepancy_is_its_slope(kernel, unbiased):
    x, y = _rows(2, 5, 3).requires_grad_(), _rows(2, 4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x: kernels.mmd(x, y, kernel, unbiased), x)


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_rows_coincide(kernel, dtype):
    x = torch.zeros(1, 4, 3, dtype=dtype, requires_grad=True)
    value = kernels.mmd(x, torch.ones(1, 3, 3, dtype=dtype), kernel)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 10
