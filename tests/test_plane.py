"""Constant and collinear columns: rows stay in their plane, exactly."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from fits import COSTS, quick

from sk_ncf import SquaredEuclidean, load, save
from sk_ncf._flow.plane import common_plane
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.sample import unique_rows
from sk_ncf._training.minibatches import PairSampler


def _rng(seed=0):
    return np.random.default_rng(seed)


def _with_constants(a, b, n=200):
    """Two columns to be mapped, and one that is a on one side and b on the other."""
    rng = _rng()
    W = rng.standard_normal((n, 2))
    X = np.c_[rng.standard_normal((n, 2)), np.full(n, a)]
    return X, np.c_[W + 0.5 * np.sin(2 * W), np.full(n, b)]


def _table(n, shares, seed):
    """One-hot levels of a category (one does not occur), and collinear columns."""
    rng = _rng(seed)
    level = np.eye(len(shares) + 1)[rng.choice(len(shares), size=n, p=shares)]
    a = rng.standard_normal((n, 2))
    a = a + 1.5 * np.sign(a) if seed else np.exp(a)
    return np.c_[level, a, a @ [1.0, 2.0] + seed, 10 * a[:, 0]]


TABLES = _table(800, [0.25] * 4, 0), _table(900, [0.1, 0.2, 0.3, 0.4], 1)


def in_plane(rows, seed):
    """Whether rows satisfy the equations of the table of the seed."""
    level, a, total, scaled = np.split(rows, [5, 7, 8], axis=1)
    np.testing.assert_allclose(level.sum(axis=1), 1, atol=1e-8)
    np.testing.assert_array_equal(level[:, 4], 0)
    np.testing.assert_allclose(total[:, 0], a @ [1.0, 2.0] + seed, atol=1e-8)
    np.testing.assert_allclose(scaled[:, 0], 10 * a[:, 0], atol=1e-8)


@pytest.fixture(scope="module")
def transport():
    """A fit of the tables; not to be changed by a test."""
    return quick(200, ensemble_size=1).fit(TABLES[0], X_target=TABLES[1])


@pytest.mark.parametrize(
    ("constants", "dtype"),
    [((7.0, 7.0), np.float64), ((7.0, 9.0), np.float32), ((0.3, 123.456), np.float64)],
)
@pytest.mark.parametrize("cost", COSTS)
def test_a_constant_column_lands_exactly_on_the_constant(cost, constants, dtype):
    X, Y = (rows.astype(dtype) for rows in _with_constants(*constants))
    params = COSTS[cost] if cost != "quadratic_form" else {"matrix": np.eye(3) + 0.3}
    transport = quick(cost=cost, cost_params=params).fit(X, X_target=Y)
    there, back = transport.transform(X), transport.inverse_transform(Y)
    np.testing.assert_array_equal(there[:, 2], Y[0, 2])
    np.testing.assert_array_equal(back[:, 2], X[0, 2])


def test_the_other_columns_are_mapped_as_if_the_constant_one_were_not_there():
    X, Y = _with_constants(7.0, 9.0, n=600)
    transport = quick(300, ensemble_size=1).fit(X, X_target=Y)
    alone = quick(300, ensemble_size=1).fit(X[:, :2], X_target=Y[:, :2])
    apart = transport.transform(X)[:, :2] - alone.transform(X[:, :2])
    assert transport.best_iter_ > 0
    assert np.square(apart).mean() < 0.02


def test_rows_in_a_plane_are_mapped_into_the_plane_of_the_target(transport):
    assert transport.best_iter_ > 0
    in_plane(transport.transform(TABLES[0]), 1)
    in_plane(transport.inverse_transform(TABLES[1]), 0)
    in_plane(transport.transform(_table(50, [0.25] * 4, 0)), 1)


def test_a_row_off_the_plane_stays_as_far_from_it(transport):
    rows = TABLES[0][:5].copy()
    rows[:, 4] = 0.25
    np.testing.assert_array_equal(transport.transform(rows)[:, 4], 0.25)


def test_the_plane_is_saved_and_pickled(transport, tmp_path):
    wanted = transport.transform(TABLES[0])
    save(transport, tmp_path / "fit.ncf")
    for other in (load(tmp_path / "fit.ncf"), pickle.loads(pickle.dumps(transport))):
        np.testing.assert_array_equal(other.transform(TABLES[0]), wanted)


def test_classes_have_planes_of_their_own():
    X, Y = _with_constants(1.0, 2.0)
    label = np.arange(len(X)) % 2
    X[label == 1, 2], Y[label == 1, 2] = 5.0, -3.0
    transport = quick(class_conditional=True).fit(X, label, X_target=Y, y_target=label)
    mapped = transport.transform(X, sample_label=label)
    np.testing.assert_array_equal(mapped[:, 2], np.where(label == 1, -3.0, 2.0))


def test_a_stream_keeps_the_plane_of_its_first_rows():
    X, Y = _with_constants(7.0, 9.0, n=600)
    stream = quick().partial_fit(X[:300], X_target=Y).partial_fit(X[300:], X_target=Y)
    np.testing.assert_array_equal(stream.transform(X)[:, 2], 9.0)


def test_a_constant_table_is_shifted():
    X, Y = np.full((50, 2), 3.0), np.full((40, 2), -1.0)
    np.testing.assert_array_equal(quick().fit(X, X_target=Y).transform(X), X - 4)


# Which planes there are.


def _plane(X, Y):
    return common_plane(unique_rows(X), unique_rows(Y))


def test_the_projector_is_one_and_vanishes_on_the_rows():
    plane = _plane(*TABLES)
    N = plane.projector
    np.testing.assert_allclose(N @ N, N, atol=1e-6)
    assert np.trace(N) == pytest.approx(4)  # a sum, a level, two collinear columns
    for rows, point in zip(TABLES, (plane.source, plane.target), strict=True):
        scale = np.abs(rows).max(axis=0)
        assert (np.abs((rows - point) @ N) <= 1e-9 * (1 + scale)).all()


def test_units_of_the_columns_do_not_count():
    unit = 10.0 ** np.arange(-4, 5)
    plain, scaled = _plane(*TABLES), _plane(*(rows * unit for rows in TABLES))
    wanted = plain.projector * (unit / unit[:, None])
    np.testing.assert_allclose(scaled.projector, wanted, atol=1e-8 * abs(wanted).max())


def test_rows_that_vary_in_all_directions_have_no_plane():
    X, Y = _rng(0).standard_normal((2, 300, 4))
    assert _plane(X, Y * 10.0 ** np.arange(-8, 8, 4)) is None


def test_a_column_that_is_constant_on_one_side_only_is_none():
    X, Y = _with_constants(7.0, 9.0)
    Y[0, 2] = 8.0
    assert _plane(X, Y) is None


def test_fewer_rows_than_features_are_no_plane():
    X, Y = _rng(0).standard_normal((2, 6, 20))
    assert _plane(X, Y) is None
    assert _plane(X, X + 1) is None


@pytest.mark.parametrize("size", [1e4, 1e8, 1e12])
def test_far_rows_make_no_plane(size):
    X, Y = _rng(0).standard_normal((2, 3000, 3))
    X[0], Y[:3] = size, -size
    assert _plane(X, Y) is None


def test_smoothing_noise_stays_in_the_plane():
    samples = [unique_rows(rows) for rows in TABLES]
    (frame,) = Preconditioner.fit_classes([samples], SquaredEuclidean(), {})
    plane = common_plane(*samples)
    frame = replace(frame, plane=plane)
    rest = {"n_steps": 3, "seed": 0, "dtype": torch.float64, "device": "cpu"}
    sides = [samples[0]], [samples[1]]
    frames = [frame.source], [frame.target]
    sampler = PairSampler(*sides, frames, 64, 3, **rest, smoothing=0.2, planes=[plane])
    for batch, _ in sampler:
        for rows, side, seed in (
            (batch["x"], frame.source, 0),
            (batch["y"], frame.target, 1),
        ):
            back = side.inverse(rows[0].numpy())
            assert np.abs(back[:, :5].sum(axis=1) - 1).max() < 1e-6
            assert np.abs(back[:, 7] - back[:, 5:7] @ [1.0, 2.0] - seed).max() < 1e-6
