"""Values that many rows share: each part of a split has its share of their copies."""

import warnings

import numpy as np
import pytest
from fits import quick, same_map
from scipy.spatial.distance import cdist

from sk_ncf import MapQualityWarning, SquaredEuclidean
from sk_ncf._classes.pooling import PooledSample, pooled_moments
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.atoms import weight_to_split
from sk_ncf._samples.held_out import held_out_folds
from sk_ncf._samples.sample import Sample, equal_weights, unique_rows
from sk_ncf._samples.splits import merge_held_out, split_samples
from sk_ncf.diagnostics._evaluation_sample import EvaluationSample, equally_many
from sk_ncf.diagnostics._support import Support


def _rng(seed=0):
    return np.random.RandomState(seed)


def half_at(value, n=1500, n_others=995):
    """Rows of which most have one value, the others are uniform."""
    return np.r_[np.full(n, value), _rng(1).uniform(size=n_others)][:, None]


def picture(centre, n=2000, seed=0):
    """8-bit pixels, half of them a white background."""
    rng = _rng(seed)
    noise = [40, 25, 15] * rng.standard_normal((n, 3))
    noise += 25 * rng.standard_normal((n, 1))
    pixels = np.clip(centre + noise, 0, 255).round()
    pixels[rng.uniform(size=n) < 0.5] = 255
    return pixels


def counts(n=2000):
    """Poisson counts, and overdispersed ones."""
    rng = _rng(4)
    rates = rng.gamma(1.5, 2, (n, 1)) * [1.0, 0.8]
    return rng.poisson([3, 1.5], (n, 2)).astype(float), rng.poisson(rates).astype(float)


def binary(share, n=3000):
    ones = round(share * n)
    return np.repeat([[0.0], [1.0]], [n - ones, ones], axis=0)


def energy(a, b):
    """Squared energy distance of two samples."""
    return 2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean()


KINDS = {
    "one value": half_at(5.0),
    "picture": picture([150, 110, 90]),
    "counts": counts()[0],
    "binary": binary(0.3),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


# Splits.


def _mass(sample):
    """Rows that stand at every value."""
    merged = unique_rows(sample.X[:], sample.weight * sample.total)
    return dict(zip(map(tuple, merged.X[:]), merged.weight * merged.total, strict=True))


@every_kind
@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5])
def test_every_part_has_its_share_of_the_copies_of_a_heavy_row(kind, fraction):
    sample = unique_rows(KINDS[kind])
    whole = _mass(sample)
    for kept, apart in held_out_folds(sample, 3, fraction, 12_000, _rng()):
        parts = _mass(kept), _mass(apart)
        assert kept.weight.sum() == pytest.approx(1)
        assert apart.weight.sum() == pytest.approx(1)
        for value, mass in whole.items():
            shares = [part.get(value, 0.0) for part in parts]
            assert sum(shares) == pytest.approx(mass)
            if mass >= max(5, len(KINDS[kind]) / 1000) and mass * fraction >= 1:
                assert shares[1] == pytest.approx(fraction * mass, rel=0.02)


@every_kind
def test_held_out_rows_are_copies_of_about_equal_weight(kind):
    """So that what counts rows, a standard error or a median, counts draws."""
    sample = unique_rows(KINDS[kind])
    ((_, apart),) = held_out_folds(sample, 1, 0.1, 4000, _rng())
    n = len(KINDS[kind])
    assert len(apart) == pytest.approx(0.1 * n, rel=0.05)
    assert 1 / np.square(apart.weight).sum() > 0.8 * len(apart)


def test_a_light_row_given_a_few_times_is_never_on_both_sides():
    rows = np.repeat(_rng().standard_normal((60, 2)), 4, axis=0)
    for kept, apart in held_out_folds(unique_rows(rows), 4, 0.2, 1000, _rng()):
        assert not set(map(tuple, kept.X[:])) & set(map(tuple, apart.X[:]))
        assert len(apart) == 12


@every_kind
def test_a_sample_of_repeated_values_counts_its_rows(kind):
    rows = KINDS[kind]
    sample = unique_rows(rows)
    assert sample.n_rows == pytest.approx(len(rows), rel=0.05)
    assert sample.effective_size == pytest.approx(len(rows), rel=0.1)


def test_some_row_is_held_out_of_the_smallest_sample_that_can_be_parted():
    for rows in ([[0.0]] * 6 + [[1.0]] * 5 + [[2.0]], [[0.0]] * 9 + [[1.0]]):
        for seed in range(50):
            folds = held_out_folds(unique_rows(np.array(rows)), 2, 0.05, 9, _rng(seed))
            assert all(len(part) for fold in folds for part in fold)


