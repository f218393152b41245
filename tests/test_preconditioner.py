"""The change of variables is the Gaussian map, and the transport problem stays the same."""

import numpy as np
import pytest
import torch
from problems import COSTS, MATRIX
from scipy.linalg import sqrtm

from sk_ncf import Lp, QuadraticForm, SquaredEuclidean
from sk_ncf._flow.gaussian_map import gaussian_map, geometric_mean
from sk_ncf._flow.moments import effective_size, weighted_moments
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._flow.shrinkage import shrink_covariances

every_cost = pytest.mark.parametrize("name", COSTS)
OTHERS = [
    name
    for name, cost in COSTS.items()
    if not isinstance(cost, SquaredEuclidean | QuadraticForm)
]
quadratic = pytest.mark.parametrize(
    "cost", [SquaredEuclidean(), QuadraticForm(MATRIX)], ids=["sqeuclidean", "form"]
)


def _covariance(d, seed):
    root = np.random.default_rng(seed).standard_normal((3 * d, d))
    return root.T @ root / len(root)


def _rows(n=300, m=400, seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, 3)), rng.standard_normal((m, 3))
    return X @ np.diag([1, 2, 0.5]) + 1, Y @ _covariance(3, 1) + [2, -1, 0]


def _fit(X, Y, cost):
    return Preconditioner.fit(X, Y, cost, np.ones(len(X)), np.ones(len(Y)))


def _matrix(frame):
    """M of the start, y = mean Y + (x - mean X) M."""
    return frame.source.matrix @ frame.target.inverse_matrix


def _pairs(cost, X, Y):
    return cost.pairwise(torch.from_numpy(X), torch.from_numpy(Y)).numpy()


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_gaussian_map_is_positive_and_pushes_the_covariance_exactly(d):
    cov_x, cov_y = _covariance(d, 0), _covariance(d, 1)
    A = gaussian_map(cov_x, cov_y)
    np.testing.assert_array_equal(A, A.T)
    assert np.linalg.eigvalsh(A).min() > 0
    np.testing.assert_allclose(A @ cov_x @ A, cov_y, atol=1e-12)
    np.testing.assert_allclose(gaussian_map(cov_y, cov_x) @ A, np.eye(d), atol=1e-10)


def test_gaussian_map_pays_the_bures_distance():
    cov_x, cov_y = _covariance(4, 0), _covariance(4, 1)
    moved = np.eye(4) - gaussian_map(cov_x, cov_y)
    root = sqrtm(cov_x)
    wanted = np.trace(cov_x + cov_y - 2 * sqrtm(root @ cov_y @ root))
    assert np.trace(moved @ cov_x @ moved) == pytest.approx(wanted)


@pytest.mark.parametrize("decades", [0, 4, 8])
def test_gaussian_map_keeps_the_digits_of_features_in_tiny_units(decades):
    unit = 10.0 ** np.array([0, -decades, decades])
    outer = np.outer(unit, unit)
    cov_x, cov_y = _covariance(3, 0) * outer, _covariance(3, 1) * outer
    A = gaussian_map(cov_x, cov_y)
    np.testing.assert_allclose(A @ cov_x @ A / outer, cov_y / outer, atol=1e-10)


def test_geometric_mean_with_the_identity_is_the_root():
    A = _covariance(5, 0)
    np.testing.assert_allclose(geometric_mean(A, np.eye(5)), sqrtm(A), atol=1e-12)


def test_moments_are_those_of_repeated_rows_and_the_same_in_chunks():
    X, _ = _rows()
    count = np.random.default_rng(0).integers(1, 5, len(X))
    repeated = np.repeat(X, count, axis=0)
    for chunk in (7, 1000):
        mean, cov = weighted_moments(X, count.astype(float), chunk)
        np.testing.assert_allclose(mean, repeated.mean(axis=0))
        np.testing.assert_allclose(cov, np.cov(repeated.T, bias=True))


