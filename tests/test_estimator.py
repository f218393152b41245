"""The contract of NCFTransport: what it accepts, keeps, repeats and leaves alone."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from fits import COSTS, fitted, problem, quick, same_map, two_samples
from sklearn.base import clone

from sk_ncf import Lp
from sk_ncf.metrics import l2_uvp

X, Y = two_samples()
BOTH = np.concatenate([X, Y])
DOMAIN = np.repeat([1, -1], [len(X), len(Y)])
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(scope="module")
def transport():
    """A fit of these rows; not to be changed by a test."""
    return quick(cost="lp").fit(X, X_target=Y)


# The same again.


@pytest.mark.parametrize("params", [{}, {"objective": "mmd"}, {"cost": Lp(1.5)}])
def test_same_random_state_gives_the_same_map_and_another_another(params):
    fits = [
        quick(**params, random_state=seed, early_stopping=False).fit(X, X_target=Y)
        for seed in (1, 1, np.random.RandomState(1), 2)
    ]
    np.testing.assert_array_equal(fits[0].transform(X), fits[1].transform(X))
    np.testing.assert_array_equal(fits[0].transform(X), fits[2].transform(X))
    assert fits[0].net_.history[-1]["train_loss"] != fits[3].history_[-1]["train_loss"]


def test_generators_threads_and_types_of_the_process_are_left_alone():
    def world():
        return (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = world()
    transport = quick().fit(X, X_target=Y)
    transport.partial_fit(X, X_target=Y).inverse_transform(Y)
    transport.fit(X).score(X)
    assert world() == before


def test_without_a_random_state_only_numpys_global_generator_is_used():
    before, state = torch.get_rng_state(), np.random.get_state()
    maps = []
    for _ in range(2):
        np.random.seed(0)
        maps.append(quick(random_state=None).fit(X, X_target=Y).transform(X))
    np.random.set_state(state)
    np.testing.assert_array_equal(*maps)
    assert torch.equal(torch.get_rng_state(), before)


def test_pickled_and_copied_estimators_map_alike(transport):
    for twin in (
        pickle.loads(pickle.dumps(transport)),
        copy.deepcopy(transport),
        copy.copy(transport),
    ):
        same_map(twin, transport, X, Y)
        assert twin.score(X, X_target=Y) == transport.score(X, X_target=Y)


def test_a_stream_goes_on_after_pickling_as_if_nothing_had_happened():
    stream = quick(cost="lp").partial_fit(X, X_target=Y)
    twin = pickle.loads(pickle.dumps(stream))
    for one in (stream, twin):
        one.partial_fit(X + 0.1, X_target=Y)
    same_map(twin, stream, X, Y)


def test_a_pickle_holds_no_training_rows():
    rows = np.random.default_rng(0).standard_normal((20_000, 4))
    transport = quick(1).fit(rows, X_target=rows + 1)
    assert len(pickle.dumps(transport)) < rows.nbytes


def test_a_clone_is_unfitted_with_the_same_parameters():
    transport = quick(cost=Lp(1.3), callbacks=[]).fit(X, X_target=Y)
    twin = clone(transport)
    assert not hasattr(twin, "flow_")
    assert twin.cost is not transport.cost
    assert repr(twin) == repr(transport)
    assert twin.set_params(cost__p=1.7).cost.p == 1.7
    assert transport.cost.p == transport.cost_.p == 1.3


def test_fitted_cost_does_not_change_with_the_parameter():
    transport = quick(cost=Lp(1.3)).fit(X, X_target=Y)
    before = transport.transport_cost(X)
    transport.set_params(cost__p=3.0)
    assert transport.transport_cost(X) == before


# More of the same.


@pytest.mark.parametrize("rate", [1e-9, 10.0])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_warm_start_that_finds_nothing_better_keeps_its_map(rate):
    rows, transport = problem("elastic"), copy.deepcopy(fitted("elastic"))
    before = transport.transform(rows.X)
    transport.set_params(warm_start=True, learning_rate_init=rate, tol=0.01)
    transport.fit(rows.X, X_target=rows.X_target)
    np.testing.assert_allclose(transport.transform(rows.X), before, atol=1e-4)


@pytest.mark.slow
def test_a_warm_start_goes_on_and_a_cold_one_does_not():
    rows = problem("elastic")
    short = quick(100, cost="elastic", cost_params=COSTS["elastic"])
    errors = []
    for warm in (False, True, True, False):
        short.set_params(warm_start=warm).fit(rows.X, X_target=rows.X_target)
        errors.append(_error(short, rows))
    assert errors[2] < 0.8 * errors[0]
    assert errors[3] == pytest.approx(errors[0])


def _error(transport, rows):
    fresh, mapped = rows.sample_pairs(1000, random_state=1)
    return l2_uvp(transport.transform(fresh), mapped)


def test_a_stream_learns_from_call_to_call():
    stream = quick(cost="elastic", cost_params=COSTS["elastic"], batch_size=32)
    rows = problem("elastic")
    errors = []
    for part in np.array_split(np.arange(1000), 4) * 3:
        stream.partial_fit(rows.X[part], X_target=rows.X_target[part])
        assert stream.stop_reason_ == "partial_fit"
        errors.append(_error(stream, rows))
    assert errors[-1] < 0.8 * errors[0]


def test_a_stream_goes_on_from_a_fit():
    rows, stream = problem("elastic"), copy.deepcopy(fitted("elastic"))
    before = _error(stream, rows)
    frame = stream.preconditioners_[0]
    for _ in range(3):
        stream.partial_fit(rows.X, X_target=rows.X_target)
    assert stream.preconditioners_[0] is frame
    assert _error(stream, rows) < 1.3 * before


# Weights.


@pytest.mark.parametrize("domain", ["source", "target"])
def test_a_pass_of_a_stream_is_over_the_rows_that_are_given(domain):
    """The rows of a law that is drawn from have no end."""
    X, _ = two_samples(300)
    stream = quick(batch_size=64, default_domain=domain).partial_fit(X)
    assert 4 <= stream.n_iter_ <= 5  # some of the 300 rows are held out


@pytest.mark.parametrize("cost", ["elastic", "lp"])
def test_a_weight_is_a_repetition_of_a_row_on_either_side(cost):
    rng = np.random.default_rng(0)
    w, v = rng.integers(0, 4, len(X)), rng.integers(0, 4, len(Y))
    by_weight = quick(cost=cost, early_stopping=False)
    by_weight.fit(X, X_target=Y, sample_weight=w, target_weight=v)
    by_repetition = quick(cost=cost, early_stopping=False)
    by_repetition.fit(np.repeat(X, w, axis=0), X_target=np.repeat(Y, v, axis=0))
    same_map(by_weight, by_repetition, X, Y)
    by_domain = quick(cost=cost, early_stopping=False)
    by_domain.fit(BOTH, sample_domain=DOMAIN, sample_weight=np.r_[w, v])
    same_map(by_domain, by_weight, X, Y)
    assert by_weight.best_iter_ > 0


@pytest.mark.parametrize("weight", [1e-300, 0.5, 1e308])
def test_equal_weights_of_any_size_are_those_of_rows_without_weights(weight):
    X, Y = two_samples(40, 50)
    weighted = quick(2).fit(X, X_target=Y, target_weight=np.full(50, weight))
    plain = quick(2).fit(X, X_target=Y)
    np.testing.assert_array_equal(weighted.transform(X), plain.transform(X))


def test_weights_count_in_proportion_and_move_the_map():
    w = np.linspace(0, 1, len(X))
    plain, light, heavy = (
        quick().fit(X, X_target=Y, sample_weight=s * w if s else None)
        for s in (None, 1, 1024)
    )
    same_map(light, heavy, X, Y)
    assert abs(light.transform(X) - plain.transform(X)).max() > 1e-3


# Symmetries of the problem.


@pytest.mark.parametrize("cost", ["sqeuclidean", "lp", "norm_power", "quadratic_form"])
def test_map_moves_with_the_units_and_the_origins_of_both_sides(cost):
    """For homogeneous costs; shifts of the two sides by their own amounts only for L2."""
    params = {"cost": cost, "cost_params": COSTS[cost]}
    plain = quick(**params).fit(X, X_target=Y)
    quadratic = cost in ("sqeuclidean", "quadratic_form")
    a, b = 1024.0, np.array([7.0, -30.0])
    b_target = np.array([100.0, 5.0]) if quadratic else b
    moved = quick(**params).fit(a * X + b, X_target=a * Y + b_target)
    wanted = a * plain.transform(X) + b_target
    np.testing.assert_allclose(moved.transform(a * X + b), wanted, atol=3e-2 * a)
    back = (moved.inverse_transform(a * Y + b_target) - b) / a
    np.testing.assert_allclose(back, plain.inverse_transform(Y), atol=3e-2)
