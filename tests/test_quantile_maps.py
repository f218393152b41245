"""The separable potential, and the quantile mapping of each column as the map of a fit."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from fits import quick as quick_network
from sklearn.exceptions import ConvergenceWarning

import sk_ncf
from sk_ncf._flow.separable_potential import (
    MAX_KNOTS,
    PotentialSum,
    SeparablePotential,
    fit_knots,
)
from sk_ncf._samples.initial_map import initial_map
from sk_ncf._samples.sample import unique_rows
from sk_ncf.costs import Lp, SquaredEuclidean
from sk_ncf.metrics import energy_distance


def knots_of(X, Y):
    """The quantile mapping of two samples of equal weights."""
    weights = (np.full(len(Z), 1 / len(Z)) for Z in (X, Y))
    return fit_knots(X, Y, *weights, min(len(X), len(Y)))


def potential_of(X, Y):
    return SeparablePotential.of_knots([knots_of(X, Y)], X.shape[1])


def at(potential, rows, t):
    """u (n,) and p (n, d) at time t."""
    x = torch.from_numpy(rows)[None]
    u, p = potential.value_and_gradient(x, torch.tensor(t, dtype=x.dtype))
    return u[0].numpy(), p[0].numpy()


RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((400, 2))
SKEWED = np.exp(RNG.standard_normal((500, 2))) - 1
SMOOTH = potential_of(NORMAL, SKEWED)
ROWS = 2 * RNG.standard_normal((200, 2))  # some are outside of all knots


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_the_momentum_is_the_gradient_of_the_value(t):
    x = torch.from_numpy(ROWS)[None].requires_grad_()
    u, p = SMOOTH.value_and_gradient(x, torch.tensor(t))
    (gradient,) = torch.autograd.grad(u.sum(), x)
    torch.testing.assert_close(p, gradient)


@pytest.mark.parametrize("t", [0.4, 1.0])
def test_the_potential_solves_the_hamilton_jacobi_equation_on_its_characteristics(t):
    u, p = at(SMOOTH, ROWS, 0.0)
    u_later, p_later = at(SMOOTH, ROWS + t * p, t)
    np.testing.assert_allclose(p_later, p, atol=1e-9)
    np.testing.assert_allclose(u_later, u + t * (p**2).sum(1) / 2, atol=1e-9)


def test_the_value_at_the_end_is_that_of_the_hopf_lax_formula():
    grid = np.linspace(-8, 8, 4001)
    one = SeparablePotential(SMOOTH.x[:, :1], SMOOTH.y[:, :1])
    start = at(one, grid[:, None], 0.0)[0]
    for y in (-0.9, 0.0, 0.5, 3.0):
        minimum = (start + (grid - y) ** 2 / 2).min()
        value = at(one, np.array([[y]]), 1.0)[0][0]
        assert value == pytest.approx(minimum, abs=2e-3)


def test_the_map_sends_quantiles_to_quantiles():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20_000, 1))
    Y = np.exp(rng.standard_normal((20_000, 1)) / 2)
    rows = np.linspace(-2, 2, 41)[:, None]
    mapped = rows + at(potential_of(X, Y), rows, 0.0)[1]
    np.testing.assert_allclose(mapped, np.exp(rows / 2), rtol=0.05)


def test_a_value_of_many_rows_goes_to_the_mean_of_its_image():
    X = np.sort(np.where(RNG.random(4000) < 0.5, 0.0, RNG.random(4000) + 0.1))[:, None]
    Y = np.linspace(0, 1, 4000)[:, None]
    mapped = np.zeros((1, 1)) + at(potential_of(X, Y), np.zeros((1, 1)), 0.0)[1]
    assert mapped[0, 0] == pytest.approx((X == 0).mean() / 2, abs=0.02)


def test_rows_of_a_repeated_value_of_the_target_all_arrive_there():
    X = np.linspace(0, 1, 4000)[:, None]
    Y = np.maximum(X - 0.6, 0)
    mapped = X + at(potential_of(X, Y), X, 0.0)[1]
    assert np.abs(mapped[X < 0.55]).max() < 2e-3
    assert (mapped > 0.01).mean() == pytest.approx(0.39, abs=0.03)


def test_a_constant_column_stays_constant():
    X, Y = (np.c_[Z[:, 0], np.zeros(len(Z))] for Z in (NORMAL, SKEWED))
    mapped = X + at(potential_of(X, Y), X, 0.0)[1]
    assert np.abs(mapped[:, 1]).max() == 0


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_slopes_are_finite_in_single_precision(decimals):
    X, Y = NORMAL.round(decimals), SKEWED.round(decimals)
    single = potential_of(X, Y).float()
    x = torch.from_numpy(ROWS)[None].float()
    for t in (0.0, 1.0):
        u, p = single.value_and_gradient(x, torch.tensor(t))
        assert u.isfinite().all()
        assert p.isfinite().all()
    assert (single.x.diff() > 0).all()
    assert (single.y.diff() > 0).all()


def test_a_row_of_weight_two_is_a_row_given_twice():
    weight = np.ones(len(NORMAL))
    weight[:100] = 2
    twice = np.concatenate([NORMAL, NORMAL[:100]])
    given = fit_knots(NORMAL, SKEWED, weight / weight.sum(), np.full(500, 1 / 500), 400)
    repeated = fit_knots(
        twice, SKEWED, np.full(500, 1 / 500), np.full(500, 1 / 500), 400
    )
    np.testing.assert_allclose(given.x, repeated.x, atol=1e-9)
    np.testing.assert_allclose(given.y, repeated.y, atol=1e-9)


def test_there_are_fewer_knots_for_fewer_rows():
    sizes = [knots_of(NORMAL[:n], SKEWED[:n]).x.shape[1] for n in (4, 20, 200)]
    assert sizes == [2, 8, MAX_KNOTS]


def test_potentials_with_different_numbers_of_knots_keep_their_maps():
    few, many = knots_of(NORMAL[:20], SKEWED[:20]), knots_of(NORMAL, SKEWED)
    both = SeparablePotential.of_knots([few, None, many], 2)
    inside = 0.5 * ROWS
    for k, knots in enumerate((few, None, many)):
        alone = SeparablePotential.of_knots([knots], 2)
        for t in (0.0, 1.0):
            np.testing.assert_allclose(
                at(both.select_class(k), inside, t)[1], at(alone, inside, t)[1]
            )
    assert np.abs(at(both.select_class(1), ROWS, 0.5)[1]).max() == 0


def test_the_quantile_mapping_is_found_better_where_columns_are_skewed():
    skewed, normal = unique_rows(SKEWED), unique_rows(NORMAL)
    assert initial_map(normal, skewed, SquaredEuclidean()).quantile_is_better
    assert not initial_map(normal, skewed, Lp(1.5)).quantile_is_better
    turned = NORMAL @ [[1.0, 0.6], [0.0, 0.8]]
    assert not initial_map(
        normal, unique_rows(turned), SquaredEuclidean()
    ).quantile_is_better


# As the map of a fit: a training of one step is no better.

X, Y = RNG.standard_normal((300, 3)), np.exp(1.5 * RNG.standard_normal((400, 3)))


def quick(max_iter=1, **params):
    """A fit that is too short for the network to be better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        params = {"potential": "auto", "ensemble_size": 2, **params}
        return quick_network(max_iter, **params).fit(X, X_target=Y)


