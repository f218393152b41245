"""Unusual input gives a sensible map: no NaN and no error, for every cost."""

import functools

import numpy as np
import pytest
from fits import COSTS, quick, two_samples

X, Y = two_samples(40, 50)
every_cost = pytest.mark.parametrize("cost", COSTS)


def _map(cost, X, Y, unit=1.0, max_iter=20):
    """Mapped rows in the unit, everything finite; lengths of the cost in that unit."""
    lengths = [key for key in COSTS[cost] if key in ("gamma", "delta")]
    params = {**COSTS[cost], **{key: unit * COSTS[cost][key] for key in lengths}}
    if "matrix" in params and X.shape[1] != 2:
        params["matrix"] = np.eye(X.shape[1]) + 0.3
    transport = quick(max_iter, cost=cost, cost_params=params, ensemble_size=2)
    transport.fit(X, X_target=Y)
    mapped, back = transport.transform(X), transport.inverse_transform(Y)
    assert mapped.dtype == back.dtype == X.dtype
    assert np.isfinite(mapped).all()
    assert np.isfinite(back).all()
    values = (
        transport.score(X),
        transport.dual_lower_bound(X, X_target=Y),
        transport.transport_cost(X),
    )
    assert np.isfinite(values).all()
    return mapped.astype(float)


def _mean(rows):
    return rows.mean(axis=0, dtype=float)


@functools.cache
def _plain(cost):
    return _map(cost, X, Y)


def _close(mapped, wanted):
    """Up to rounding errors, which grow during the training."""
    assert np.sqrt(np.square(mapped - wanted).mean()) < 0.1


@every_cost
@pytest.mark.parametrize("unit", [2.0**-27, 1e-8, 1e8])
def test_units_do_not_matter(cost, unit):
    mapped, plain = _map(cost, unit * X, unit * Y, unit) / unit, _plain(cost)
    if np.log2(unit) % 1 == 0:  # nothing is rounded
        np.testing.assert_allclose(mapped, plain, atol=1e-9)
    _close(mapped, plain)


@every_cost
def test_a_far_away_mean_does_not_matter(cost):
    _close(_map(cost, X + 1e6, Y + 1e6) - 1e6, _plain(cost))


@every_cost
def test_float32_far_from_zero_maps_as_well_as_its_digits_allow(cost):
    moved = [(rows + 1e4).astype(np.float32) for rows in (X, Y)]
    _close(_map(cost, *moved) - 1e4, _plain(cost))


@every_cost
def test_a_tiny_unit_next_to_a_huge_one_gives_a_finite_map_to_the_mean(cost):
    unit = np.array([1e-8, 1e8])
    mapped = _map(cost, unit * X, unit * Y, unit.max()) / unit
    assert abs(_mean(mapped) - _mean(Y))[1] < 0.5


@every_cost
@pytest.mark.parametrize("value", [0.0, 123456.789])
def test_constant_columns_are_moved_to_the_targets_constant(cost, value):
    columns = np.full((40, 1), value), np.full((50, 1), value + 2)
    mapped = _map(cost, np.c_[X, columns[0]], np.c_[Y, columns[1]])
    np.testing.assert_allclose(mapped[:, 2], value + 2, atol=0.3)
    assert abs(_mean(mapped[:, :2]) - _mean(Y)).max() < 0.3


@every_cost
def test_duplicated_rows_map_like_their_originals(cost):
    mapped = _map(cost, np.repeat(X, 3, axis=0), np.repeat(Y, 2, axis=0))
    _close(mapped[::3], _plain(cost))


@every_cost
@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 4), (7, 6)])
def test_fewer_rows_than_features_are_mapped_to_the_right_mean(cost, n, m):
    few_X, few_Y = two_samples(n, m, d=10)
    mapped = _map(cost, few_X, few_Y)
    assert abs(_mean(mapped) - _mean(few_Y)).max() < 0.5


@every_cost
def test_identical_samples_give_the_identity(cost):
    np.testing.assert_allclose(_map(cost, X, X, max_iter=100), X, atol=0.1)


@every_cost
def test_a_single_repeated_point_is_mapped_to_the_target_mean(cost):
    point = np.full((10, 2), 3.0)
    for target in (point, point - 7, Y):
        mapped = _map(cost, point, target)
        np.testing.assert_allclose(mapped, np.tile(_mean(target), (10, 1)), atol=1e-6)
