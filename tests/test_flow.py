"""The closed-form maps of an exact potential are the exact, optimal maps."""

import pytest
import torch
from problems import PROBLEMS
from scipy.optimize import linear_sum_assignment

pytestmark = pytest.mark.usefixtures("float64")
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
TIMES = (0.0, 0.3, 0.75, 1.0)


def _close(a, b, tol=1e-6):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


@every_problem
def test_potential_solves_the_hamilton_jacobi_equation(problem):
    x, flow = problem.sample(), problem.flow()
    for time in TIMES:
        t = torch.full(x.shape[:-1], time, requires_grad=True)
        u, p = flow.potential.value_and_gradient(x, t)
        (u_t,) = torch.autograd.grad(u.sum(), t)
        _close(u_t, -problem.cost.hamiltonian(p))


@every_problem
def test_head_is_the_map_and_foot_its_inverse(problem):
    x, flow = problem.sample(), problem.flow()
    _close(flow.head(x), problem.T(x))
    _close(flow.foot(x), problem.T_inv(x))
    _close(flow.foot(flow.head(x)), x)


@every_problem
def test_inverse_does_not_move_away_from_the_exact_foot(problem):
    x, flow = problem.sample(), problem.flow()
    y = problem.T(x)
    for refinements in (0, 5):
        _close(flow.inverse(y, refinements), x, 1e-4)


@every_problem
def test_interpolation_is_the_segment_from_a_row_to_its_image(problem):
    x, flow = problem.sample(), problem.flow()
    for t in TIMES:
        _close(flow.interpolate(x, t), (1 - t) * x + t * problem.T(x))


@every_problem
def test_velocity_is_constant_along_a_characteristic(problem):
    x, flow = problem.sample(), problem.flow()
    for t in TIMES:
        _close(flow.velocity(flow.interpolate(x, t), t), flow.velocity(x, 0))


@every_problem
def test_characteristic_joins_a_row_and_its_image_from_either_end(problem):
    x, flow = problem.sample(), problem.flow()
    from_x, from_y = flow.characteristics(x, problem.T(x))
    _close(from_x.end, problem.T(x))
    _close(from_y.end, x)
    _close(from_x.v, from_y.v)
    _close(from_x.action, problem.cost(x, problem.T(x)))
    _close(from_y.action, from_x.action)
    for at_x, at_y in [
        (from_x.u, from_y.u_end),
        (from_x.p, from_y.p_end),
        (from_x.u_end, from_y.u),
        (from_x.p_end, from_y.p),
    ]:
        _close(at_x, at_y)


@every_problem
def test_map_is_the_best_assignment_of_rows_to_their_images(problem):
    x = problem.sample()
    pairs = problem.cost.pairwise(x, problem.flow().head(x).detach())[0]
    rows, columns = linear_sum_assignment(pairs.numpy())
    assert (rows == columns).all()


@every_problem
def test_potentials_are_dual_feasible_and_reach_the_transport_cost(problem):
    """Kantorovich: f(x) + g(y) <= c(x, y), with equality at y = T(x)."""
    x, potential = problem.sample(), problem.flow().potential
    y = problem.T(x)
    f, g = -potential(x, torch.zeros(())), potential(y, torch.ones(()))
    gap = problem.cost.pairwise(x, y) - f.unsqueeze(-1) - g.unsqueeze(-2)
    assert gap.min() > -1e-6
    _close(f + g, problem.cost(x, y))


@every_problem
def test_descent_never_goes_up_nor_below_the_hopf_lax_formula(problem):
    x, flow = problem.sample(), problem.flow()
    y = problem.T(x)
    start = x + 0.3 * problem.sample(seed=1)
    lowest = flow.potential(y, torch.ones(())).detach()
    values = [flow.hopf_lax_descent(start, y, n).value for n in (0, 1, 3, 12)]
    for before, after in zip(values, values[1:], strict=False):
        assert (after <= before).all()
    assert (values[-1] >= lowest - 1e-6).all()
    assert (values[-1] - lowest).mean() < 0.2 * (values[0] - lowest).mean()


@every_problem
def test_value_that_the_descent_reports_is_that_of_its_row(problem):
    x, flow = problem.sample(), problem.flow()
    y = problem.T(x)
    found = flow.hopf_lax_descent(x + 0.3 * problem.sample(seed=1), y, 4)
    u = flow.potential(found.x, torch.zeros(()))
    _close(found.value, (u + problem.cost(found.x, y)).detach())
    assert not found.value.requires_grad
