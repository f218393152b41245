"""Rows and weights: a weight is a repetition, and no copy of a row is held out."""

import numpy as np
import pytest
import torch

from sk_ncf import SquaredEuclidean
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.held_out import held_out_folds, split_rows
from sk_ncf._samples.sample import Sample, random_rows, unique_rows
from sk_ncf._training.minibatches import PairSampler, smoothing_scale


def _rng(seed=0):
    return np.random.RandomState(seed)


def _repeated(n=60, seed=0):
    """Distinct rows, a whole weight for each, and the same sample by repetition."""
    rng = _rng(seed)
    X, count = rng.standard_normal((n, 3)), rng.randint(1, 5, n)
    return X, count.astype(float), rng.permutation(np.repeat(X, count, axis=0))


def _frame(source, target):
    weights = source.weight, target.weight
    return Preconditioner.fit(source.X, target.X, SquaredEuclidean(), *weights)


def _sampler(source, target, seed=0, batch_size=32, n_batches=5, **options):
    frame = _frame(source, target)
    options = {"n_steps": 10**6, "dtype": torch.float64, "device": "cpu", **options}
    options.update(batch_size=batch_size, n_batches=n_batches, seed=seed)
    frames = [frame.source], [frame.target]
    return PairSampler([source], [target], frames, **options)


def _batches(sampler):
    return [batch for batch, _ in sampler]


def _same(batches, others):
    return all(
        torch.equal(batch[key], other[key])
        for batch, other in zip(batches, others, strict=True)
        for key in ("x", "y", "t")
    )


def test_a_weight_is_a_repetition_in_any_order():
    X, count, repeated = _repeated()
    by_weight, by_repetition = unique_rows(X, count), unique_rows(repeated)
    np.testing.assert_array_equal(by_weight.X, by_repetition.X)
    np.testing.assert_allclose(by_weight.weight, by_repetition.weight, rtol=1e-14)
    assert by_weight.weight.sum() == pytest.approx(1)


def test_rows_are_distinct_and_keep_their_share_of_the_weight():
    rows = np.array([[1.0, 2], [0, 1], [1, 2], [0, 1], [0, 1], [3, 3]])
    sample = unique_rows(rows, np.array([1.0, 1, 1, 1, 1, 0]))
    np.testing.assert_array_equal(sample.X, [[0, 1], [1, 2]])
    np.testing.assert_allclose(sample.weight, [3 / 5, 2 / 5])


@pytest.mark.parametrize("n_values", [2, 10**6])
def test_rows_are_those_of_numpy_unique_and_are_not_copied(n_values):
    X = np.random.RandomState(0).randint(n_values, size=(60, 3)).astype(float)
    sample = unique_rows(X)
    rows, count = np.unique(X, axis=0, return_counts=True)
    np.testing.assert_array_equal(sample.X, rows)
    np.testing.assert_allclose(sample.weight, count / 60)
    assert sample.X.base is X
    assert sample.take(slice(2)).X.base is X


