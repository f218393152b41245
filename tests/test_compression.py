"""After a fit, one network takes the place of the ensemble if it is as good."""

import os
import pickle

import numpy as np
import pytest
import torch
from fits import COSTS, crossing_classes, problem, quick

import sk_ncf
from sk_ncf._flow.potential import MeanPotential
from sk_ncf._flow.transport_map import TransportMap
from sk_ncf._training import compression, results
from sk_ncf.metrics import l2_uvp


@pytest.fixture
def pairs(monkeypatch):
    """Flows before and after the compression, which is always accepted."""
    seen = []

    def compressed(flow, *args):
        seen.append((flow, compression.compressed(flow, *args)))
        return seen[-1][1]

    monkeypatch.setattr(results, "compressed", compressed)
    monkeypatch.setattr(compression, "LARGEST_DISTANCE", (np.inf, np.inf))
    monkeypatch.setattr(compression, "N_ERRORS", np.inf)
    return seen


@pytest.fixture
def never(monkeypatch):
    """The ensemble is always kept."""
    monkeypatch.setattr(compression, "LARGEST_DISTANCE", (-1.0, -1.0))


def fit(max_iter=150, cost="sqeuclidean", **params):
    rows = problem(cost)
    transport = quick(max_iter, cost=cost, cost_params=COSTS[cost], **params)
    return transport.fit(rows.X, X_target=rows.X_target), rows


@pytest.mark.slow
@pytest.mark.parametrize("cost", COSTS)
def test_one_network_maps_as_the_ensemble_does(cost, pairs):
    transport, rows = fit(cost=cost, ensemble_size=3)
    mean = TransportMap(pairs[0][0], transport.preconditioners_)
    x, y = rows.sample_pairs(500, random_state=1)
    assert transport.flow_.potential.n_potentials == 1
    assert l2_uvp(transport.transform(x), mean.forward(x)) < 2
    # Only for quadratic costs it learns the inverse with its steps.
    steps = 3 if cost in ("sqeuclidean", "quadratic_form") else 0
    inverse = mean._map(y, None, "target", "source", lambda f, z: f.inverse(z, steps))
    assert l2_uvp(transport.inverse_transform(y), inverse) < 5


def test_one_network_is_nearer_to_the_mean_than_any_member_is(pairs):
    transport, rows = fit(ensemble_size=3)
    (flow, network), x = pairs[0], rows.sample_pairs(500, random_state=1)[0]
    z = torch.from_numpy(transport.preconditioners_[0].source.forward(x)).float()[None]
    with torch.no_grad():
        mean, one = flow.head(z), network.head(z)
        _, p = flow.potential.members.value_and_gradient(
            z.expand(3, -1, -1), torch.zeros(3, len(x))
        )
    members = (z + p - mean).square().mean((1, 2))
    assert (one - mean).square().mean() < 0.5 * members.min()


def test_the_ensemble_stays_if_the_network_is_not_near_it(never):
    transport, _ = fit(ensemble_size=2)
    assert isinstance(transport.flow_.potential, MeanPotential)


def test_the_ensemble_stays_if_the_held_out_risk_is_worse(monkeypatch):
    monkeypatch.setattr(compression, "N_ERRORS", -1e6)
    transport, _ = fit(ensemble_size=2)
    assert isinstance(transport.flow_.potential, MeanPotential)


def test_agreement_is_complete_with_the_ensemble_itself(never):
    transport, rows = fit(ensemble_size=2)
    x, y = (torch.from_numpy(z).float()[None] for z in rows.sample_pairs(100))
    found = compression.compare(transport.flow_, transport.flow_, x, y)
    assert found.risk_gain == 0
    assert found.distance[0] == 0
    assert 0 < found.distance[1] < 1  # of its feet, which are not refined
    far = compression.compare(
        transport.flow_, fit(ensemble_size=2, random_state=1)[0].flow_, x, y
    )
    assert all(a > b for a, b in zip(far.distance, found.distance, strict=True))


def test_pickles_and_files_shrink_with_it(tmp_path, pairs):
    one, _ = fit(20, ensemble_size=4, hidden_layer_sizes=(64, 64, 64))
    compression.LARGEST_DISTANCE = -1.0, -1.0
    four, _ = fit(20, ensemble_size=4, hidden_layer_sizes=(64, 64, 64))
    sizes = []
    for name, transport in (("one", one), ("four", four)):
        path = tmp_path / f"{name}.safetensors"
        sk_ncf.save(transport, path)
        sizes.append((len(pickle.dumps(transport)), os.path.getsize(path)))
    assert sizes[0][0] < 0.5 * sizes[1][0]
    assert sizes[0][1] < 0.6 * sizes[1][1]


def test_it_is_restored_from_files_and_pickles(tmp_path, pairs):
    transport, rows = fit(ensemble_size=2)
    sk_ncf.save(transport, tmp_path / "one.safetensors")
    saved = sk_ncf.load(tmp_path / "one.safetensors")
    for other in (saved, pickle.loads(pickle.dumps(transport))):
        for method in ("transform", "inverse_transform"):
            wanted = getattr(transport, method)(rows.X)
            np.testing.assert_array_equal(getattr(other, method)(rows.X), wanted)


def test_a_stream_goes_on_with_an_ensemble_of_copies(tmp_path, pairs):
    transport, rows = fit(ensemble_size=2)
    sk_ncf.save(transport, tmp_path / "one.safetensors")
    for later in (
        sk_ncf.load(tmp_path / "one.safetensors"),
        pickle.loads(pickle.dumps(transport)),
        transport,
    ):
        before = later.flow_.potential.hidden_weight.clone()
        later.set_params(learning_rate_init=1e-12)
        later.partial_fit(rows.X, X_target=rows.X_target)
        members = later.flow_.potential.members.hidden_weight
        torch.testing.assert_close(members, before.expand(2, -1, -1, -1))
        later.set_params(learning_rate_init=1e-3)
        later.partial_fit(rows.X, X_target=rows.X_target)
        assert l2_uvp(later.transform(rows.X), rows.forward(rows.X)) < 30


def test_a_warm_start_starts_all_members_from_the_network(pairs):
    transport, rows = fit(ensemble_size=2)
    before = transport.flow_.potential.hidden_weight.clone()
    transport.set_params(warm_start=True, learning_rate_init=1e-12, max_iter=1)
    transport.fit(rows.X, X_target=rows.X_target)
    torch.testing.assert_close(transport.flow_.potential.hidden_weight, before)


def test_every_class_gets_its_network(pairs):
    X, Y, y = crossing_classes()
    transport = quick(60, class_conditional="per_class", ensemble_size=2)
    transport.fit(X, y, X_target=Y, y_target=y)
    mean = TransportMap(pairs[0][0], transport.preconditioners_)
    assert transport.flow_.potential.n_potentials == 3
    mapped = transport.transform(X, sample_label=y)
    assert l2_uvp(mapped, mean.forward(X, y)) < 0.5


def test_a_fit_that_keeps_its_initialization_has_nothing_to_compress(pairs):
    with pytest.warns(UserWarning):
        fit(1, tol=1e9, ensemble_size=2)
    assert not pairs
