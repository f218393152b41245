"""Rows far outside the rest: found whatever the law, and without a say in the fit."""

import numpy as np
import pytest
from fits import quick, start_map, two_samples
from sklearn.exceptions import ConvergenceWarning

import sk_ncf
from sk_ncf import NCFTransport
from sk_ncf._samples.initial_map import initial_map
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.outliers import OutlierWarning, far_rows, weighted_quantile
from sk_ncf._samples.sample import unique_rows
from sk_ncf.costs import Lp, SquaredEuclidean

LAWS = {
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
@pytest.mark.parametrize("law", ["normal", "uniform", "collinear", "two clusters"])
def test_no_row_of_a_light_tailed_law_is_far(law, shape):
    assert not len(_far(LAWS[law](np.random.default_rng(0), shape)))


@pytest.mark.parametrize("size", [20, 1e3, 1e6])
@pytest.mark.parametrize("n_corrupt", [3, 30])
@pytest.mark.parametrize("law", LAWS)
def test_up_to_one_row_in_a_hundred_is_found_at_any_distance(law, n_corrupt, size):
    X = LAWS[law](np.random.default_rng(0), (3000, 3))
    n_far = len(_far(_corrupt(X, n_corrupt, size)))
    assert n_far == n_corrupt


@pytest.mark.parametrize("n", [30, 60, 200])
def test_a_single_row_of_few_is_found(n):
    X = np.random.default_rng(0).standard_normal((n, 4))
    assert len(_far(_corrupt(X, 1, 50))) == 1


@pytest.mark.parametrize("share", [0.03, 0.2])
def test_a_value_that_many_rows_have_is_no_outlier(share):
    """A cluster of its own, zeros of rain, a rare level: a part of the law."""
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
    ray = np.array([[1.0, 2.0]]) * np.geomspace(10, 1e8, 9)[:, None]
    ray = frame.source.inverse(ray)
    start, end = frame.source.forward(ray), frame.target.forward(transport.transform(ray))
    np.testing.assert_allclose(end - start, (end - start)[[0]].repeat(9, 0), atol=1e-5)
    back = transport.inverse_transform(transport.transform(ray[:1]))
    assert np.isfinite(transport.inverse_transform(ray)).all()
    assert np.abs(back / ray[:1] - 1).max() < 0.2


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
        initial_map(*_samples(X, Y), SquaredEuclidean()) for Y in (Z, Z + 5, Z @ A + 5)
    ]
    assert kinds == ["identity", "mean_shift", "gaussian"]
    assert initial_map(*_samples(X, Z + 5), Lp(1.5)) == "mean_shift"
    assert initial_map(*_samples(X, Z), Lp(1.5)) == "identity"


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
    np.testing.assert_array_equal(loaded.transform(1e3 * X), transport.transform(1e3 * X))
    assert loaded.preconditioners_[0].kind == transport.preconditioners_[0].kind
