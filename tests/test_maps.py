"""Short fits learn the exact maps of known problems, both ways, and price them right."""

import numpy as np
import pytest
import torch
from fits import COSTS, fitted, problem, quick, start_map, two_samples
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

from sk_ncf.datasets import make_gaussians
from sk_ncf.metrics import l2_uvp
from sk_ncf.objectives import MMD, SemiDual

every_cost = pytest.mark.parametrize("cost", COSTS)
LEARNT = [
    *((cost, {}) for cost in COSTS),
    ("elastic", {"objective": MMD()}),
]
ALSO_LEARNT = [
    ("elastic", {"objective": MMD(kernel="gaussian")}),
    ("norm_power", {"objective": MMD(kernel="laplace")}),
    ("pseudo_huber", {"objective": SemiDual(mmd_weight=1.0, kernel="gaussian")}),
]
LEARNT += [pytest.param(*each, marks=pytest.mark.slow) for each in ALSO_LEARNT]


def _errors(transport, rows):
    """L2-UVP of the map and of its inverse, in percent, on fresh rows."""
    X, mapped = rows.sample_pairs(1000, random_state=1)
    forward = l2_uvp(transport.transform(X), mapped)
    return np.array([forward, l2_uvp(transport.inverse_transform(mapped), X)])


def _pairs(transport, X, Y):
    x, y = (torch.from_numpy(Z) for Z in (X, Y))
    return transport.cost_.pairwise(x, y).numpy()


def _exact_value(transport, X, Y):
    pairs = _pairs(transport, X, Y)
    return pairs[linear_sum_assignment(pairs)].mean()


@pytest.mark.parametrize(("cost", "params"), LEARNT, ids=str)
def test_short_fit_learns_the_exact_map_both_ways(cost, params):
    """Less than an eighth of the variance left, and less than at the start."""
    rows, transport = problem(cost), fitted(cost, **params)
    start = start_map(cost=cost, cost_params=COSTS[cost])
    start.fit(rows.X, X_target=rows.X_target)
    errors = _errors(transport, rows)
    assert (errors < 12.5).all()
    assert (errors < 0.7 * _errors(start, rows)).all()


def test_map_between_gaussians_is_the_closed_form():
    rows = make_gaussians(2000, 3, random_state=0)
    transport = quick(100).fit(rows.X, X_target=rows.X_target)
    assert (_errors(transport, rows) < 0.5).all()


@every_cost
def test_dual_value_is_below_the_exact_discrete_cost_and_close_to_it(cost):
    transport = fitted(cost)
    X, Y = problem(cost).X[:250], problem(cost).X_target[:250]
    exact = _exact_value(transport, X, Y)
    value = transport.dual_lower_bound(X, X_target=Y)
    assert 0.85 * exact < value <= exact * (1 + 1e-9)


@every_cost
def test_dual_value_is_below_the_exact_cost_even_of_other_rows(cost):
    X, Y = two_samples(60, 60, seed=5)
    X, Y = 3 * X + 5, 0.1 * Y
    transport = fitted(cost)
    exact = _exact_value(transport, X, Y)
    assert transport.dual_lower_bound(X, X_target=Y) <= exact * (1 + 1e-9)


@every_cost
def test_transport_cost_is_the_mean_cost_of_the_mapped_rows(cost):
    transport, X = fitted(cost), problem(cost).X[:50]
    wanted = np.diag(_pairs(transport, X, transport.transform(X))).mean()
    assert transport.transport_cost(X) == pytest.approx(wanted)


@every_cost
def test_potentials_are_nearly_feasible_and_tight_along_the_map(cost):
    """f(x) + g(y) <= c(x, y), with equality at y = T(x), up to what is left to learn."""
    transport, rows = fitted(cost), problem(cost)
    X, Y = rows.X[:200], rows.X_target[:200]
    f, g = transport.dual_potentials(X, X_target=Y)
    pairs = _pairs(transport, X, Y)
    assert np.maximum(f[:, None] + g - pairs, 0).mean() < 0.02 * pairs.mean()
    f, g = transport.dual_potentials(X, X_target=transport.transform(X))
    assert f.mean() + g.mean() == pytest.approx(transport.transport_cost(X), rel=0.1)


