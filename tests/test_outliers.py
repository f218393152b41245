"""Rows far outside the rest: found for every distribution, without influence on a fit."""

import numpy as np
import pytest
import torch
from fits import quick, start_map, two_samples
from sklearn.exceptions import ConvergenceWarning

import sk_ncf
from sk_ncf import NCFTransport
from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.moments import weighted_moments
from sk_ncf._flow.potential import Potential
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.initial_map import initial_map
from sk_ncf._samples.outliers import OutlierWarning, far_rows, weighted_quantile
from sk_ncf._samples.sample import unique_rows
from sk_ncf._samples.splits import split_samples, training_frames
from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.held_out_risk import Risk, held_out_risk
from sk_ncf.costs import Lp, SquaredEuclidean

DISTRIBUTIONS = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "uniform": lambda rng, size: rng.random(size),
    "collinear": lambda rng, size: (
        rng.standard_normal((size[0], 1)) + 1e-3 * rng.standard_normal(size)
    ),
    "two clusters": lambda rng, size: (
        rng.choice([-1, 1], size) + 0.01 * rng.standard_normal(size)
    ),
    "counts": lambda rng, size: rng.poisson(3, size) + 1e-9 * rng.random(size),
}


def _far(X, weight=None):
    sample = unique_rows(np.asarray(X, dtype=float), weight)
    return np.asarray(sample.X)[far_rows(sample.X, sample.weight)]


