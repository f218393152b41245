"""The diagnostics of maps whose error is known."""

import pickle
import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fits import COSTS, crossing_classes, problem, quick, refused, start_map
from scipy import stats
from scipy.spatial.distance import cdist

from sk_ncf import MapQualityWarning
from sk_ncf._samples.sample import equal_weights, unique_rows
from sk_ncf.diagnostics import Diagnostics, DirectionDiagnostics
from sk_ncf.diagnostics._compute import diagnose
from sk_ncf.diagnostics._evaluation_sample import EvaluationSample
from sk_ncf.diagnostics._support import AT_MOST_KEPT, Support, _smallest_keys
from sk_ncf.diagnostics._two_sample import (
    debiased_distance,
    energy_distance,
    permutation_p_value,
    squared_wasserstein,
)
from sk_ncf.metrics import l2_uvp

SHIFT = np.array([3.0, -1.0])


def normal(n, seed=0, size=1.0, shift=0.0):
    return size * np.random.default_rng(seed).standard_normal((n, 2)) + shift


@pytest.fixture(scope="module")
def exact():
    """The Gaussian map between a normal distribution and the same one, shifted."""
    rows = normal(5000)
    return start_map().fit(rows, X_target=rows + SHIFT)


def evaluated(transport, X, Y, **params):
    """Diagnostics, and whether they warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = transport.diagnostics(X, X_target=Y, random_state=0, **params)
    assert all(w.category is MapQualityWarning for w in caught)
    assert [str(w.message) for w in caught] == [found.verdict] * (not found.trusted)
    return found


# Parts.


def test_energy_distance_of_one_feature_is_that_of_scipy():
    x, y = np.random.default_rng(0).standard_normal((2, 30, 1))
    y += 0.5
    pooled = np.concatenate([x, y])
    found = energy_distance(cdist(pooled, pooled), np.arange(30), np.arange(30, 60))
    assert found == pytest.approx(stats.energy_distance(x[:, 0], y[:, 0]) ** 2)


def test_squared_wasserstein_distance_of_one_feature_pairs_sorted_rows():
    x, y = np.random.default_rng(0).standard_normal((2, 30, 1))
    of_sorted = np.square(np.sort(x, axis=0) - np.sort(y, axis=0)).mean()
    assert squared_wasserstein(cdist(x, y)) == pytest.approx(of_sorted)


@pytest.mark.parametrize("d", [1, 8])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_debiased_distance_of_a_shift_is_its_square(d, shift):
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        parts = rng.standard_normal((4, 40, d))
        parts[:2] += shift / np.sqrt(d)
        distance = lambda a, b: squared_wasserstein(cdist(a, b))
        found.append(debiased_distance(distance, parts))
    assert abs(np.mean(found) - shift**2) < 4 * stats.sem(found)


def test_permutation_test_has_its_level_and_its_power():
    rng = np.random.RandomState(0)

    def p_values(shift):
        for _ in range(200):
            x, y = rng.standard_normal((2, 12, 3))
            pooled = np.concatenate([x, y + shift])
            yield permutation_p_value(cdist(pooled, pooled), rng, 19)

    rejected = sum(p <= 0.1 for p in p_values(0.0))
    low, high = stats.binom(200, 0.1).interval(0.999)
    assert low <= rejected <= high
    assert sum(p <= 0.1 for p in p_values(2.0)) > 190


# The exact map.


def test_p_values_of_the_exact_map_are_uniform(exact):
    p_values = []
    for seed in range(40):
        X, Y = normal(40, 100 + seed), normal(40, 200 + seed, shift=SHIFT)
        found = exact.diagnostics(X, X_target=Y, n_permutations=39, random_state=seed)
        p_values += [found.forward.p_value, found.inverse.p_value]
    steps = np.arange(1, 41) / 40  # the values a p-value can take
    counts = np.histogram(p_values, bins=[0, *steps[9::10] + 1e-9])[0]
    assert stats.chisquare(counts).pvalue > 0.01


def test_the_exact_map_is_trusted(exact):
    found = evaluated(exact, normal(600, 1), normal(600, 2, shift=SHIFT))
    assert found.trusted
    assert found.error < 2
    assert found.out_of_support < 0.04


def test_residual_and_cycle_error_of_the_initialization_are_zero():
    X, Y = normal(300), normal(300, 1) @ [[2, 1], [0, 1]]
    found = evaluated(start_map().fit(X, X_target=Y), X, Y)
    for direction in (found.forward, found.inverse):
        assert direction.residual < 1e-12
        assert direction.cycle_error < 1e-12


def test_gap_of_the_exact_map_is_zero_up_to_sampling_error(exact):
    n = 500
    found = evaluated(exact, normal(n, 1), normal(n, 2, shift=SHIFT))
    # f and g are linear with slope SHIFT: these are the standard errors of their means.
    rows = normal(n, 1), normal(n, 2, shift=SHIFT)
    assert found.score == pytest.approx(exact.score(rows[0], X_target=rows[1]))
    assert found.gap == found.transport_cost - found.score
    assert abs(found.gap) < 4 * np.linalg.norm(SHIFT) / np.sqrt(n)


# Wrong maps.


@pytest.mark.parametrize(("factor", "sign"), [(1.5, 1), (0.5, -1)])
def test_gap_is_positive_for_too_long_and_negative_for_too_short_displacements(
    factor, sign
):
    rows = normal(2000)
    transport = start_map().fit(rows, X_target=rows + factor * SHIFT)
    found = evaluated(transport, normal(500, 1), normal(500, 2, shift=SHIFT))
    assert sign * found.gap > 1
    assert not found.trusted


def test_a_map_to_another_target_is_not_trusted_and_warns(exact):
    X, Y = normal(300, 1), normal(300, 2, size=3)
    message = "Do not trust the map: its error is about .* % of the variance or more"
    with pytest.warns(MapQualityWarning, match=message):
        found = exact.diagnostics(X, X_target=Y, random_state=0)
    assert not found.trusted
    assert found.verdict in " ".join(repr(found).split())
    assert max(map(len, repr(found).splitlines())) <= 80


def test_error_of_a_wrong_shift_is_its_square_over_the_variance(exact):
    found = evaluated(exact, normal(600, 1), normal(600, 2, shift=SHIFT + [0.8, 0]))
    assert found.forward.error == pytest.approx(100 * 0.64 / 2, rel=0.2)
    assert found.inverse.error == pytest.approx(100 * 0.64 / 2, rel=0.2)


@pytest.mark.parametrize("cost", COSTS)
def test_the_estimated_error_is_a_large_part_of_the_error_and_not_above_it(cost):
    rows = problem(cost)
    X, T = rows.sample_pairs(400, 1)
    origin, Y = rows.sample_pairs(400, 2)
    transport = start_map(cost=cost, cost_params=COSTS[cost])
    transport.fit(rows.X, X_target=rows.X_target)  # the Gaussian map or mean shift
    found = evaluated(transport, X, Y)
    for estimated, true in (
        (found.forward.error, l2_uvp(transport.transform(X), T)),
        (found.inverse.error, l2_uvp(transport.inverse_transform(Y), origin)),
    ):
        assert 0.4 * true - 1.5 < estimated < 1.1 * true + 1.5


def test_the_cycle_error_detects_a_map_that_pairs_rows_wrongly(exact):
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = SimpleNamespace(
        forward=lambda X, codes: X @ turn,
        inverse=lambda Y, codes: Y,
        cost=lambda X, Y: np.square(X - Y).sum(axis=1) / 2,
        source_potential=lambda X, codes: np.zeros(len(X)),
        target_potential=lambda X, codes: np.zeros(len(X)),
        held_out_dual=lambda X, Y, k: 0.0,
        preconditioners=exact.preconditioners_,
    )
    samples = [EvaluationSample(normal(600, seed), None, None) for seed in (1, 2)]
    found = diagnose(turned, *samples, [(None, None)], np.random.RandomState(0))
    assert not found.significant
    assert not found.trusted
    # E|Rx - x|^2 = 2 E|x|^2
    assert found.forward.cycle_error == pytest.approx(200, rel=0.02)


# What the verdict says, and the numbers of one direction.
VERDICTS = {
    "The map can be trusted: mapped rows do not differ significantly from the rows "
    "they should match, and the estimated error is about 1 %": {
        "error": 1.0,
        "p_value": 0.4,
    },
    "The map can be trusted: its estimated error is about 1 %": {
        "error": 1.0,
        "p_value": 0.01,
    },
    "Too few rows to decide: the estimated error is about 40 %": {
        "error": 40.0,
        "p_value": 0.4,
    },
    "Use the map with care: its error is about 10 %": {"error": 10.0, "p_value": 0.01},
    "Do not trust the map: its error is about 40 % of the variance or more.": {
        "error": 40.0,
        "p_value": 0.01,
    },
    "Do not trust the map: its error is about 40 %": {
        "error": 40.0,
        "p_value": 0.4,
        "cycle_error": 30.0,
    },
    "Do not trust the map: 50% of these rows lie outside the support": {
        "error": 1.0,
        "out_of_support": 0.5,
    },
}


@pytest.mark.parametrize("words", VERDICTS)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_worse_direction_decides_and_few_rows_are_no_reason_for_distrust(
    words, direction
):
    one = DirectionDiagnostics(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.01)
    both = {"forward": one, "inverse": one, direction: replace(one, **VERDICTS[words])}
    found = Diagnostics(**both, transport_cost=1.0, score=1.0, n_rows=100)
    assert words in found.verdict
    assert found.trusted == ("Do not trust" not in words)
    assert found.error == VERDICTS[words]["error"]


@pytest.mark.parametrize(
    ("cost", "score", "words"),
    [
        (8.4, 10.0, "with care.*16% below the optimal one.*stop short"),
        (12.0, 10.0, "with care.*17% above the optimal one.*further than they need"),
        (9.9, 10.0, "The map can be trusted"),
    ],
)
def test_a_duality_gap_beyond_its_sampling_error_calls_for_care(cost, score, words):
    one = DirectionDiagnostics(1.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.01)
    found = Diagnostics(one, one, cost, score, 1000, gap_error=0.1)
    assert re.match(f".*{words}", found.verdict)
    uncertain = replace(found, gap_error=1.0)
    assert "The map can be trusted" in uncertain.verdict


def test_a_verdict_of_trust_is_not_at_odds_with_its_p_value():
    one = DirectionDiagnostics(1.0, 0.0, 0.0, 0.04, 0.0, 0.0, 0.01)
    verdict = Diagnostics(one, one, 1.0, 1.0, 1000).verdict
    assert "statistically significant (p = 0.04)" in verdict


# The support.


def test_one_in_a_hundred_rows_of_the_same_distribution_is_outside_and_all_far_rows(
    exact,
):
    support = exact._session.supports[0][0]
    frame = exact.preconditioners_[0].source
    share = support.out_of_support(normal(20_000, 1), frame).mean()
    # The limit is itself random: a quantile of the 256 kept rows.
    assert 0 < share < 0.03
    assert support.out_of_support(normal(50, 2, shift=20), frame).all()
    found = evaluated(exact, normal(300, 1, shift=20), normal(300, 2, shift=SHIFT))
    assert found.forward.out_of_support == 1
    assert "extrapolation" in found.verdict


def test_a_hole_in_the_distribution_is_outside():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 2000)
    ring = 5 * np.c_[np.cos(angle), np.sin(angle)]
    transport = start_map().fit(ring, X_target=ring)
    support, frame = transport._session.supports[0][0], transport.preconditioners_[0]
    assert support.out_of_support(np.zeros((1, 2)), frame.source).all()
    assert not support.out_of_support(ring[:50], frame.source).all()


def test_a_stream_extends_the_support():
    one, other = normal(500), normal(500, 1, shift=30)
    stream = quick().partial_fit(one, X_target=one)
    frame = stream.preconditioners_[0].source
    before = stream._session.supports[0][0]
    stream.partial_fit(other, X_target=one)
    after = stream._session.supports[0][0]
    assert before.out_of_support(other, frame).all()
    assert after.out_of_support(other, frame).mean() < 0.05
    assert after.out_of_support(one, frame).mean() < 0.05
    assert len(after.X) == AT_MOST_KEPT
    assert after.n_seen == 1000


def test_rows_are_kept_in_proportion_to_their_weight():
    rows, weight = normal(20_000), np.repeat([3.0, 1.0], 10_000)
    kept = Support.of(unique_rows(rows, weight)).X
    heavy = (cdist(kept, rows[:10_000]).min(axis=1) == 0).sum()
    low, high = stats.binom(AT_MOST_KEPT, 0.75).interval(0.999)
    assert low <= heavy <= high


def test_keys_of_equal_weights_are_distributed_like_the_smallest_of_all_keys():
    rng, n = np.random.RandomState(0), 300
    equal = equal_weights(n)
    quick_, direct = (
        [np.sort(_smallest_keys(w, rng)[1])[-1] for _ in range(300)]
        for w in (equal, np.array(equal))
    )
    assert stats.ks_2samp(quick_, direct).pvalue > 0.01


def test_the_support_is_bounded_and_is_no_view_of_the_rows():
    rows = normal(50_000)
    transport = start_map().fit(rows, X_target=rows)
    for support in transport._session.supports[0]:
        assert support.X.base is None
        assert len(pickle.dumps(support)) < 10_000


# Classes, weights, types.


def test_every_class_is_evaluated_separately():
    X, Y, y = crossing_classes(600)
    transport = quick(class_conditional=True, max_iter=1, tol=1e9)
    transport.fit(X, y, X_target=Y, y_target=y)
    X, Y, y = crossing_classes(600, seed=1)
    right = evaluated(transport, X, Y, y=y, y_target=y)
    assert right.trusted
    assert right.n_rows == 600
    # The distribution of all rows is the same, those of the classes are not.
    wrong = evaluated(transport, X, Y, y=y, y_target=(y + 1) % 3)
    assert not wrong.trusted
    assert evaluated(transport, X, Y).error == right.error  # classes as predicted


def test_a_shared_map_is_evaluated_on_all_rows():
    X, Y, y = crossing_classes(200)
    transport = quick(class_conditional="shared", objective="mmd")
    transport.fit(X, y, X_target=Y, y_target=y)
    assert evaluated(transport, X, Y).out_of_support < 0.1


def test_rows_of_weight_zero_have_no_effect(exact):
    X = np.concatenate([normal(300, 1), normal(300, 2, shift=9)])
    Y = np.concatenate([normal(300, 3, size=5), normal(300, 4, shift=SHIFT)])
    weights = {
        "sample_weight": np.repeat([2.0, 0.0], 300),
        "target_weight": np.repeat([0.0, 0.5], 300),
    }
    assert not evaluated(exact, X, Y).trusted
    weighted = evaluated(exact, X, Y, **weights)
    assert weighted.trusted
    assert weighted.n_rows == 300


def test_a_class_of_weight_zero_is_left_out():
    X, Y, y = crossing_classes(300)
    transport = start_map(class_conditional=True).fit(X, y, X_target=Y, y_target=y)
    weights = {"sample_weight": y > 0, "target_weight": y < 2}
    found = evaluated(transport, X, Y, y=y, y_target=y, **weights)
    assert found.n_rows == 100  # those of class 1


def test_single_precision_gives_the_same_verdict(exact):
    X, Y = normal(200, 1), normal(200, 2, shift=SHIFT)
    single = evaluated(exact, X.astype(np.float32), Y.astype(np.float32))
    assert single.error == pytest.approx(evaluated(exact, X, Y).error, rel=1e-3)


def test_without_target_rows_the_reserved_ones_are_used(exact):
    assert evaluated(exact, normal(300, 1), None).trusted
    to_normal = start_map().fit(normal(2000))
    assert evaluated(to_normal, normal(300, 1), None).trusted
    of_normal = start_map(default_domain="target").fit(normal(2000, shift=SHIFT))
    assert evaluated(of_normal, normal(300, 1), None).trusted


def test_same_random_state_gives_the_same_diagnostics_and_nothing_changes(exact):
    X, Y = normal(300, 1), normal(200, 2, shift=SHIFT)
    state, before = np.random.get_state()[1].tolist(), dict(vars(exact))
    one, other = (exact.diagnostics(X, X_target=Y, random_state=3) for _ in range(2))
    assert one == other
    assert one != exact.diagnostics(X, X_target=Y, random_state=4)
    assert np.random.get_state()[1].tolist() == state
    assert all(vars(exact)[name] is value for name, value in before.items())


Y8 = normal(8)
BAD = {
    "few rows": (
        {"X": Y8[:7]},
        "X and X_target must have 8 rows .* at least one class, got 7 and 8",
    ),
    "NaN": ({"X_target": [[np.nan, 0.0]]}, "Input X_target contains NaN"),
    "columns": ({"X_target": Y8[:, :1]}, "X_target has 1 features"),
    "weights": ({"target_weight": -np.ones(8)}, "target_weight must be >= 0"),
    "length of weights": (
        {"sample_weight": np.ones(7)},
        r"sample_weight .*\(8,\).*\(7,\)",
    ),
    "permutations": ({"n_permutations": 0}, "n_permutations == 0, must be >= 1"),
    "fraction of a permutation": (
        {"n_permutations": 0.5},
        "n_permutations must be an instance",
    ),
    "weights without rows": (
        {"X_target": None, "target_weight": np.ones(8)},
        "target_weight belongs to the rows of X_target, which is None",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_mention_the_argument(name, exact):
    arguments, message = BAD[name]
    rows = {"X": Y8, "X_target": Y8}
    refused(exact, "diagnostics", {**rows, **arguments}, message)


def test_errors_of_target_labels_mention_y_target():
    X, Y, y = crossing_classes(60)
    transport = quick(class_conditional=True, max_iter=1).fit(
        X, y, X_target=Y, y_target=y
    )
    labels = {"X": X, "X_target": Y, "y_target": y + 5}
    refused(transport, "diagnostics", labels, "y_target must be among the classes")