def test_score_of_the_exact_map_is_the_transport_cost():
    """Gaussians: W2^2 / 2 in closed form, and the start is the exact map."""
    rows = make_gaussians(4000, 2, random_state=0)
    transport = start_map().fit(rows.X, X_target=rows.X_target)
    X, mapped = rows.sample_pairs(4000, random_state=1)
    wanted = np.square(mapped - X).sum(axis=1).mean() / 2
    assert transport.score(X, X_target=mapped) == pytest.approx(wanted, rel=0.02)


@every_cost
def test_a_better_map_scores_higher_on_rows_it_has_not_seen(cost):
    rows = problem(cost)
    start = start_map(cost=cost, cost_params=COSTS[cost])
    start.fit(rows.X, X_target=rows.X_target)
    X, mapped = rows.sample_pairs(1000, random_state=1)
    better, worse = (t.score(X, X_target=mapped) for t in (fitted(cost), start))
    assert better > worse


def test_inverse_undoes_the_map():
    for cost in COSTS:
        transport, X = fitted(cost), problem(cost).X[:300]
        back = transport.inverse_transform(transport.transform(X))
        assert l2_uvp(back, X) < 5


def test_interpolation_is_the_segment_from_a_row_to_its_image():
    transport, X = fitted(), problem("sqeuclidean").X[:20]
    mapped = transport.transform(X)
    for t in (0, 0.3, 1):
        wanted = (1 - t) * X + t * mapped
        np.testing.assert_allclose(transport.interpolate(X, t), wanted)
    t = np.linspace(0, 1, 20)
    wanted = (1 - t[:, None]) * X + t[:, None] * mapped
    np.testing.assert_allclose(transport.interpolate(X, t), wanted)


# Without target rows: the reference distribution.


def _skewed(z):
    """An increasing function, so that z is the optimal image of the skewed rows."""
    return z + 0.4 * z * abs(z) + 0.2 * z**2


@pytest.fixture(scope="module")
def normalised():
    z = np.random.default_rng(0).standard_normal((2000, 1))
    return quick(600).fit(_skewed(z) + 5)


def test_rows_are_mapped_to_the_normal_distribution_by_the_monotone_map(normalised):
    z = np.random.default_rng(1).standard_normal((1000, 1))
    assert l2_uvp(normalised.transform(_skewed(z) + 5), z) < 2


def test_inverse_of_fresh_normal_rows_is_a_sampler(normalised):
    z = np.random.default_rng(2).standard_normal((1000, 1))
    assert l2_uvp(normalised.inverse_transform(z), _skewed(z) + 5) < 3


def test_normal_rows_are_mapped_to_the_cube_feature_by_feature():
    X = np.random.default_rng(0).standard_normal((1000, 2))
    transport = quick(400, ensemble_size=1, output_distribution="uniform").fit(X)
    fresh = np.random.default_rng(1).standard_normal((1000, 2))
    start = start_map(output_distribution="uniform").fit(X)
    error = l2_uvp(transport.transform(fresh), norm.cdf(fresh))
    assert error < min(3, 0.8 * l2_uvp(start.transform(fresh), norm.cdf(fresh)))


def test_rows_are_mapped_to_a_distribution_of_the_users_own():
    def shifted_normal(size, random_state):
        return random_state.standard_normal(size) * [2, 0.5] + [10, -3]

    X = np.random.default_rng(0).standard_normal((2000, 2))
    transport = quick(output_distribution=shifted_normal).fit(X)
    assert l2_uvp(transport.transform(X), X * [2, 0.5] + [10, -3]) < 1
