"""Moments of small classes: identity, common shift, class shifts or linear maps."""

import numpy as np
import pytest

from sk_ncf._classes.pooling import PooledSample, pooled_moments
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf.costs import SquaredEuclidean

D, N_CLASSES = 3, 4
CENTRES = 6 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def sample(seed, shifts=0.0, n=12, matrix=None):
    """Rows of four classes, twelve of each, with a shift of every class."""
    rng = np.random.RandomState(seed)
    codes = np.repeat(np.arange(N_CLASSES), n)
    noise = rng.standard_normal((len(codes), D))
    noise = noise if matrix is None else noise @ matrix
    X = CENTRES[codes] + np.broadcast_to(shifts, (N_CLASSES, D))[codes] + noise
    return X, np.ones(len(X)), codes


def pooled(source, target, labelled=True):
    labelled = np.broadcast_to(labelled, target[2].shape)
    samples = PooledSample(*source), PooledSample(*target, labelled)
    return pooled_moments(*samples, N_CLASSES)


def mapped(moments, k, X):
    """Rows of a class under the Gaussian map between its moments."""
    frame = Preconditioner.of_moments(SquaredEuclidean(), moments[k])
    return frame.target.inverse(frame.source.forward(X))


def shifts(moments):
    return np.array([y[0] - x[0] for x, y in moments.values()])


@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "pseudo-labels"])
def test_equal_distributions_get_the_identity(labelled):
    """In nine of ten draws: a candidate must be better by two standard errors."""
    n_identities = 0
    for seed in range(20):
        source = sample(seed)
        moments = pooled(source, sample(seed + 100), labelled)
        images = [
            mapped(moments, k, source[0][source[2] == k]) for k in range(N_CLASSES)
        ]
        n_identities += np.allclose(np.concatenate(images), source[0], atol=1e-8)
    assert n_identities >= 18


@pytest.mark.parametrize("seed", range(5))
def test_a_common_shift_is_estimated_from_all_classes(seed):
    shift = np.array([2.0, -1.0, 0.0])
    moments = pooled(sample(seed), sample(seed + 100, shift))
    found = shifts(moments)
    assert np.abs(found - shift).max() < 1.0
    # More accurate than the means of single classes, which have four times the noise.
    own = [
        sample(seed + 100, shift)[0][s].mean(0) - sample(seed)[0][s].mean(0)
        for s in np.split(np.arange(N_CLASSES * 12), N_CLASSES)
    ]
    assert np.square(found - shift).sum() < np.square(own - shift).sum()


@pytest.mark.parametrize("seed", range(5))
def test_classes_that_change_places_get_their_own_shifts(seed):
    places = np.roll(CENTRES, 1, axis=0) - CENTRES
    moments = pooled(sample(seed), sample(seed + 100, places))
    assert np.abs(shifts(moments) - places).max() < 2.0


def test_wrong_pseudo_labels_give_no_class_shifts():
    """A pseudo-label counts for every class, so a wrong one supports no shift."""
    source, target = sample(0), sample(100)
    rng = np.random.RandomState(0)
    wrong = target[2].copy()
    some = rng.permutation(len(wrong))[: len(wrong) // 4]
    wrong[some] = rng.randint(N_CLASSES, size=len(some))
    moments = pooled(source, (target[0], target[1], wrong), labelled=False)
    found = shifts(moments)
    assert np.ptp(found, axis=0).max() < 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_a_common_linear_map_is_found(seed):
    matrix = np.diag([8.0, 1.0, 1.0])
    source, target = sample(seed, n=25), sample(seed + 100, n=25, matrix=matrix)
    moments = pooled(source, target)
    for k in range(N_CLASSES):
        step = mapped(moments, k, np.eye(D)) - mapped(moments, k, np.zeros((1, D)))
        assert 4 < step[0, 0] < 14
        assert abs(step[1, 1] - 1) < 0.6


def test_large_classes_are_left_out():
    source, target = sample(0, n=10 * D), sample(1, n=10 * D)
    assert pooled(source, target) == {}
    few = np.flatnonzero((target[2] > 1) | (np.arange(len(target[2])) % 30 < 12))
    assert set(pooled(source, tuple(part[few] for part in target))) == {0, 1}


@pytest.mark.parametrize("candidate", ["identity", "class shifts"])
def test_a_weight_of_two_is_the_same_row_twice_in_any_order(candidate):
    places = 0.0 if candidate == "identity" else np.roll(CENTRES, 1, axis=0) - CENTRES
    samples, twice = (sample(0), sample(1, places)), []
    rng = np.random.RandomState(0)
    weights = [rng.randint(1, 3, len(s[0])) for s in samples]
    for (X, _, codes), weight in zip(samples, weights, strict=True):
        rows = rng.permutation(np.repeat(np.arange(len(X)), weight))
        twice.append((X[rows], np.ones(len(rows)), codes[rows]))
    weighted = [
        (s[0], w.astype(float), s[2]) for s, w in zip(samples, weights, strict=True)
    ]
    one, two = pooled(*weighted), pooled(*twice)
    assert one.keys() == two.keys() == set(range(N_CLASSES))
    for k in one:
        for a, b in zip(one[k], two[k], strict=True):
            np.testing.assert_allclose(a[0], b[0], atol=1e-12)
            np.testing.assert_allclose(a[1], b[1], atol=1e-12)


def test_units_of_features_have_no_effect():
    unit = np.array([1e-6, 1.0, 1e6])
    places = np.roll(CENTRES, 1, axis=0) - CENTRES
    samples = sample(0), sample(1, places)
    scaled = [(X * unit, weight, codes) for X, weight, codes in samples]
    one, two = pooled(*samples), pooled(*scaled)
    for k in one:
        for a, b in zip(one[k], two[k], strict=True):
            np.testing.assert_allclose(a[0], b[0] / unit, atol=1e-6)
            np.testing.assert_allclose(a[1], b[1] / np.outer(unit, unit), atol=1e-6)


def test_a_constant_feature_stays_constant():
    samples = [(np.c_[X, np.ones(len(X))], w, c) for X, w, c in (sample(0), sample(1))]
    moments = pooled(*samples)
    for k in range(N_CLASSES):
        X = samples[0][0][samples[0][2] == k]
        np.testing.assert_allclose(mapped(moments, k, X)[:, -1], 1, atol=1e-9)


def test_a_class_of_outliers_only_is_not_pooled():
    rng = np.random.RandomState(0)
    codes = np.append(np.repeat(np.arange(10), 12), [10, 10])
    centres = 6 * rng.standard_normal((11, 2))
    X, Y = (centres[codes] + rng.standard_normal((122, 2)) for _ in range(2))
    X[-2:] = [[0, 1e3], [1e3, 0]]  # each far from the class's median in a column
    source = PooledSample(X, np.ones(122), codes)
    target = PooledSample(Y, np.ones(122), codes, np.ones(122, dtype=bool))
    moments = pooled_moments(source, target, 11)
    assert moments.keys() == set(range(10))
    assert all(np.isfinite(m).all() for pair in moments.values() for m in sum(pair, ()))