def test_weights_of_a_part_sum_to_one_in_the_same_proportions():
    X, count, _ = _repeated()
    sample = unique_rows(X, count)
    part = sample.take(np.arange(5, 20))
    assert len(part) == 15
    assert part.weight.sum() == pytest.approx(1)
    ratio = part.weight / sample.weight[5:20]
    np.testing.assert_allclose(ratio, ratio[0])


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.9])
def test_split_parts_the_rows_and_no_copy_of_a_row_is_on_both_sides(fraction):
    X, _, repeated = _repeated()
    kept, apart = split_rows(unique_rows(repeated), fraction, 1000, _rng())
    assert len(apart) == np.ceil(fraction * len(X))
    sides = [set(map(tuple, side.X)) for side in (kept, apart)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(map(tuple, X))
    assert kept.weight.sum() == pytest.approx(1)
    assert apart.weight.sum() == pytest.approx(1)


@pytest.mark.parametrize(("n", "size"), [(20, 30), (20, 12), (20_000, 12)])
def test_rows_are_drawn_at_random_whatever_their_place(n, size):
    """Every place of the draw has the mean of all rows, within five standard errors."""
    rng, size_ = _rng(), min(n, size)
    draws = np.array([random_rows(n, size, rng) for _ in range(2000)])
    assert draws.shape == (2000, size_)
    assert all(len(set(draw)) == size_ for draw in draws.tolist())
    error = np.sqrt((n**2 - 1) / 12 / 2000)
    assert (abs(draws.mean(axis=0) - (n - 1) / 2) < 5 * error).all()


def test_split_takes_no_more_than_it_may_and_leaves_two_rows():
    sample = unique_rows(_rng().standard_normal((50, 2)))
    assert len(split_rows(sample, 0.5, 7, _rng())[1]) == 7
    kept, apart = split_rows(sample, 0.999, 1000, _rng())
    assert (len(kept), len(apart)) == (2, 48)
    kept, apart = split_rows(sample.take(slice(2)), 0.5, 1000, _rng())
    assert apart is None
    assert len(kept) == 2


def test_split_is_that_of_its_seed():
    sample = unique_rows(_rng().standard_normal((50, 2)))
    splits = [split_rows(sample, 0.3, 99, _rng(seed))[1].X for seed in (0, 0, 1)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


@pytest.mark.parametrize(("n", "fraction"), [(40, 0.1), (40, 0.25), (7, 0.25)])
def test_members_are_judged_by_rows_of_their_own_that_they_do_not_train_on(n, fraction):
    sample = unique_rows(_rng().standard_normal((n, 2)))
    folds = held_out_folds(sample, 4, fraction, 1000, _rng())
    rows = set(map(tuple, sample.X))
    judges = []
    for kept, apart in folds:
        sides = [set(map(tuple, side.X)) for side in (kept, apart)]
        assert not sides[0] & sides[1]
        assert sides[0] | sides[1] == rows
        assert kept.weight.sum() == pytest.approx(1)
        assert len(apart) == np.ceil(fraction * n)
        judges += np.asarray(apart.X).tolist()
    # Each row judges once before one judges twice.
    counts = np.unique(np.array(judges), axis=0, return_counts=True)[1]
    assert len(counts) == min(n, len(judges))
    assert np.ptp(counts) <= 1


def test_all_members_together_hold_out_no_more_than_they_may():
    sample = unique_rows(_rng().standard_normal((100, 2)))
    assert [len(apart) for _, apart in held_out_folds(sample, 4, 0.9, 40, _rng())] == (
        [10] * 4
    )
    few = sample.take(slice(2))
    assert all(pair == (few, few) for pair in held_out_folds(few, 4, 0.5, 40, _rng()))


def test_members_draw_from_their_own_rows():
    sides = [unique_rows(_rng(k).standard_normal((50, 3))) for k in range(4)]
    weights = sides[0].weight, sides[2].weight
    frame = Preconditioner.fit(sides[0].X, sides[2].X, SquaredEuclidean(), *weights)
    options = {"n_steps": 3, "seed": 0, "dtype": torch.float64, "device": "cpu"}
    sampler = PairSampler(
        sides[:2], sides[2:], ([frame.source] * 2, [frame.target] * 2), 8, 3, **options
    )
    for batch in _batches(sampler):
        assert batch["x"].shape == batch["y"].shape == (2, 8, 3)
        for name, side, samples in (
            ("x", frame.source, sides[:2]),
            ("y", frame.target, sides[2:]),
        ):
            for drawn, sample in zip(batch[name], samples, strict=True):
                known = torch.from_numpy(side.forward(sample.X))
                assert (torch.cdist(drawn, known).min(1).values < 1e-6).all()


def test_draws_are_in_proportion_to_the_weights():
    """Counts are within five standard deviations of the binomial law."""
    X = np.arange(4.0)[:, None]
    weight = np.array([0.05, 0.15, 0.3, 0.5])
    samples = Sample(X, weight), Sample(X, weight[::-1])
    drawn, n = _batches(_sampler(*samples, n_batches=1000)), 32_000
    for key, side, share in (("x", "source", weight), ("y", "target", weight[::-1])):
        rows = torch.cat([batch[key] for batch in drawn], -2)[0].numpy()
        rows = getattr(_frame(*samples), side).inverse(rows)
        count = np.bincount(rows.round().astype(int)[:, 0], minlength=4)
        assert (abs(count - n * share) < 5 * np.sqrt(n * share * (1 - share))).all()


def test_times_fill_the_unit_interval():
    sample = unique_rows(_rng().standard_normal((20, 2)))
    t = torch.cat([batch["t"] for batch in _batches(_sampler(sample, sample))], -1)
    assert 0 <= t.min() < 0.1
    assert 0.9 < t.max() < 1


def test_minibatches_are_rows_of_the_samples_in_the_networks_variables():
    source, target = (unique_rows(_rng(s).standard_normal((9, 3))) for s in (0, 1))
    sampler = _sampler(source, target, dtype=torch.float32)
    assert len(sampler) == len(_batches(sampler)) == 5
    for batch in sampler:
        inputs, nothing = batch
        assert nothing.shape == ()
        assert inputs["t"].shape == (1, 32)
        frame = _frame(source, target)
        sides = [("x", frame.source, source), ("y", frame.target, target)]
        for key, side, sample in sides:
            assert inputs[key].shape == (1, 32, 3)
            assert inputs[key].dtype == torch.float32
            rows = torch.from_numpy(side.forward(sample.X))
            gaps = torch.cdist(inputs[key][0].double(), rows)
            assert gaps.min(1).values.max() < 1e-5


def test_minibatches_are_those_of_the_seed_and_new_in_every_epoch():
    sample = unique_rows(_rng().standard_normal((50, 2)))
    sampler = _sampler(sample, sample, seed=3)
    first, second = _batches(sampler), _batches(sampler)
    again = _sampler(sample, sample, seed=3)
    assert _same(first, _batches(again))
    assert _same(second, _batches(again))
    assert not _same(first, second)
    assert not _same(first, _batches(_sampler(sample, sample, seed=4)))


def test_minibatches_of_repeated_rows_are_those_of_weighted_rows():
    X, count, repeated = _repeated()
    by_weight, by_repetition = unique_rows(X, count), unique_rows(repeated)
    batches = [_batches(_sampler(s, s)) for s in (by_weight, by_repetition)]
    for ours, wanted in zip(*batches, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_the_last_epoch_ends_with_the_budget():
    sample = Sample(np.arange(12.0).reshape(4, 3) ** 2, np.full(4, 0.25))
    sampler = _sampler(sample, sample, n_batches=5, n_steps=12)
    assert [len(_batches(sampler)) for _ in range(sampler.n_epochs)] == [5, 5, 2]


def test_smoothing_adds_its_variance_to_both_sides():
    sample = unique_rows(_rng().standard_normal((500, 3)))
    variance = {}
    for smoothing in (0.0, 0.5):
        batches = _batches(_sampler(sample, sample, n_batches=400, smoothing=smoothing))
        for side in ("x", "y"):
            rows = torch.cat([batch[side] for batch in batches], dim=1)[0]
            variance[side, smoothing] = rows.var(0)
    for side in ("x", "y"):
        added = variance[side, 0.5] - variance[side, 0.0]
        torch.testing.assert_close(
            added, torch.full_like(added, 0.25), rtol=0.0, atol=0.06
        )


def test_smoothing_is_for_few_rows_and_never_more_than_a_third_of_their_spread():
    assert smoothing_scale(4, 4) == smoothing_scale(100, 4) == 0.35
    assert smoothing_scale(1000, 4) == 0.2
    assert smoothing_scale(4000, 4) == pytest.approx(0.05)
    assert smoothing_scale(10**6, 4) < 1e-3


def test_drawing_leaves_the_global_generators_alone():
    sample = unique_rows(_rng().standard_normal((50, 2)))
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    _batches(_sampler(sample, sample))
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())