def _corrupt(X, n, size, seed=1):
    """The first n rows at `size` standard deviations in random directions."""
    u = np.random.default_rng(seed).standard_normal((n, X.shape[1]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    X = X.copy()
    X[:n] = X.mean(axis=0) + size * X.std(axis=0) * u
    return X


@pytest.mark.parametrize("shape", [(60, 2), (300, 8), (3000, 3), (4000, 32)])
@pytest.mark.parametrize(
    "distribution", ["normal", "uniform", "collinear", "two clusters"]
)
def test_no_row_of_a_light_tailed_distribution_is_far(distribution, shape):
    assert not len(_far(DISTRIBUTIONS[distribution](np.random.default_rng(0), shape)))


@pytest.mark.parametrize("size", [20, 1e3, 1e6])
@pytest.mark.parametrize("n_corrupt", [3, 30])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_up_to_one_row_in_a_hundred_is_found_at_any_distance(
    distribution, n_corrupt, size
):
    X = DISTRIBUTIONS[distribution](np.random.default_rng(0), (3000, 3))
    n_far = len(_far(_corrupt(X, n_corrupt, size)))
    assert n_far == n_corrupt


@pytest.mark.parametrize("n", [30, 60, 200])
def test_a_single_row_of_few_is_found(n):
    X = np.random.default_rng(0).standard_normal((n, 4))
    assert len(_far(_corrupt(X, 1, 50))) == 1


@pytest.mark.parametrize("share", [0.03, 0.2])
def test_a_value_that_many_rows_have_is_no_outlier(share):
    """A cluster of its own, zeros of rain, a rare level: a part of the distribution."""
    rng = np.random.default_rng(0)
    apart = rng.random(3000) < share
    X = np.c_[rng.standard_normal(3000), np.where(apart, 100.0, 0.0)]
    assert not len(_far(X))
    X[:, 1] = np.where(apart, rng.exponential(2.0, 3000), 0.0)
    assert not len(_far(X))


def test_outliers_are_those_of_the_weighted_distribution():
    rng = np.random.default_rng(0)
    X = _corrupt(rng.standard_normal((200, 3)), 1, 100)
    count = rng.integers(1, 4, 200)
    by_weight, by_repetition = _far(X, count), _far(np.repeat(X, count, axis=0))
    np.testing.assert_array_equal(by_weight, by_repetition)
    assert len(by_weight) == 1


def test_weighted_quantiles_are_those_of_repeated_values():
    values, count = np.array([3.0, 1.0, 2.0, 5.0]), np.array([1, 4, 2, 3])
    levels = [0.1, 0.4, 0.5, 0.9]
    expected = np.quantile(np.repeat(values, count), levels, method="inverted_cdf")
    np.testing.assert_array_equal(weighted_quantile(values, count, levels), expected)


@pytest.mark.parametrize("cost", ["sqeuclidean", "lp"])
@pytest.mark.parametrize("side", [0, 1])
def test_the_map_of_the_others_is_that_without_the_corrupt_rows(cost, side):
    sides = list(two_samples(300, 310))
    clean = quick(cost=cost).fit(sides[0][2:], X_target=sides[1][2:])
    sides[side][0], sides[1 - side] = 1e6, sides[1 - side][2:]
    sides[side] = np.delete(sides[side], 1, axis=0)
    with pytest.warns(OutlierWarning, match="1 source|1 target"):
        corrupt = quick(cost=cost).fit(sides[0], X_target=sides[1])
    assert corrupt.n_outliers_.tolist() == [1 - side, side]
    X = two_samples(300, 310)[0]
    np.testing.assert_allclose(corrupt.transform(X), clean.transform(X), rtol=1e-12)


def test_a_stream_leaves_out_far_rows_of_every_call_however_small():
    X, Y = two_samples(100, 100)
    stream = quick().partial_fit(X, X_target=Y)
    X, Y = two_samples(6, 6, seed=1)
    X[0] = 1e5
    with pytest.warns(OutlierWarning, match="1 source and 0 target"):
        stream.partial_fit(X, X_target=Y)
    assert stream.n_outliers_.tolist() == [1, 0]


def test_a_far_row_is_moved_like_the_last_known_one_on_its_way_to_the_mean():
    """The network's part of its displacement is one for the whole ray."""
    X, Y = two_samples(300, 300)
    transport = quick(200).fit(X, X_target=Y)
    frame = transport.preconditioners_[0]
    ray = np.array([[0.5, 1.0]]) * np.linspace(8, 24, 9)[:, None]
    ray = frame.source.inverse(ray)
    start, end = (
        frame.source.forward(ray),
        frame.target.forward(transport.transform(ray)),
    )
    np.testing.assert_allclose(end - start, (end - start)[[0]].repeat(9, 0), atol=1e-5)
    back = transport.inverse_transform(transport.transform(ray[:1]))
    beyond = frame.source.inverse(
        np.array([[1.0, 2.0]]) * np.geomspace(10, 1e8, 9)[:, None]
    )
    assert np.isfinite(transport.inverse_transform(beyond)).all()
    assert np.abs(back / ray[:1] - 1).max() < 0.2


def test_rows_that_are_far_outside_in_all_features_are_shifted_like_the_mean():
    X, Y = two_samples(300, 300)
    transport = quick(200).fit(X, X_target=Y)
    mean = transport.preconditioners_[0].source.mean
    shift = transport.transform(mean[None]) - mean
    far = mean + np.array([[1.0, -2.0]]) * np.geomspace(1e3, 1e8, 6)[:, None]
    np.testing.assert_allclose(transport.transform(far) - far, shift.repeat(6, 0))
    home = transport.inverse_transform(transport.transform(far))
    np.testing.assert_allclose(home, far, rtol=1e-3)


def test_no_single_row_decides_a_score():
    X, Y = two_samples(300, 300)
    transport = quick().fit(X, X_target=Y)
    before = transport.score(X, X_target=Y)
    X[0], Y[0] = 1e6, -1e6
    assert transport.score(X, X_target=Y) == pytest.approx(before, rel=0.05)


def test_diagnostics_count_far_rows_and_look_at_the_others():
    X, Y = two_samples(400, 400)
    transport = quick(200).fit(X[:300], X_target=Y[:300])
    X[300], Y[300:302] = 1e6, -1e6
    found = transport.diagnostics(X[300:], X_target=Y[300:], random_state=0)
    assert found.n_outliers == (1, 2)
    assert "1 source and 2 target rows" in repr(found)
    assert found.transport_cost < 100


# The map that training starts from.


def _samples(X, Y):
    return unique_rows(X), unique_rows(Y)


def test_the_start_is_the_simplest_map_that_is_right():
    rng = np.random.default_rng(3)
    X, Z = rng.standard_normal((2, 60, 8))
    A = np.diag(np.linspace(0.3, 3, 8))
    kinds = [
        initial_map(*_samples(X, Y), SquaredEuclidean()).kind
        for Y in (Z, Z + 5, Z @ A + 5)
    ]
    assert kinds == ["identity", "mean_shift", "gaussian"]
    assert initial_map(*_samples(X, Z + 5), Lp(1.5)).kind == "mean_shift"
    assert initial_map(*_samples(X, Z), Lp(1.5)).kind == "identity"


@pytest.mark.parametrize("cost", [SquaredEuclidean(), Lp(1.5)])
@pytest.mark.parametrize("kind", ["identity", "mean_shift"])
def test_a_start_of_a_simpler_kind_is_that_map(kind, cost):
    X, Y = two_samples()
    moments = [(Z.mean(axis=0), np.cov(Z.T)) for Z in (X, Y)]
    frame = Preconditioner.of_moments(cost, moments, kind=kind)
    shift = 0 if kind == "identity" else Y.mean(axis=0) - X.mean(axis=0)
    mapped = frame.target.inverse(frame.source.forward(X))
    np.testing.assert_allclose(mapped, X + shift, atol=1e-12)


def test_a_fit_that_keeps_its_start_says_which_map_that_is():
    X, Y = two_samples()
    with pytest.warns(ConvergenceWarning, match="returns the Gaussian map.*held-out"):
        assert start_map().fit(X, X_target=Y).map_kind_ == "gaussian"
    with pytest.warns(ConvergenceWarning, match="returns the mean shift"):
        assert start_map(cost="lp").fit(X, X_target=Y).map_kind_ == "mean_shift"
    with pytest.warns(ConvergenceWarning, match="too few rows"):
        few = NCFTransport().fit(X[:3], X_target=Y[:3])
    assert few.map_kind_ == "gaussian"
    assert quick(200).fit(*[X], X_target=Y).map_kind_ in ("network", "gaussian")


def test_kind_radius_and_outliers_survive_saving(tmp_path):
    X, Y = two_samples()
    Y[0] = 1e6
    with pytest.warns(OutlierWarning):
        transport = quick(cost="lp").fit(X, X_target=Y)
    sk_ncf.save(transport, tmp_path / "transport")
    loaded = sk_ncf.load(tmp_path / "transport")
    assert loaded.map_kind_ == transport.map_kind_
    assert loaded.n_outliers_.tolist() == [0, 1]
    np.testing.assert_array_equal(
        loaded.transform(1e3 * X), transport.transform(1e3 * X)
    )
    assert loaded.preconditioners_[0].kind == transport.preconditioners_[0].kind


# The comparison of held-out rows.


def _risk(source, target, energy=None):
    """A risk of equally weighted rows, without a gap."""
    source, target = (
        torch.as_tensor(z, dtype=torch.float64)[None] for z in (source, target)
    )
    weights = [torch.full_like(z, 1 / z.shape[1]) for z in (source, target)]
    if energy is None:
        return Risk(source, target, 0 * target, *weights)
    energy = [torch.as_tensor(z, dtype=torch.float64)[None] for z in energy]
    return Risk(source, target, 0 * target, *weights, 1, *energy, *weights)


def test_a_gain_is_that_of_the_mean_where_no_row_is_far():
    rng = np.random.default_rng(0)
    x, y, x1, y1 = rng.uniform(size=(4, 500))
    gain, error = _risk(x, y).gain(_risk(x1, y1))
    assert gain.item() == pytest.approx((x - x1).mean() - (y - y1).mean())
    variance = ((x - x1).var() + (y - y1).var()) / 500
    assert error.item() == pytest.approx(variance**0.5, rel=0.01)


@pytest.mark.parametrize("size", [1e3, 1e9])
def test_one_row_moves_a_gain_by_no_more_than_a_few_deviations_of_its_own(size):
    rng = np.random.default_rng(0)
    x, y, x1, y1 = rng.standard_normal((4, 500))
    before, _ = _risk(x, y).gain(_risk(x1, y1))
    x[0] = size
    after, error = _risk(x, y).gain(_risk(x1, y1))
    assert abs(after - before).item() < 10 * 2**0.5 / 500
    assert error < 0.1


def test_a_gain_of_what_is_no_number_is_none():
    x, y = np.ones((2, 50))
    bad = x.copy()
    bad[0] = np.nan
    assert _risk(x, y).gain(_risk(bad, y))[0].isnan().all()


@pytest.mark.parametrize(
    ("opinion", "beats"), [(0.0, False), (1.0, True), (-1.0, False)]
)
def test_the_energy_distance_decides_where_the_risk_is_in_doubt(opinion, beats):
    """A gain of half a standard error; every row says the same of the energy."""
    z = np.random.default_rng(0).standard_normal(500)
    x = z - z.mean()
    x = x + 0.5 * x.std() / 500**0.5
    none = np.zeros(500)
    noise = 0.1 * np.random.default_rng(1).standard_normal(500)
    start = _risk(x, none, (opinion + noise, none))
    rule = ModelSelection(None, None, 1)
    assert rule._beats(start, _risk(none, none, (none, none)), 1.0).item() is beats


def test_the_parts_of_an_energy_distance_sum_up_to_it():
    """Of the identity, but for the term of the wanted rows and pairs of a row with itself."""
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.standard_normal((1, n, 2))) for n in (40, 50))
    flow = CharacteristicFlow(Potential(2, (4,)).double(), SquaredEuclidean())
    flow.potential.reset()
    weights = [torch.full(z.shape[:2], 1 / z.shape[1], dtype=z.dtype) for z in (x, y)]
    risk = held_out_risk(flow, x, y, *weights)
    within = [torch.cdist(z, z).sum() / (n * (n - 1)) for z, n in ((x, 40), (y, 50))]
    expected = 4 * torch.cdist(x, y).mean() - sum(within)
    assert (risk.energy_x.mean() + risk.energy_y.mean()).item() == pytest.approx(
        expected.item()
    )


def test_training_rows_have_the_moments_of_all_rows():
    X, Y = two_samples(200, 210)
    source, target = _samples(X, Y)
    frame = Preconditioner.fit_classes([(source, target)], SquaredEuclidean(), {})[0]
    parts = split_samples(source, target, 4, 0.1, np.random.RandomState(0))
    for side, frames in enumerate(training_frames(parts, frame)):
        own = (frame.source, frame.target)[side]
        whole = own.moments(*parts.all_rows[side].moments)
        for fold, moved in zip(parts.train[side], frames, strict=True):
            found = weighted_moments(moved.forward(fold.X), fold.weight)
            for value, expected in zip(found, whole, strict=True):
                np.testing.assert_allclose(value, expected, atol=1e-4)


def test_a_row_at_the_mean_is_mapped_to_the_mean():
    """Its distance from the mean, by which far rows are scaled down, is zero."""
    X = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]] * 8)
    transport = start_map().fit(X, X_target=2 * X + 3)
    np.testing.assert_allclose(transport.transform([[0.0, 0.0]]), [[3.0, 3.0]])
