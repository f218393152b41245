"""Data sets: exact maps are optimal, samples have the stated moments."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from sk_ncf.datasets import (
    make_checkerboard,
    make_convex_map,
    make_eight_gaussians,
    make_gaussians,
    make_moons_2d,
    make_swiss_roll_2d,
)
from sk_ncf.metrics import l2_uvp

COSTS = [
    ("sqeuclidean", None),
    ("lp", {"p": 1.2}),
    ("lp", {"p": 3.0}),
    ("norm_power", {"p": 1.5}),
    ("elastic", {"gamma": 0.7}),
    ("pseudo_huber", {"delta": 0.5}),
    ("quadratic_form", {"matrix": [[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.3]]}),
]
TOYS = [make_checkerboard, make_eight_gaussians, make_swiss_roll_2d, make_moons_2d]
PROBLEMS = [make_gaussians, make_convex_map]


@pytest.mark.parametrize(("cost", "params"), COSTS)
def test_convex_map_is_the_best_assignment_for_its_cost(cost, params):
    problem = make_convex_map(cost, 2, 3, cost_params=params, random_state=0)
    X, X_mapped = problem.sample_pairs(200, random_state=1)
    pairs = problem.cost.pairwise(torch.from_numpy(X), torch.from_numpy(X_mapped))
    rows, columns = linear_sum_assignment(pairs.numpy())
    np.testing.assert_array_equal(rows, columns)


@pytest.mark.parametrize(("cost", "params"), COSTS)
def test_displacements_have_the_size_asked_for_or_all_the_cost_allows(cost, params):
    problem = make_convex_map(cost, 2, 3, cost_params=params, random_state=0, size=0.4)
    X, X_mapped = problem.sample_pairs(4000, random_state=1)
    assert np.sqrt(np.square(X_mapped - X).mean()) == pytest.approx(0.4, rel=0.1)


def test_elastic_map_leaves_some_features_of_some_rows_alone():
    X, X_mapped = make_convex_map("elastic", 2, 3, random_state=0).sample_pairs(500, 1)
    share = np.isclose(X, X_mapped, rtol=0, atol=1e-12).mean(axis=0)
    assert (share > 0.05).all()
    assert (share < 0.95).all()


def test_pseudo_huber_gradients_stay_where_the_hamiltonian_is_finite():
    problem = make_convex_map("pseudo_huber", 2, 3, size=100.0, random_state=0)
    X, X_mapped = problem.sample_pairs(4000, random_state=1)
    p = problem.cost.momentum(torch.from_numpy(X_mapped - X))
    assert p.norm(dim=1).max() < 0.951 * problem.cost.delta


def test_gaussian_map_transports_the_source_to_the_target_and_back():
    problem = make_gaussians(200_000, 3, random_state=0)
    X_mapped = problem.forward(problem.X)
    np.testing.assert_allclose(
        X_mapped.mean(axis=0), problem.X_target.mean(axis=0), atol=0.05
    )
    np.testing.assert_allclose(
        np.cov(X_mapped.T), np.cov(problem.X_target.T), atol=0.05
    )
    np.testing.assert_allclose(problem.inverse(X_mapped), problem.X, atol=1e-10)


def test_gaussian_map_is_the_gradient_of_a_convex_function():
    problem = make_gaussians(2, 4, random_state=0)
    A = problem.forward(np.eye(4)) - problem.forward(np.zeros((1, 4)))
    np.testing.assert_allclose(A, A.T, atol=1e-12)
    assert (np.linalg.eigvalsh(A) > 0).all()


@pytest.mark.parametrize("make", PROBLEMS)
def test_target_rows_are_not_the_images_of_the_source_rows(make):
    problem = make(n_samples=50, n_features=3, random_state=0)
    assert problem.X.shape == problem.X_target.shape == (50, 3)
    gaps = np.abs(problem.forward(problem.X)[:, None] - problem.X_target).sum(axis=2)
    assert gaps.min() > 1e-6


@pytest.mark.parametrize("make", TOYS)
def test_toys_have_zero_mean_and_unit_variance_without_noise(make):
    X = make(100_000, noise=0.0, random_state=0)
    assert X.shape == (100_000, 2)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(X.var(axis=0), 1, atol=0.02)


@pytest.mark.parametrize("make", TOYS)
def test_noise_adds_its_variance(make):
    X = make(100_000, noise=0.5, random_state=0)
    np.testing.assert_allclose(X.var(axis=0), 1.25, atol=0.03)


def _rows(make, random_state):
    result = make(n_samples=20, random_state=random_state)
    return result if make in TOYS else np.stack([result.X, result.X_target])


@pytest.mark.parametrize("make", PROBLEMS + TOYS)
def test_same_random_state_gives_the_same_rows_and_leaves_the_global_one_alone(make):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    np.testing.assert_array_equal(_rows(make, 3), _rows(make, 3))
    assert not np.array_equal(_rows(make, 3), _rows(make, 4))
    _rows(make, np.random.default_rng(0))
    _rows(make, None)
    after = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_uvp_is_zero_at_the_exact_map_and_a_hundred_at_the_mean():
    _, exact = make_gaussians(2, 3, random_state=0).sample_pairs(100, random_state=0)
    assert l2_uvp(exact, exact) == 0
    constant = np.broadcast_to(exact.mean(axis=0), exact.shape)
    assert l2_uvp(constant, exact) == pytest.approx(100)
    variance = exact.var(axis=0).sum()
    assert l2_uvp(constant, exact, 2 * variance) == pytest.approx(50)