@pytest.mark.parametrize("chunk", [7, 1000])
def test_a_constant_feature_has_variance_zero_wherever_it_is(chunk):
    X, _ = _rows()
    X[:, 1] = 123456.789
    mean, cov = weighted_moments(X, np.full(len(X), 0.3), chunk)
    assert mean[1] == 123456.789
    assert not cov[1].any()


def test_equal_weights_are_worth_all_rows_and_one_weight_a_single_row():
    assert effective_size(np.full(9, 0.2)) == pytest.approx(9)
    assert effective_size(np.eye(9)[0]) == pytest.approx(1)


def test_shrinkage_knows_no_units_and_vanishes_with_the_number_of_rows():
    covs = _covariance(3, 0), _covariance(3, 1)
    unit = np.outer([1e-3, 1, 1e5], [1e-3, 1, 1e5])
    plain = shrink_covariances(*covs, 10, 20)
    scaled = shrink_covariances(*(cov * unit for cov in covs), 10, 20)
    for ours, wanted in zip(scaled, plain, strict=True):
        np.testing.assert_allclose(ours, wanted * unit)
    error = [abs(shrink_covariances(*covs, n, n)[0] - covs[0]).max() for n in (10, 1e6)]
    assert error[1] < 1e-4 * error[0]


@every_cost
def test_the_problem_in_the_new_variables_is_the_same_problem(name):
    """c(x, y) = unit c'(x', y') + alpha(x) + beta(y), with the offsets reported."""
    cost, (X, Y) = COSTS[name], _rows(20, 30)
    frame = _fit(X, Y, cost)
    moved = _pairs(frame.cost, frame.source.forward(X), frame.target.forward(Y))
    alpha = frame.offsets(X, frame.source, -1.0)
    beta = frame.offsets(Y, frame.target, 1.0)
    rebuilt = frame.unit * moved + alpha[:, None] + beta
    wanted = _pairs(cost, X, Y)
    np.testing.assert_allclose(rebuilt, wanted, rtol=1e-9, atol=1e-9 * wanted.max())


@every_cost
def test_potentials_keep_the_slack_of_every_pair(name):
    """c(x, y) - f(x) - g(y) is unit times the slack in the new variables."""
    cost, (X, Y) = COSTS[name], _rows(20, 30)
    frame, rng = _fit(X, Y, cost), np.random.default_rng(0)
    u_x, u_y = rng.standard_normal(20), rng.standard_normal(30)
    moved = _pairs(frame.cost, frame.source.forward(X), frame.target.forward(Y))
    slack = _pairs(cost, X, Y) + frame.source_potential(X, u_x)[:, None]
    slack = slack - frame.target_potential(Y, u_y)
    wanted = frame.unit * (moved + u_x[:, None] - u_y)
    np.testing.assert_allclose(slack, wanted, atol=1e-8 * np.abs(wanted).max())


@every_cost
def test_rows_come_back_and_new_variables_are_centred(name):
    X, Y = _rows()
    frame = _fit(X, Y, COSTS[name])
    for side, rows in ((frame.source, X), (frame.target, Y)):
        moved = side.forward(rows)
        np.testing.assert_allclose(side.inverse(moved), rows, atol=1e-10)
        np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-12)