QUANTILE = quick()


def test_the_fit_says_that_the_map_is_the_quantile_mapping():
    assert QUANTILE.map_kind_ == "quantile"
    assert QUANTILE.best_iter_ == 0


def test_the_map_is_monotone_in_every_column_and_its_inverse_exact():
    mapped = QUANTILE.transform(X)
    for x, y in zip(X.T, mapped.T, strict=True):
        assert (np.diff(y[np.argsort(x)]) >= 0).all()
    np.testing.assert_allclose(QUANTILE.inverse_transform(mapped), X, atol=1e-6)


def test_mapped_rows_are_nearer_to_the_target_than_those_of_the_gaussian_map():
    new = RNG.standard_normal((500, 3))
    fresh = np.exp(1.5 * RNG.standard_normal((500, 3)))
    gaussian = quick(potential="network", tol=1e9)
    assert gaussian.map_kind_ == "gaussian"
    errors = [energy_distance(t.transform(new), fresh) for t in (QUANTILE, gaussian)]
    assert errors[0] < errors[1] / 2


def test_one_potential_takes_the_place_of_equal_members():
    assert QUANTILE.flow_.potential.n_potentials == 1
    assert isinstance(QUANTILE.flow_.potential, PotentialSum)


def test_a_trained_network_is_used_where_it_is_better():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((800, 2))
    # Skewed columns and another copula: x + grad of a convex function.
    Y = np.exp(rng.standard_normal((800, 2)) @ [[0.8, 0.7], [0.0, 0.4]])
    transport = quick_network(300, potential="auto", ensemble_size=2)
    assert transport.fit(X, X_target=Y).map_kind_ == "network"


