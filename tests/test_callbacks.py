"""The rules of training: schedule, average, selection, and when to stop."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from problems import PROBLEMS, ExactPotential
from skorch.history import History
from torch import nn

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._training.callbacks.learning_rate import LinearDecay
from sk_ncf._training.callbacks.model_selection import ModelSelection, Stop
from sk_ncf._training.callbacks.weight_average import WeightAverage
from sk_ncf._training.held_out_risk import held_out_risk

PROBLEM = next(p for p in PROBLEMS if p.name == "gaussian")


# The schedule.


def _rates(schedule, n, bases=(0.5,), turn=None):
    """Learning rates of `n` steps, shape (n, groups); shortened at step `turn`."""
    groups = [{"lr": base} for base in bases]
    net = SimpleNamespace(optimizer_=SimpleNamespace(param_groups=groups))
    schedule.initialize()
    rates = []
    for step in range(n):
        if step == turn:
            schedule.shorten()
        schedule.on_batch_begin(net, training=True)
        rates.append([group["lr"] for group in groups])
    return np.array(rates)


def test_rate_warms_up_stays_constant_and_falls_to_zero_along_a_line():
    rates = _rates(LinearDecay(1000, warmup=100, constant_share=0.6), 1000)[:, 0]
    np.testing.assert_allclose(rates[:100], 0.5 * np.arange(1, 101) / 100)
    np.testing.assert_allclose(rates[100:600], 0.5)
    np.testing.assert_allclose(rates[600:], 0.5 * (1 - np.arange(400) / 400))


@pytest.mark.parametrize(
    ("constant_share", "high"), [(0.2, 0.5), (0.01, 0.5 * 97 / 99)]
)
def test_a_shortened_decay_ends_within_two_thirds_of_the_steps_so_far(
    constant_share, high
):
    schedule = LinearDecay(10_000, constant_share=constant_share)
    rates = _rates(schedule, 510, turn=300)[:, 0]
    late = np.maximum(0, np.arange(100, 300) - 10_000 * constant_share)
    decay = late / (10_000 * (1 - constant_share))
    np.testing.assert_allclose(rates[100:300], 0.5 * (1 - decay))
    assert rates[300] == pytest.approx(high)
    np.testing.assert_allclose(rates[300:500], rates[300] * (1 - np.arange(200) / 200))
    np.testing.assert_allclose(rates[500:], 0, atol=1e-8)


def test_a_decay_is_shortened_once_and_never_made_longer():
    schedule = LinearDecay(100)
    _rates(schedule, 90)
    schedule.shorten()
    assert schedule.end == 100
    schedule = LinearDecay(10_000)
    _rates(schedule, 400, turn=300)
    schedule.shorten()
    assert schedule.end == 500


def test_rate_of_a_stream_never_falls():
    assert _rates(LinearDecay(None), 5000)[-1] == 0.5


def test_groups_keep_the_ratio_of_their_rates():
    rates = _rates(LinearDecay(300), 300, bases=(0.5, 0.1))
    np.testing.assert_allclose(rates[:, 0], 5 * rates[:, 1])


# The average.


def test_average_closes_in_on_constant_weights_along_a_straight_line():
    module = nn.Linear(2, 2)
    parameters = list(module.parameters())
    start = [p.detach().clone() for p in parameters]
    average = WeightAverage(decay=0.9).initialize()
    average.on_train_begin(SimpleNamespace(module_=module))
    left = []
    for _ in range(100):
        for p in parameters:
            nn.init.constant_(p, 3.0)
        average.on_batch_end(None, training=True)
        average.swap()
        shares = [
            (3 - p.detach()) / (3 - q) for p, q in zip(parameters, start, strict=True)
        ]
        shares = torch.cat([share.flatten() for share in shares])
        torch.testing.assert_close(
            shares, shares.mean().expand(6), rtol=1e-3, atol=1e-5
        )
        left.append(shares.mean().item())
        average.swap()
    assert all((p == 3).all() for p in parameters)
    assert (np.diff([1.0, *left[:5]]) < 0).all()
    assert left[-1] < 1e-3


# The selection: epochs of a potential that is exact at bend 0 and worse away from it.


class Bent(ExactPotential):
    """The exact potential of the problem, bent; it starts at a bend of 0.4."""

    def reset(self):
        with torch.no_grad():
            self.bend.fill_(0.4)


def _select(
    bends,
    patience=10**6,
    tol=0.0,
    early_stopping=True,
    max_steps=10_000,
    start_only=False,
    potential=None,
    rescale=False,
):
    """The rule after epochs of 10 steps with these bends; ends where the rule does."""
    x = PROBLEM.sample(400)
    weight = torch.full((1, 400), 1 / 400, dtype=torch.float64)
    flow = CharacteristicFlow(potential or Bent(PROBLEM.u), PROBLEM.cost)
    schedule = LinearDecay(max_steps, warmup=5).initialize()
    average = WeightAverage(decay=0.0).initialize()
    risk = ModelSelection(
        schedule, average, patience, tol, early_stopping, rescale=rescale
    ).initialize()
    optimizer = torch.optim.Adam(flow.potential.parameters())
    schedule.base = [1.0]
    net = SimpleNamespace(module_=flow, history=History(), optimizer_=optimizer)
    average.on_train_begin(net)
    measure = partial(held_out_risk, flow, x, PROBLEM.T(x), weight, weight)
    risk.begin(flow, measure, limit=3)
    for bend in bends:
        nn.init.constant_(flow.potential.bend, bend)
        average.on_batch_end(net, training=True)
        schedule.step += 10
        net.history.new_epoch()
        risk.on_epoch_end(net)
        try:
            Stop(risk).on_epoch_end(net)
        except KeyboardInterrupt:
            break
    weights, step, _ = risk.selected_weights(torch.tensor([start_only]))
    return risk, next(iter(weights.values())).item(), step.item()


def test_the_best_epoch_is_kept():
    _, bend, step = _select([0.3, 0.05, 0.2, 0.5])
    assert (bend, step) == (pytest.approx(0.05), 20)


def test_of_epochs_that_are_equally_good_the_latest_is_kept():
    _, bend, step = _select([0.3, 0.05, 0.05, 0.5])
    assert (bend, step) == (pytest.approx(0.05), 30)


def test_the_start_is_kept_where_nothing_beats_it_by_enough():
    assert _select([0.5, 0.6])[1:] == (pytest.approx(0.4), 0)
    assert _select([0.3, 0.2], tol=100.0)[1:] == (pytest.approx(0.4), 0)


@pytest.mark.parametrize("bend", [math.nan, math.inf, 1e4])
def test_after_a_useless_epoch_training_goes_on_from_what_is_kept_with_smaller_steps(
    bend,
):
    risk, kept, step = _select([0.1, bend])
    assert risk.stop_reason is None
    assert (kept, step) == (pytest.approx(0.1), 10)
    assert risk.flow.potential.bend.item() == pytest.approx(0.1)
    assert risk.average.average[0].item() == pytest.approx(0.1)
    assert risk.schedule.base == [pytest.approx(1 / 3)]


@pytest.mark.parametrize("bend", [math.nan, math.inf, 1e4])
def test_the_seventh_useless_epoch_ends_the_training_and_none_is_kept(bend):
    risk, kept, step = _select([0.1] + 7 * [bend] + [0.0])
    assert risk.stop_reason == "diverged"
    assert (kept, step) == (pytest.approx(0.1), 10)
    assert risk.schedule.step == 80


class Multiple(ExactPotential):
    """The exact potential times a factor; it starts at the factor 0."""

    def value_and_gradient(self, x, t):
        exact = ExactPotential(self.u).value_and_gradient(x, t)
        return tuple(self.bend * value for value in exact)

    def reset(self):
        with torch.no_grad():
            self.bend.zero_()

    @torch.no_grad()
    def multiply_by(self, factor):
        self.bend.mul_(factor[0])


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.25])
def test_a_potential_of_the_wrong_size_is_multiplied_by_the_best_factor(factor):
    kept = _select([factor], potential=Multiple(PROBLEM.u), rescale=True)[1]
    assert abs(kept - 1) <= 0.05
    assert _select([factor], potential=Multiple(PROBLEM.u))[1] == pytest.approx(factor)


def test_a_start_that_is_kept_is_not_rescaled():
    assert _select([0.5], rescale=True, start_only=True)[1] == pytest.approx(0.4)


def test_a_class_with_too_few_rows_keeps_the_start():
    assert _select([0.1], start_only=True)[1:] == (pytest.approx(0.4), 0)


def test_patience_ends_a_training_that_never_beat_its_start():
    risk, _, step = _select([0.5] * 9, patience=30)
    assert (risk.stop_reason, step, risk.schedule.step) == ("initialization", 0, 30)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_patience_shortens_a_training_that_beat_its_initialization(early_stopping):
    risk, _, _ = _select([0.1] + [0.5] * 9, 30, early_stopping=early_stopping)
    assert risk.schedule.shortened == early_stopping


def _beats(gain, energy_gain, doubt):
    """Whether a map with these gains, in standard errors, replaces the initialization."""
    one = torch.ones(1)
    start = SimpleNamespace(
        gain=lambda risk: (gain * one, one),
        energy_gain=lambda risk: (energy_gain * one, one),
    )
    selection = ModelSelection(LinearDecay(100), WeightAverage(), 10)
    return selection._beats(start, None, doubt).item()


@pytest.mark.parametrize(
    ("gain", "energy_gain", "better"),
    [(5, 0, True), (5, -3, True), (1.5, -3, False), (50, -11, False), (-1, 3, True)],
)
def test_a_much_larger_energy_distance_outweighs_any_risk(gain, energy_gain, better):
    assert _beats(gain, energy_gain, doubt=1.0) == better


@pytest.mark.parametrize("gains", [(1.5, 0), (0, 1.5), (1.5, 1.5)])
def test_a_map_of_many_rows_must_be_surely_better(gains):
    assert _beats(*gains, doubt=1.0)
    assert not _beats(*gains, doubt=2.0)
    assert _beats(*np.multiply(gains, 2), doubt=2.0)


def test_the_budget_ends_the_training():
    risk, _, _ = _select([0.1] * 9, max_steps=50)
    assert (risk.stop_reason, risk.schedule.step) == ("max_iter", 50)


def test_the_expected_end_lies_between_the_soonest_and_the_latest():
    for bends, patience in (([0.5], 300), ([0.3, 0.2, 0.1], 300), ([0.3], 5_000)):
        risk, _, step = _select(bends, patience=patience, max_steps=1_000)
        soonest = step + patience if step == 0 else 5 * (step + patience) / 3
        at, end = risk.schedule.step, risk.expected_end()
        assert at < min(soonest, 1_000) <= end + 1
        assert end <= 1_000
        # At most the square root of the quotient of both is the error of the steps left.
        assert (end - at) ** 2 == pytest.approx(
            (min(soonest, 1_000) - at) * (1_000 - at), rel=0.02
        )


def test_the_end_of_a_decay_is_known():
    risk, _, _ = _select([0.1] + [0.3] * 5, patience=30, max_steps=10_000)
    assert risk.schedule.shortened
    assert risk.expected_end() == risk.schedule.end