def test_oversampled_rows_are_worth_the_distinct_ones():
    rows = _rng().standard_normal((2000, 2))
    sample = unique_rows(np.repeat(rows, 20, axis=0))
    assert sample.n_rows == 2000
    assert sample.effective_size == pytest.approx(2000)


@every_kind
def test_rows_to_score_with_are_distributed_like_all_rows(kind):
    rows = KINDS[kind]
    sample = unique_rows(rows)
    for ensemble_size in (1, 4):
        parts = split_samples(sample, sample, ensemble_size, 0.1, _rng())
        for scored in parts.score:
            error = rows.std(axis=0) / np.sqrt(len(scored))
            assert (abs(scored.mean(axis=0) - rows.mean(axis=0)) < 4 * error).all()
            assert len(scored) < 0.2 * len(rows)


@every_kind
def test_the_held_out_rows_of_a_stream_keep_their_shares(kind):
    rows, pool = KINDS[kind], None
    values, share = np.unique(rows[:, 0], return_counts=True)
    for seed in range(20):
        folds = held_out_folds(unique_rows(rows), 1, 0.5, 4000, _rng(seed))
        pool = (
            folds[0][1]
            if pool is None
            else merge_held_out(pool, folds[0][1], _rng(seed))
        )
    assert len(pool) <= 4096
    heaviest = values[share.argmax()]
    found = pool.weight[np.asarray(pool.X)[:, 0] == heaviest].sum()
    assert found == pytest.approx(share.max() / len(rows), abs=0.04)


def test_a_support_keeps_a_heavy_row_of_an_earlier_call():
    early = unique_rows(half_at(5.0))
    support = Support.of(early)
    for seed in range(5):
        support = Support.of(
            unique_rows(_rng(seed).standard_normal((3000, 1))), support
        )
    assert (support.X == 5.0).any()


def test_a_heavy_weight_leaves_rows_to_look_at():
    rows = _rng().standard_normal((1000, 2))
    weight = np.r_[1000.0, np.ones(999)]
    weighted, plain = (EvaluationSample(rows, None, w) for w in (weight, None))
    seen, _ = equally_many((weighted, plain), 1024, _rng())
    assert len(seen) == 1000
    assert (seen == rows[0]).all(axis=1).mean() == pytest.approx(0.5, abs=0.06)


# Weights.


def test_whole_weights_are_counts_and_any_others_relative():
    rows, rng = binary(0.3, 200), _rng()
    by_count = quick().fit([[0.0], [1.0]], X_target=rows + 1, sample_weight=[140, 60])
    same_map(by_count, quick().fit(rows, X_target=rows + 1), rows, rows + 1)
    X, weight = rng.standard_normal((80, 2)), rng.uniform(size=80)
    one, other = (
        quick().fit(X, X_target=X[::-1] + X, sample_weight=w)
        for w in (weight, 1024 * weight)
    )
    same_map(one, other, X, X)


def test_the_start_of_few_values_is_that_of_their_many_rows():
    """Moments of 4,000 rows are not shrunk like those of so many distinct values."""
    X, Y = counts(4000)
    noise = 1e-6 * _rng().standard_normal((4000, 2))
    starts = [
        Preconditioner.fit_classes(
            [(unique_rows(x), unique_rows(y))], SquaredEuclidean(), {}
        )[0]
        for x, y in ((X, Y), (X + noise, Y + noise))
    ]
    matrices = [s.source.matrix @ s.target.inverse_matrix for s in starts]
    np.testing.assert_allclose(*matrices, atol=2e-3)


def test_pooled_moments_of_repeated_rows_are_those_of_jittered_ones():
    rng = _rng(3)
    codes = np.repeat(np.arange(3), 40)
    rows = [rng.poisson(2, (120, 5)).clip(0, 1) + 4.0 * codes[:, None] for _ in "xy"]
    noise = 1e-9 * rng.standard_normal((120, 5))
    moments = []
    for jitter in (0, noise):
        x, y = (side + jitter for side in rows)
        one, labelled = np.ones(120), np.ones(120, dtype=bool)
        source, target = (
            PooledSample(x, one, codes),
            PooledSample(y, one, codes, labelled),
        )
        moments.append(pooled_moments(source, target, 3))
    assert moments[0].keys() == moments[1].keys() == {0, 1, 2}
    for k in range(3):
        for a, b in zip(moments[0][k], moments[1][k], strict=True):
            np.testing.assert_allclose(a[0], b[0], atol=0.15)
            np.testing.assert_allclose(a[1], b[1], atol=0.15)


# Fits.


@pytest.mark.parametrize("ensemble_size", [1, 4])
def test_half_of_the_target_at_one_value_is_half_of_what_is_mapped(ensemble_size):
    X, Y = _rng().standard_normal((3000, 1)), half_at(5.0)
    transport = quick(100, ensemble_size=ensemble_size).fit(X, X_target=Y)
    assert transport.transform(X).mean() == pytest.approx(Y.mean(), abs=0.15)
    stream = quick(100).partial_fit(X, X_target=Y)
    assert stream.transform(X).mean() == pytest.approx(Y.mean(), abs=0.15)