@pytest.mark.parametrize("path", ["file", "pickle"])
def test_the_map_survives_saving(path, tmp_path):
    if path == "pickle":
        loaded = pickle.loads(pickle.dumps(QUANTILE))
    else:
        sk_ncf.save(QUANTILE, tmp_path / "map.skncf")
        loaded = sk_ncf.load(tmp_path / "map.skncf")
    np.testing.assert_array_equal(loaded.transform(X), QUANTILE.transform(X))
    np.testing.assert_array_equal(
        loaded.inverse_transform(Y), QUANTILE.inverse_transform(Y)
    )
    assert loaded.map_kind_ == "quantile"


@pytest.mark.slow
def test_a_stream_goes_on_from_the_quantile_mapping():
    transport = pickle.loads(pickle.dumps(QUANTILE))
    for _ in range(40):
        transport.partial_fit(X, X_target=Y + 3)
    members = transport.flow_.potential.members
    assert isinstance(members, PotentialSum)
    first = members.separable.x[:1]
    torch.testing.assert_close(first, QUANTILE.flow_.potential.separable.x)
    change = np.abs(transport.transform(X) - QUANTILE.transform(X))
    assert 0 < change.mean() < 4


def test_a_warm_start_takes_no_knots_of_other_rows():
    transport = quick(warm_start=True)
    assert transport.map_kind_ == "quantile"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport.fit(X, X_target=X + 5)
    np.testing.assert_allclose(transport.transform(X).mean(0), X.mean(0) + 5, atol=0.2)


def test_every_class_has_its_own_choice():
    rng = np.random.default_rng(2)
    normal, skewed = X + 20, 2 * X + 20
    rows, target = np.r_[X, normal], np.r_[Y, skewed]
    y = np.repeat(["skewed", "normal"], [len(X), len(normal)])
    y_target = np.repeat(["skewed", "normal"], [len(Y), len(skewed)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        transport = quick_network(1, potential="auto", class_conditional="per_class")
        transport.fit(rows, y, X_target=target, y_target=y_target)
    kinds = dict(zip(transport.classes_, transport.map_kind_, strict=True))
    assert kinds["skewed"] == "quantile"
    assert kinds["normal"] in ("gaussian", "mean_shift", "identity", "network")
    mapped = transport.transform(rows, sample_label=y)
    assert energy_distance(mapped[y == "skewed"], Y) < 0.1
    new = rng.standard_normal((10, 3))
    assert transport.transform(new, sample_label=["skewed"] * 10).shape == (10, 3)


def test_the_report_and_the_dual_value_read_the_quantile_mapping():
    found = QUANTILE.diagnostics(X, X_target=Y, random_state=0)
    assert found.forward.cycle_error < 1
    assert np.isfinite(QUANTILE.score(X, X_target=Y))
    bound = QUANTILE.dual_lower_bound(X, X_target=QUANTILE.transform(X))
    assert bound == pytest.approx(QUANTILE.transport_cost(X), rel=1e-3)
