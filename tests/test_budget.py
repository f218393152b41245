"""How the length of a fit follows from its rows, and its parts from its length."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from fits import start_map, two_samples

from sk_ncf import NCFTransport
from sk_ncf._training.budget import (
    MIN_EPOCH,
    MIN_ROWS,
    auto_max_iter,
    auto_patience,
    balanced_size,
    epoch_length,
    warmup_steps,
)
from sk_ncf._training.callbacks.learning_rate import LinearDecay
from sk_ncf._training.defaults import _auto_ensemble_size, resolve_settings
from sk_ncf.metrics import l2_uvp

SIZES = np.geomspace(2, 1e8, 200)
LENGTHS = [*range(1, 60), 100, 333, 1000, 5000]


def test_more_rows_never_get_fewer_steps_nor_proportionally_more():
    steps = np.array([auto_max_iter(n) for n in SIZES])
    assert (np.diff(steps) >= 0).all()
    epochs = steps / SIZES
    assert (np.diff(epochs) <= 0).all()
    assert (steps[0], steps[-1]) == (30, 5000)


def test_balanced_size_is_that_of_equal_sides_with_the_same_variance():
    for n, m in ((10, 10), (10, 1000), (3, 4)):
        k = balanced_size(n, m)
        assert 2 / k == pytest.approx(1 / n + 1 / m)
        assert min(n, m) <= k <= 2 * min(n, m)


@pytest.mark.parametrize("n_steps", LENGTHS)
def test_warm_up_ends_before_the_decay_and_patience_before_the_fit(n_steps):
    schedule = LinearDecay(n_steps)
    assert schedule.warmup == warmup_steps(n_steps) <= max(1, 0.1 * n_steps)
    assert schedule.warmup <= max(1, schedule.constant_share * n_steps)
    assert auto_patience(n_steps) >= 3 * min(MIN_EPOCH, epoch_length(n_steps))
    if n_steps >= 60:
        # A decay that is shortened after the patience ends before the budget does.
        assert schedule.warmup < auto_patience(n_steps) < 3 / 5 * n_steps
    assert 1 <= epoch_length(n_steps) <= n_steps


@pytest.mark.parametrize("n_steps", LENGTHS)
def test_rate_is_zero_at_the_end_of_the_budget_and_not_before(n_steps):
    net = SimpleNamespace(optimizer_=SimpleNamespace(param_groups=[{"lr": 1.0}]))
    schedule = LinearDecay(n_steps).initialize()
    for _ in range(n_steps):
        schedule.on_batch_begin(net, training=True)
        assert net.optimizer_.param_groups[0]["lr"] > 0
    assert schedule.end == schedule.step == n_steps
    if schedule.turn is not None:
        assert schedule.factor() == pytest.approx(0, abs=1e-12)


def test_patience_is_a_share_of_the_budget_unless_it_is_given():
    for max_iter in (150, 300, 3000):
        settings = _settings(max_iter=max_iter)
        assert settings.n_iter_no_change == math.ceil(max_iter / 3)
    assert _settings(max_iter=300, n_iter_no_change=7).n_iter_no_change == 7
    auto = _settings()
    assert (auto.max_iter, auto.n_iter_no_change) == (
        auto_max_iter(500),
        auto_patience(auto_max_iter(500)),
    )


def _settings(**params):
    estimator = NCFTransport(**params)
    estimator.n_features_in_ = 2
    return resolve_settings(estimator, 500, 1, 1)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_too_few_rows_for_a_validation_split_are_recognised_before_training(
    early_stopping,
):
    X, Y = two_samples(MIN_ROWS - 1, MIN_ROWS - 1)
    options = {"early_stopping": early_stopping, "random_state": 0}
    transport = NCFTransport(max_iter=20, **options).fit(X, X_target=Y)
    if early_stopping:
        assert (transport.stop_reason_, transport.n_iter_) == ("too_few_rows", 0)
        start = start_map().fit(X, X_target=Y)
        np.testing.assert_allclose(transport.transform(X), start.transform(X))
    else:
        assert (transport.stop_reason_, transport.n_iter_) == ("max_iter", 20)


@pytest.mark.parametrize(
    ("n", "d", "size"),
    [(29_999, 5, 4), (30_000, 5, 1), (999_999, 4, 4), (1_000_000, 4, 1)],
)
def test_ensembles_have_four_members_below_a_number_of_rows(n, d, size):
    assert _auto_ensemble_size(n, d) == size


@pytest.mark.slow
def test_a_warm_start_on_many_rows_improves_the_map():
    rng = np.random.default_rng(1)
    mapped = lambda x: np.sign(x) * np.abs(x) ** 1.5
    X, other, X_new = (rng.standard_normal((n, 2)) for n in (4000, 4000, 3000))
    transport = NCFTransport(
        hidden_layer_sizes=(32, 32),
        max_iter=60,
        ensemble_size=1,
        potential="network",
        warm_start=True,
        random_state=0,
    )
    errors = [
        l2_uvp(transport.fit(X, X_target=mapped(other)).transform(X_new), mapped(X_new))
        for _ in range(3)
    ]
    assert errors[2] < 0.9 * errors[1] < 0.8 * errors[0]


def test_a_warm_start_on_few_rows_keeps_the_earlier_map_unless_a_better_one_is_found():
    X, Y = two_samples(100, 100)
    transport = NCFTransport(max_iter=60, warm_start=True, random_state=0)
    before = transport.fit(X, X_target=Y).flow_
    transport.set_params(max_iter=5).fit(X[:20], X_target=Y[:20])
    assert transport.stop_reason_ != "too_few_rows"
    assert before is not transport.flow_
