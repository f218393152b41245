"""Codes of missing values, such as -9999: left out of a fit, and mapped as they are."""

import numpy as np
import pytest
from fits import quick, start_map, two_samples

from sk_ncf._samples.left_out import without_far_rows
from sk_ncf._samples.missing_codes import coded_rows
from sk_ncf._samples.outliers import OutlierWarning
from sk_ncf._samples.sample import unique_rows


def _coded(values, weight=None):
    """The codes found in a column."""
    values = np.asarray(values, dtype=float)
    weight = np.ones(len(values)) if weight is None else weight
    return np.unique(values[coded_rows(values[:, None], weight)])


def _normal(n=400, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("codes", [[-9999.0], [9999.0], [-999.0, 999.0]])
@pytest.mark.parametrize("n_coded", [1, 8, 150])
def test_codes_are_found_on_both_sides_of_the_other_values(codes, n_coded):
    values = np.concatenate([_normal(), np.repeat(codes, n_coded)])
    assert _coded(values).tolist() == codes


def test_a_code_is_found_whatever_noise_its_values_have():
    values = np.concatenate([_normal(), -9999 + 1e-4 * _normal(30, seed=1)])
    assert (_coded(values) < -9998).sum() == 30


def test_codes_among_counts_and_binary_values_are_found():
    counts = np.random.default_rng(0).poisson(3, 500)
    assert _coded(np.append(counts, [99] * 20)).tolist() == [99]
    assert _coded(np.append(counts % 2, [-1000] * 20)).tolist() == [-1000]


@pytest.mark.parametrize(
    "values",
    [
        _normal(),
        np.random.default_rng(0).random(50),
        np.random.default_rng(0).standard_t(3, 3000),
        np.random.default_rng(0).poisson(3, 500),
        np.random.default_rng(0).integers(0, 2, 500),
        np.maximum(0, _normal()),
        np.repeat([0.0, 1e6], [390, 10]),
        np.repeat([0.0, 1.0], [390, 10]) + 1e-6 * _normal(),
        np.concatenate([_normal(), 1e3 + _normal()[:40]]),
        np.append(_normal(10), [-9999] * 3),
        np.append(_normal(100), [-9999] * 101),
        np.full(100, 3.0),
        np.append(np.zeros(150), 100 + _normal()),
        np.append(1e-6 * _normal(150), 100 + _normal()),
        1.6e9 + np.random.default_rng(0).integers(0, 86400, 400),
    ],
    ids=[
        "normal",
        "uniform",
        "heavy-tailed",
        "counts",
        "binary",
        "half zero",
        "two values",
        "two values with noise",
        "two clusters",
        "few rows",
        "most rows",
        "constant",
        "many zeros",
        "many zeros with noise",
        "times of a day",
    ],
)
def test_other_columns_have_no_code(values):
    assert not len(_coded(values))


def test_a_weight_is_a_repetition():
    values = np.append(_normal(100), [-9999.0])
    weight = np.append(np.ones(100), 99)
    assert _coded(values, weight).tolist() == [-9999]
    assert not len(_coded(values, np.append(np.ones(100), 101)))


def test_at_most_half_of_the_rows_are_left_out():
    columns = np.random.default_rng(0).standard_normal((3, 300))
    columns[0, :100] = columns[1, 100:250] = -9999
    coded = coded_rows(columns.T, np.ones(300))
    assert np.flatnonzero(coded).tolist() == list(range(100))


def _with_codes(X, n, column=1, code=-9999.0):
    X = X.copy()
    X[:n, column] = code
    return X


def test_a_fit_is_that_of_the_rows_without_codes():
    X, Y = two_samples(n=200)
    with pytest.warns(OutlierWarning, match="15 source and 9 target rows"):
        coded = quick().fit(_with_codes(X, 15), X_target=_with_codes(Y, 9))
    plain = quick().fit(X[15:], X_target=Y[9:])
    assert coded.n_outliers_.tolist() == [15, 9]
    np.testing.assert_array_equal(coded.transform(X[15:]), plain.transform(X[15:]))
    np.testing.assert_array_equal(
        coded.inverse_transform(Y[9:]), plain.inverse_transform(Y[9:])
    )


def test_a_code_hides_no_outlier_and_an_outlier_no_code():
    X, Y = two_samples(n=200)
    Z = _with_codes(X, 15)
    Z[20] = 1e7
    with pytest.warns(OutlierWarning):
        transport = start_map().fit(Z, X_target=Y)
    assert transport.n_outliers_.tolist() == [16, 0]


@pytest.mark.parametrize("cost", ["sqeuclidean", "lp"])
def test_a_code_is_mapped_like_the_mean_of_the_feature(cost):
    X, Y = two_samples(n=200)
    transport = quick(cost=cost).fit(X, X_target=Y)
    (frame,) = transport.preconditioners_
    for move, rows, mean in (
        (transport.transform, X, frame.source.mean[1]),
        (transport.inverse_transform, Y, frame.target.mean[1]),
    ):
        coded, imputed = (_with_codes(rows, 200, code=c) for c in (-9999.0, mean))
        shift = coded - imputed
        np.testing.assert_allclose(move(coded) - move(imputed), shift, atol=1e-4)


@pytest.mark.parametrize("n_constant", [0, 1])
def test_the_map_of_one_feature_is_monotone_far_outside(n_constant):
    X, Y = two_samples(n=200, d=1)
    grid = np.r_[-(10.0 ** np.arange(9, -2, -0.2)), 10.0 ** np.arange(-1, 9, 0.2)]
    X, Y, grid = (np.c_[Z, np.ones((len(Z), n_constant))] for Z in (X, Y, grid))
    mapped = start_map().fit(X, X_target=Y).transform(grid)
    assert (np.diff(mapped[:, 0]) > 0).all()


@pytest.mark.parametrize("dtype, size", [("float32", 3e38), ("float64", 1e100)])
def test_rows_near_the_largest_number_are_mapped(dtype, size):
    X, Y = two_samples()
    far = size * np.sign(X).astype(dtype)
    mapped = start_map().fit(X, X_target=Y).transform(far)
    assert mapped.dtype == dtype
    np.testing.assert_allclose(mapped, far, rtol=1e-6)


def test_a_code_changes_no_other_feature_of_a_plane():
    X, Y = (np.c_[rows, rows.sum(axis=1)] for rows in two_samples(n=200))
    transport = quick().fit(X, X_target=Y)
    (frame,) = transport.preconditioners_
    assert frame.plane is not None
    for code in (-60.0, -9999.0):
        coded, imputed = (
            _with_codes(X, 200, code=c) for c in (code, frame.source.mean[1])
        )
        moved = transport.transform(coded) - transport.transform(imputed)
        np.testing.assert_allclose(moved, coded - imputed, atol=1e-6)


def test_a_code_is_far_outside_whatever_the_unit_of_its_feature():
    X, Y = (rows * [1000, 1] for rows in two_samples(n=200, n_target=200))
    transport = start_map(cost="lp").fit(X, X_target=Y)
    source, coded = transport.preconditioners_[0].source, _with_codes(X, 5, code=99.0)
    assert np.flatnonzero(source.is_far(coded)).tolist() == list(range(5))


def test_rows_at_zero_stay_there_however_far_the_others_are():
    rng, zero = np.random.default_rng(0), np.arange(400) < 120
    X, Y = (np.where(zero, 0, rng.normal(mean, 3, 400)) for mean in (100, 110))
    transport = quick().fit(X[:, None], X_target=Y[:, None])
    assert not transport.n_outliers_.any()
    mapped = transport.transform(X[:, None])[:, 0]
    assert np.abs(mapped[zero]).max() < 5 < np.abs(mapped - X)[~zero].mean()


def _boxes(transport):
    (frame,) = transport.preconditioners_
    return frame.source.box, frame.target.box


def _assert_box_of(box, rows):
    np.testing.assert_allclose(box, [rows.min(axis=0), rows.max(axis=0)])


def test_no_row_of_a_stream_is_taken_for_a_code_later():
    X, Y = two_samples(n=100, n_target=100)
    transport = start_map().partial_fit(X, X_target=Y)
    new = X[:8] + [[40.0, 0.0]]
    transport.partial_fit(new, X_target=Y[:8])
    _assert_box_of(_boxes(transport)[0], np.concatenate([X, new]))
    _assert_box_of(_boxes(transport)[1], Y)


def test_a_stream_whose_first_rows_are_few_or_of_unknown_range_has_no_box():
    X, Y = two_samples(n=100, n_target=100)
    transport = start_map().partial_fit(40 * X[:12], X_target=Y[:12])
    assert _boxes(transport.partial_fit(X, X_target=Y)) == (None, None)
    old = start_map().partial_fit(40 * X, X_target=Y)
    for side in (old.preconditioners_[0].source, old.preconditioners_[0].target):
        del vars(side)["box"]  # as pickled by an earlier version
    assert _boxes(old.partial_fit(X, X_target=Y)) == (None, None)


def test_no_row_of_a_small_class_is_taken_for_a_code():
    X, Y = two_samples(n=212, n_target=212)
    y = np.repeat([0, 1], [200, 12])
    X[200:, 0] += 60
    transport = start_map(class_conditional="shared", objective="mmd")
    transport.fit(X, y, X_target=Y, y_target=y)
    _assert_box_of(transport.preconditioners_[0].source.box, X)


def _left_out(X):
    rest, outliers = without_far_rows(unique_rows(X))
    assert len(rest) + outliers.n == len(X)
    return outliers.n


def test_a_code_behind_a_code_is_found():
    X = np.random.default_rng(0).standard_normal((400, 2))
    X[:40, 1], X[40:80, 1] = -99, -9999
    assert _left_out(X) == 80


def test_at_most_half_of_the_rows_are_left_out_beside_outliers_too():
    X = np.random.default_rng(0).standard_normal((400, 3))
    X[:120, 0], X[120:220, 1], X[220:222, 2] = -9999, -9999, [1e7, 3e7]
    assert _left_out(X) == 102
