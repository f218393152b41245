"""Rows of X: their domain, their data type and their memory layout."""

import functools

import numpy as np
import pytest
from fits import quick, same_map, start_map, two_samples

X, Y = two_samples()
BOTH = np.concatenate([X, Y])
DOMAIN = np.repeat([1, -1], [len(X), len(Y)])
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


# A cost with which these short fits are better than their initialization.
fresh = functools.partial(quick, cost="lp")


@pytest.fixture(scope="module")
def transport():
    """A fit of these rows; not to be changed by a test."""
    transport = fresh().fit(X, X_target=Y)
    assert transport.best_iter_ > 0
    return transport


# Domains.


def test_sample_domain_separates_source_and_target_rows(transport):
    order = np.random.default_rng(0).permutation(len(BOTH))
    mixed = fresh().fit(BOTH[order], sample_domain=DOMAIN[order])
    same_map(mixed, transport, X, Y)
    same_map(fresh().fit(X, X_target=Y, sample_domain=1), transport, X, Y)
    same_map(fresh().fit(X, X_target=Y, sample_domain=np.arange(80)), transport, X, Y)
    halves = fresh().fit(BOTH[:-40], X_target=Y[-40:], sample_domain=DOMAIN[:-40])
    same_map(halves, transport, X, Y)


def test_only_source_rows_are_mapped_and_only_target_rows_mapped_back(transport):
    mapped = transport.transform(BOTH, sample_domain=DOMAIN)
    np.testing.assert_allclose(mapped[: len(X)], transport.transform(X))
    np.testing.assert_array_equal(mapped[len(X) :], Y)
    back = transport.inverse_transform(BOTH, sample_domain=DOMAIN)
    np.testing.assert_array_equal(back[: len(X)], X)
    np.testing.assert_allclose(back[len(X) :], transport.inverse_transform(Y))
    moved = transport.interpolate(BOTH, 0.5, sample_domain=DOMAIN)
    np.testing.assert_array_equal(moved[len(X) :], Y)


def test_a_scalar_domain_is_that_of_all_rows(transport):
    np.testing.assert_array_equal(transport.transform(Y, sample_domain=-3), Y)
    np.testing.assert_array_equal(transport.inverse_transform(X, sample_domain=0), X)
    mapped = transport.transform(X, sample_domain=2)
    np.testing.assert_array_equal(mapped, transport.transform(X))


def test_later_rows_are_returned_unchanged_if_the_default_domain_is_the_target(
    transport,
):
    target = fresh(default_domain="target")
    mapped = target.fit_transform(X, X_target=Y)
    np.testing.assert_allclose(mapped, transport.transform(X), **CLOSE)
    np.testing.assert_array_equal(target.transform(X), X)
    np.testing.assert_array_equal(target.transform(X, sample_domain=1), mapped)
    back = target.inverse_transform(Y)
    np.testing.assert_allclose(back, transport.inverse_transform(Y), **CLOSE)


def test_a_single_sample_is_of_the_default_domain():
    rows = X + 5  # far enough that the initial map is not the identity
    to_normal = start_map().fit(rows)
    from_normal = start_map(default_domain="target").fit(rows)
    np.testing.assert_allclose(to_normal.transform(rows).mean(axis=0), 0, atol=1e-3)
    drawn = from_normal.transform(BOTH, sample_domain=1)
    start = from_normal.inverse_transform(rows)
    np.testing.assert_allclose(start.mean(axis=0), 0, atol=1e-3)
    assert drawn.shape == BOTH.shape


def test_score_separates_source_and_target_rows_like_fit(transport):
    wanted = transport.score(X, X_target=Y)
    assert transport.score(BOTH, sample_domain=DOMAIN) == pytest.approx(wanted)
    target = fresh(default_domain="target").fit(X, X_target=Y)
    assert target.score(X, X_target=Y) == pytest.approx(wanted)
    assert np.isfinite(target.score(Y))


# Arrays.


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floating_type_of_the_rows_is_kept(dtype):
    source, target = X.astype(dtype), Y.astype(dtype)
    transport = fresh().fit(source, X_target=target)
    for result in (
        transport.transform(source),
        transport.inverse_transform(target),
        transport.interpolate(source, 0.5),
        transport.transform(BOTH.astype(dtype), sample_domain=DOMAIN),
    ):
        assert result.dtype == dtype
    exact = transport.transform(source.astype(np.float64))
    np.testing.assert_allclose(transport.transform(source), exact, atol=1e-5)


def test_whole_numbers_and_lists_are_rows_of_float64():
    whole = np.round(10 * X).astype(int)
    transport = fresh().fit(whole.tolist(), X_target=Y.tolist())
    mapped = transport.transform(whole)
    assert mapped.dtype == np.float64
    np.testing.assert_array_equal(transport.transform(whole.tolist()), mapped)


def _read_only(rows, path):
    rows = rows.copy()
    rows.setflags(write=False)
    return rows


def _memory_map(rows, path):
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


LAYOUTS = {
    "read-only": _read_only,
    "Fortran": lambda rows, path: np.asfortranarray(rows),
    "strided": lambda rows, path: np.repeat(rows, 2, axis=0)[::2],
    "reversed": lambda rows, path: rows[::-1].copy()[::-1],
    "memory map": _memory_map,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_the_rows_does_not_matter_and_they_are_not_changed(
    layout, transport, tmp_path
):
    source = LAYOUTS[layout](X, tmp_path / "x.npy")
    target = LAYOUTS[layout](Y, tmp_path / "y.npy")
    other = fresh().fit(source, X_target=target)
    np.testing.assert_array_equal(other.transform(source), transport.transform(X))
    back = other.inverse_transform(target)
    np.testing.assert_array_equal(back, transport.inverse_transform(Y))
    np.testing.assert_array_equal(source, X)
    np.testing.assert_array_equal(target, Y)
