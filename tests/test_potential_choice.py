"""With potential="auto", held-out rows decide between network and discrete potential."""

import pickle

import numpy as np
import pytest
import torch
from fits import quick as quick_network

import sk_ncf
from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.transport_map import TransportMap
from sk_ncf._samples.sample import unique_rows
from sk_ncf._training import potential_choice
from sk_ncf._training.potential_choice import Comparison
from sk_ncf.diagnostics import MapQualityWarning
from sk_ncf.metrics import l2_uvp


def quick(max_iter, **params):
    """A short fit that chooses."""
    return quick_network(max_iter, **{"potential": "auto", **params})


RNG = np.random.default_rng(0)


def clusters(n, distance=12.0):
    """Rows of two distant clusters, one of them twice as heavy."""
    side = np.where(RNG.random(n) < 0.67, -distance / 2, distance / 2)
    return np.c_[side, np.zeros(n)] + 0.3 * RNG.standard_normal((n, 2))


X, Y = RNG.standard_normal((400, 2)), clusters(400)
X_NEW = RNG.standard_normal((500, 2))
DISCRETE = quick(60, ensemble_size=2).fit(X, X_target=Y)


def between(mapped):
    """Fraction of rows between the clusters."""
    return (np.abs(mapped[:, 0]) < 4).mean()


def test_the_discrete_potential_is_the_map_to_distant_clusters():
    assert DISCRETE.map_kind_ == "discrete"
    assert between(DISCRETE.transform(X_NEW)) < 0.01
    network = quick(60, ensemble_size=2, potential="network").fit(X, X_target=Y)
    assert network.map_kind_ == "network"
    assert between(network.transform(X_NEW)) > 0.02


def test_the_choice_says_why():
    choice = DISCRETE.potential_choice_
    assert choice["outside_network"] > choice["outside_discrete"] + 0.02
    assert Comparison(**choice).discrete_is_better


def test_the_training_ends_early_if_the_discrete_potential_is_clearly_better():
    transport = quick(300, ensemble_size=2).fit(X, X_target=Y)
    assert transport.stop_reason_ == "discrete"
    assert 40 <= transport.n_iter_ < 100
    assert not any(name == "early_choice" for name, _ in transport.net_.callbacks_)


def test_gaussian_rows_keep_the_smooth_map():
    A = np.array([[2.0, 0.5], [0.5, 1.0]])
    transport = quick(60).fit(X, X_target=RNG.standard_normal((400, 2)) @ A)
    assert transport.map_kind_ in ("network", "gaussian")
    assert transport.potential_choice_["outside_network"] < 0.04


def test_the_discrete_potential_uses_all_rows_after_the_choice():
    kept = DISCRETE.flow_.potential
    assert kept.x.shape[1] > 0.9 * 400  # more than any member was trained on


@pytest.mark.parametrize(
    "params", [{"potential": "network"}, {"early_stopping": False}]
)
def test_nothing_is_compared_without_a_choice_or_held_out_rows(params):
    transport = quick(20, **params).fit(X, X_target=Y)
    assert transport.map_kind_ in ("network", "gaussian")
    assert not hasattr(transport, "potential_choice_")


def test_a_stream_trains_the_network():
    stream = quick(20).partial_fit(X, X_target=Y)
    assert stream.map_kind_ != "discrete"
    assert not hasattr(stream, "potential_choice_")


def test_a_stream_continues_with_the_network_behind_a_discrete_potential(tmp_path):
    pytest.importorskip("skops")
    sk_ncf.save(DISCRETE, tmp_path / "discrete.safetensors")
    later = sk_ncf.load(tmp_path / "discrete.safetensors")
    np.testing.assert_array_equal(later.transform(X_NEW), DISCRETE.transform(X_NEW))
    for loaded in (later, pickle.loads(pickle.dumps(DISCRETE))):
        loaded.set_params(learning_rate_init=1e-12).partial_fit(X, X_target=Y)
        weights = loaded.flow_.potential.members.hidden_weight
        torch.testing.assert_close(
            weights, DISCRETE.flow_.potential.network.members.hidden_weight
        )
        assert loaded.map_kind_ != "discrete"


def test_a_warm_start_continues_with_the_network(tmp_path):
    transport = pickle.loads(pickle.dumps(DISCRETE)).set_params(
        warm_start=True, max_iter=1, potential="network", learning_rate_init=1e-12
    )
    transport.fit(X, X_target=Y)
    network = CharacteristicFlow(DISCRETE.flow_.potential.network, DISCRETE.flow_.cost)
    mapped = TransportMap(network, DISCRETE.preconditioners_).forward(X_NEW)
    assert l2_uvp(transport.transform(X_NEW), mapped) < 1


def test_classes_are_chosen_for_together():
    y = np.arange(400) % 2
    transport = quick(60, class_conditional=True).fit(X, y, X_target=Y, y_target=y)
    assert transport.map_kind_.tolist() == ["discrete"] * 2
    mapped = transport.transform(X_NEW, sample_label=np.arange(500) % 2)
    assert between(mapped) < 0.01


def test_diagnostics_report_the_rows_between_the_clusters():
    rows = RNG.standard_normal((600, 2)), clusters(600)
    network = quick(60, ensemble_size=2, potential="network").fit(X, X_target=Y)
    with pytest.warns(MapQualityWarning, match="Do not trust"):
        far = network.diagnostics(rows[0], X_target=rows[1], random_state=0)
    near = DISCRETE.diagnostics(rows[0], X_target=rows[1], random_state=0)
    assert far.forward.mapped_outside > near.forward.mapped_outside + 0.02
    assert near.forward.mapped_outside < 0.03


BASE = {"outside_network": 0.1, "outside_discrete": 0.01, "outside_error": 0.01}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (BASE, True),
        (BASE | {"outside_error": 0.05}, False),
        (BASE | {"outside_network": 0.02}, False),
        (BASE | {"energy_gain": -0.1, "energy_error": 0.01}, False),
        (BASE | {"energy_gain": -0.1, "energy_error": 0.1}, True),
        (BASE | {"risk_gain": -0.1, "risk_error": 0.01}, False),
        ({"energy_network": 1.0, "energy_gain": 0.5, "energy_error": 0.1}, True),
        ({"energy_network": 1.0, "energy_gain": 0.5, "energy_error": 0.3}, False),
        ({"energy_network": 1.0, "energy_gain": 0.1, "energy_error": 0.01}, False),
        ({}, False),
    ],
)
def test_the_discrete_potential_must_be_better_and_not_worse(values, expected):
    assert Comparison(**values).discrete_is_better is expected


@pytest.mark.parametrize(
    ("n", "digits", "few"), [(150, 0, True), (150, 6, False), (900, 0, False)]
)
def test_few_rows_of_repeated_values_need_less_evidence(n, digits, few):
    """Of few rows none could be shown by three standard errors."""
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((m, 3)).round(digits) for m in (n, n + 50))
    samples = unique_rows(X), unique_rows(Y)
    assert potential_choice._are_few_values(samples) == few
    n_errors = potential_choice.N_ERRORS_REPEATED if few else potential_choice.N_ERRORS
    found = Comparison(
        energy_network=0.1, energy_gain=0.06, energy_error=0.06, n_errors=n_errors
    )
    assert found.discrete_is_better == few