@quadratic
def test_start_is_the_optimal_map_between_gaussians(cost):
    """T(x) = M x is optimal for v'Qv/2 where Q (M - I) is a Hessian that is >= -Q."""
    X, Y = _rows(40_000, 40_000)
    frame = _fit(X, Y, cost)
    Q = np.asarray(getattr(cost, "matrix", np.eye(3)))
    QM = Q @ _matrix(frame).T
    np.testing.assert_allclose(QM, QM.T, atol=1e-10)
    assert np.linalg.eigvalsh(QM).min() > 0
    mapped = frame.target.inverse(frame.source.forward(X))
    np.testing.assert_allclose(mapped.mean(axis=0), Y.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(np.cov(mapped.T), np.cov(Y.T), rtol=2e-3, atol=2e-3)


@quadratic
def test_both_sides_have_the_same_covariance_of_mean_variance_one(cost):
    X, Y = _rows(40_000, 40_000)
    frame = _fit(X, Y, cost)
    cov_x, cov_y = np.cov(frame.source.forward(X).T), np.cov(frame.target.forward(Y).T)
    np.testing.assert_allclose(cov_x, cov_y, rtol=2e-3, atol=2e-3)
    assert (np.trace(cov_x) + np.trace(cov_y)) / 6 == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize("name", OTHERS)
def test_other_costs_get_one_common_scale_and_start_at_the_mean_shift(name):
    X, Y = _rows()
    frame = _fit(X, Y, COSTS[name])
    scaled = frame.source.matrix / frame.source.matrix[0, 0]
    np.testing.assert_array_equal(scaled, np.eye(3))
    np.testing.assert_array_equal(frame.source.matrix, frame.target.matrix)
    mapped = frame.target.inverse(frame.source.forward(X))
    np.testing.assert_allclose(mapped - X, np.tile(Y.mean(0) - X.mean(0), (300, 1)))
    zero = torch.zeros(1, 3, dtype=torch.float64)
    assert frame.cost.velocity(zero).abs().max() < 1e-9


@quadratic
def test_fewer_rows_than_features_give_an_invertible_map(cost):
    rng = np.random.default_rng(0)
    if isinstance(cost, QuadraticForm):
        cost = QuadraticForm(_covariance(12, 5))
    X, Y = rng.standard_normal((4, 12)), rng.standard_normal((5, 12)) + 1
    frame = _fit(X, Y, cost)
    assert np.linalg.svd(_matrix(frame), compute_uv=False).min() > 0.01
    np.testing.assert_allclose(
        frame.source.inverse(frame.source.forward(X)), X, atol=1e-10
    )


@quadratic
@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_constant_features_are_only_moved_and_do_not_disturb_the_others(cost, unit):
    X, Y = _rows()
    X[:, 1], Y[:, 1] = 0.3, 123.456
    frame = _fit(unit * X, unit * Y, cost)
    mapped = frame.target.inverse(frame.source.forward(unit * X)) / unit
    np.testing.assert_allclose(mapped[:, 1], 123.456, atol=1e-6)
    keep = [0, 2]
    if isinstance(cost, QuadraticForm):
        cost = QuadraticForm(np.asarray(MATRIX)[np.ix_(keep, keep)])
    alone = _fit(X[:, keep], Y[:, keep], cost)
    wanted = alone.target.inverse(alone.source.forward(X[:, keep]))
    np.testing.assert_allclose(mapped[:, keep], wanted, atol=1e-6)


@every_cost
def test_a_single_repeated_point_on_a_side_leaves_the_shift(name):
    X, Y = _rows()
    point = np.ones((10, 3))
    for source, target in ((point, Y), (X, point), (point, 3 * point), (point, point)):
        frame = _fit(source, target, COSTS[name])
        np.testing.assert_allclose(_matrix(frame), np.eye(3), atol=1e-12)
        assert np.isfinite(frame.unit)
        assert frame.unit > 0


def test_units_change_the_scale_and_nothing_else():
    X, Y = _rows()
    for cost in (SquaredEuclidean(), Lp(1.5)):
        plain, large = _fit(X, Y, cost), _fit(1e8 * X, 1e8 * Y, cost)
        moved = large.source.forward(1e8 * X)
        np.testing.assert_allclose(moved, plain.source.forward(X), atol=1e-9)
        assert large.unit == pytest.approx(plain.unit * 1e8 ** (cost.homogeneity))


def test_moments_move_with_the_rows():
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((80, 3)) + 5, rng.standard_normal((70, 3)) ** 2
    weight = rng.uniform(size=80)
    frame = Preconditioner.fit(X, Y, SquaredEuclidean(), weight, np.ones(70))
    moved = frame.source.moments(*weighted_moments(X, weight))
    wanted = weighted_moments(frame.source.forward(X), weight)
    for ours, theirs in zip(moved, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
