"""Units in which the energy distances of maps are compared, and what they change."""

import numpy as np
import pytest

from sk_ncf._flow.moments import weighted_moments
from sk_ncf._samples.initial_map import initial_map
from sk_ncf._samples.left_out import without_far_rows
from sk_ncf._samples.map_comparison import BOUND, FeatureUnits
from sk_ncf._samples.sample import unique_rows
from sk_ncf.costs import SquaredEuclidean


def _pair(rng, n=300, d=2):
    """Two samples, rows and weights."""
    return tuple((rng.standard_normal((n, d)), np.full(n, 1 / n)) for _ in range(2))


def _standard(*pair):
    return FeatureUnits.standard(*(weighted_moments(*sample) for sample in pair))


def test_normal_columns_hardly_change():
    pair = _pair(np.random.default_rng(0), n=5000)
    both = np.concatenate([rows for rows, _ in pair])
    z = (both - both.mean(axis=0)) / both.std(axis=0)
    bent = BOUND * np.arctan(z / BOUND)
    np.testing.assert_allclose(FeatureUnits.robust(*pair)(both), bent, atol=0.1)


def test_they_do_not_depend_on_the_units_of_the_columns():
    pair = _pair(np.random.default_rng(0))
    scale, shift = np.array([1e3, 0.1]), np.array([-5.0, 7.0])
    other = [(rows * scale + shift, weight) for rows, weight in pair]
    np.testing.assert_allclose(
        FeatureUnits.robust(*other)(other[0][0]),
        FeatureUnits.robust(*pair)(pair[0][0]),
        atol=1e-12,
    )


def test_no_row_is_farther_than_the_bound():
    pair = _pair(np.random.default_rng(0))
    far = FeatureUnits.robust(*pair)(np.array([[1e300, -1e300]]))
    np.testing.assert_allclose(np.abs(far), BOUND * np.pi / 2, rtol=0.1)


def test_a_weight_is_a_repetition():
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((60, 2)), rng.integers(1, 4, 60)
    other = (rng.standard_normal((50, 2)), np.ones(50))
    repeated = np.repeat(X, weight, axis=0)
    a = FeatureUnits.robust((X, weight.astype(float)), other)
    b = FeatureUnits.robust((repeated, np.ones(len(repeated))), other)
    np.testing.assert_allclose(a.centre, b.centre)
    np.testing.assert_allclose(a.scale, b.scale)


def test_columns_of_mostly_one_value_have_their_standard_deviation_as_unit():
    rng = np.random.default_rng(0)
    X = np.c_[np.zeros(200), rng.random(200) < 0.1]
    units = FeatureUnits.robust((X, np.ones(200)), (X, np.ones(200)))
    np.testing.assert_allclose(units.centre, X.mean(axis=0))
    np.testing.assert_allclose(units.scale, X[:, 1].std())


@pytest.mark.parametrize("n", [150, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_without_a_shift_heavy_tails_do_not_make_a_map(n, seed):
    rng = np.random.default_rng(seed)

    def sample(n):
        X = rng.standard_normal((n, 4))
        X[:, 2] = rng.standard_cauchy(n)
        X[:, 3] = np.abs(rng.standard_cauchy(n)) * (rng.random(n) < 0.5)
        return without_far_rows(unique_rows(X, None))[0]

    assert initial_map(sample(n), sample(3000), SquaredEuclidean()).kind == "identity"


def test_standard_units_do_not_bend():
    pair = _pair(np.random.default_rng(0))
    both = np.concatenate([rows for rows, _ in pair])
    variance = np.mean([rows.var(axis=0) for rows, _ in pair], axis=0)
    z = (both - both.mean(axis=0)) / np.sqrt(variance)
    np.testing.assert_allclose(_standard(*pair)(both), z)


def test_a_shift_between_the_samples_does_not_change_the_units():
    (X, weight), (Y, _) = _pair(np.random.default_rng(0))
    for units in (_standard, FeatureUnits.robust):
        near, far = (units((X, weight), (Y + shift, weight)) for shift in (0.0, 50.0))
        np.testing.assert_allclose(near.scale, far.scale)
        moved = np.abs(far(X) - far(X + 50)).mean()
        assert moved > 50 if np.isinf(far.bound).all() else moved > 25