def test_a_white_background_stays_half_of_the_picture():
    X, Y = picture([150, 110, 90]), picture([90, 120, 160], seed=1)
    transport = quick(100).fit(X, X_target=Y)
    mapped = transport.transform(X)
    np.testing.assert_allclose(mapped.mean(axis=0), Y.mean(axis=0), atol=6)


@pytest.mark.slow
def test_counts_are_fitted_like_counts_with_a_hair_of_noise():
    (X, Y), errors = counts(), []
    start = energy(quick(1, tol=1e9).fit(X, X_target=Y).transform(X), Y)
    for jitter in (0, 1e-6, 1e-3):
        noise = jitter * _rng(1).standard_normal(X.shape)
        transport = quick(200, ensemble_size=1).fit(X + noise, X_target=Y + noise)
        assert transport.best_iter_ > 0
        errors.append(energy(transport.transform(X), Y))
        value = transport.score(X, X_target=Y)
        # Of a twentieth of the rows: within four standard errors.
        assert transport.score(X) == pytest.approx(value, abs=4 * _error_of_score(Y))
    assert max(errors) < 0.6 * start
    assert errors[0] < 1.5 * max(errors[1:])


def _error_of_score(Y):
    """Standard error of the mean of |y|^2 / 2 over a twentieth of the rows."""
    square = np.square(Y - Y.mean(axis=0)).sum(axis=1) / 2
    return square.std() / np.sqrt(0.05 * len(Y))


def test_a_binary_column_of_many_rows_is_not_too_few():
    with pytest.warns(MapQualityWarning, match=r"10% of the weight of the source rows"):
        transport = quick().fit(binary(0.3), X_target=binary(0.6))
    assert transport.stop_reason_ != "too_few_rows"
    assert transport.weight_to_split_ == pytest.approx(0.1)
    with pytest.warns(MapQualityWarning, match="treat the column as categorical"):
        found = transport.diagnostics(binary(0.3), random_state=0)
    assert found.forward.weight_to_split == pytest.approx(0.1)


def test_a_map_of_few_values_of_one_feature_is_monotone():
    X = _rng().binomial(8, 0.4, (2000, 1)).astype(float)
    Y = _rng(1).binomial(12, 0.6, (2000, 1)).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapQualityWarning)
        transport = quick(300).fit(X, X_target=Y)
    assert (np.diff(transport.transform(np.unique(X)[:, None])[:, 0]) > 0).all()


# What a map would have to split.


def _sample(rows):
    return unique_rows(np.asarray(rows, dtype=float))


NORMAL = _rng(7).standard_normal((3000, 1))


@pytest.mark.parametrize(
    ("source", "target", "share"),
    [
        (half_at(5.0, 1500, 1500), NORMAL, 0.5),
        (binary(0.3), binary(0.6), 0.1),
        (binary(0.6), binary(0.7), 0.1),
        (binary(0.5), np.repeat([[0.0], [1], [2], [3]], 750, axis=0), 0.5),
    ],
    ids=["to a continuous one", "binary", "more unequal", "two to four values"],
)
def test_what_finds_no_value_of_its_weight_has_to_be_split(source, target, share):
    assert weight_to_split(_sample(source), _sample(target)) == pytest.approx(share)


WHOLE = {
    "continuous": (NORMAL, NORMAL**3),
    "shifted values": (counts()[0], counts()[0] + 3),
    "two samples of one distribution": (
        _rng(1).binomial(5, 0.4, (3000, 1)),
        _rng(2).binomial(5, 0.4, (3000, 1)),
    ),
    "merged values": (_rng(1).binomial(5, 0.4, (3000, 1)), np.zeros((100, 1))),
    "continuous to values": (NORMAL, half_at(5.0)),
    "rounded rows": (NORMAL.round(1), 3 * NORMAL.round(1) + 0.01 * NORMAL),
    "few rows": (_rng(1).randint(3, size=(20, 1)), NORMAL[:20]),
    "rows given three times": (np.repeat(NORMAL[:10], 3, axis=0), NORMAL[:30]),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_what_can_be_mapped_as_it_is_need_not_be_split(kind):
    assert weight_to_split(*map(_sample, WHOLE[kind])) < 0.05


def test_a_heavy_relative_weight_is_a_heavy_value():
    rows = NORMAL[:500]
    heavy = Sample(rows, np.r_[0.5, np.full(499, 0.5 / 499)], 500)
    plain = Sample(rows, equal_weights(500))
    assert weight_to_split(heavy, plain) == pytest.approx(0.5, abs=0.01)
    assert weight_to_split(plain, heavy) == 0
