"""The diagnostics: what they must find of maps whose error is known."""

import pickle
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
from sk_ncf.diagnostics._compute import Side, diagnose
from sk_ncf.diagnostics._support import AT_MOST_KEPT, Support, _least_keys
from sk_ncf.diagnostics._two_sample import (
    energy_distance,
    excess,
    least_moves,
    p_value_of_one_law,
)
from sk_ncf.metrics import l2_uvp

SHIFT = np.array([3.0, -1.0])


def normal(n, seed=0, size=1.0, shift=0.0):
    return size * np.random.default_rng(seed).standard_normal((n, 2)) + shift


@pytest.fixture(scope="module")
def exact():
    """The sample's Gaussian map between a normal law and the same law, moved."""
    rows = normal(5000)
    return start_map().fit(rows, X_target=rows + SHIFT)


def judged(transport, X, Y, **params):
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


def test_least_moves_of_one_feature_are_those_of_sorted_rows():
    x, y = np.random.default_rng(0).standard_normal((2, 30, 1))
    sorted_moves = np.square(np.sort(x, axis=0) - np.sort(y, axis=0)).mean()
    assert least_moves(cdist(x, y)) == pytest.approx(sorted_moves)


@pytest.mark.parametrize("d", [1, 8])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_excess_of_a_shift_is_its_square_without_bias(d, shift):
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        parts = rng.standard_normal((4, 40, d))
        parts[:2] += shift / np.sqrt(d)
        found.append(excess(lambda a, b: least_moves(cdist(a, b)), parts))
    assert abs(np.mean(found) - shift**2) < 4 * stats.sem(found)


def test_permutation_test_has_its_level_and_its_power():
    rng = np.random.RandomState(0)

    def p_values(shift):
        for _ in range(200):
            x, y = rng.standard_normal((2, 12, 3))
            pooled = np.concatenate([x, y + shift])
            yield p_value_of_one_law(cdist(pooled, pooled), rng, 19)

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
    found = judged(exact, normal(600, 1), normal(600, 2, shift=SHIFT))
    assert found.trusted
    assert found.error < 2
    assert found.out_of_support < 0.04


def test_residual_and_round_trip_of_the_start_are_zero():
    X, Y = normal(300), normal(300, 1) @ [[2, 1], [0, 1]]
    found = judged(start_map().fit(X, X_target=Y), X, Y)
    for side in (found.forward, found.inverse):
        assert side.residual < 1e-12
        assert side.cycle_error < 1e-12


def test_gap_of_the_exact_map_is_zero_but_for_sampling(exact):
    n = 500
    found = judged(exact, normal(n, 1), normal(n, 2, shift=SHIFT))
    # f and g are linear with slope SHIFT: these are the standard errors of their means.
    rows = normal(n, 1), normal(n, 2, shift=SHIFT)
    assert found.score == pytest.approx(exact.score(rows[0], X_target=rows[1]))
    assert found.gap == found.transport_cost - found.score
    assert abs(found.gap) < 4 * np.linalg.norm(SHIFT) / np.sqrt(n)


# Maps that err.


@pytest.mark.parametrize(("factor", "sign"), [(1.5, 1), (0.5, -1)])
def test_gap_is_positive_of_moves_too_far_and_negative_of_moves_too_short(factor, sign):
    rows = normal(2000)
    transport = start_map().fit(rows, X_target=rows + factor * SHIFT)
    found = judged(transport, normal(500, 1), normal(500, 2, shift=SHIFT))
    assert sign * found.gap > 1
    assert not found.trusted


def test_a_map_to_another_target_is_distrusted_with_a_warning(exact):
    X, Y = normal(300, 1), normal(300, 2, size=3)
    with pytest.warns(
        MapQualityWarning, match="Do not trust the map: it errs by about"
    ):
        found = exact.diagnostics(X, X_target=Y, random_state=0)
    assert not found.trusted
    assert found.verdict in repr(found)


def test_error_of_a_wrong_shift_is_its_square_over_the_variance(exact):
    found = judged(exact, normal(600, 1), normal(600, 2, shift=SHIFT + [0.8, 0]))
    assert found.forward.error == pytest.approx(100 * 0.64 / 2, rel=0.2)
    assert found.inverse.error == pytest.approx(100 * 0.64 / 2, rel=0.2)


@pytest.mark.parametrize("cost", COSTS)
def test_what_shows_of_the_error_is_at_most_the_error_and_much_of_it(cost):
    rows = problem(cost)
    X, T = rows.sample_pairs(400, 1)
    origin, Y = rows.sample_pairs(400, 2)
    transport = start_map(cost=cost, cost_params=COSTS[cost])
    transport.fit(rows.X, X_target=rows.X_target)  # the Gaussian map or mean shift
    found = judged(transport, X, Y)
    for said, true in (
        (found.forward.error, l2_uvp(transport.transform(X), T)),
        (found.inverse.error, l2_uvp(transport.inverse_transform(Y), origin)),
    ):
        assert 0.4 * true - 1.5 < said < 1.1 * true + 1.5


def test_a_map_that_shuffles_rows_within_the_law_is_given_away_by_the_round_trip(exact):
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
    sides = [Side(normal(600, seed), None, None) for seed in (1, 2)]
    found = diagnose(turned, *sides, [(None, None)], np.random.RandomState(0))
    assert not found.significant
    assert not found.trusted
    # E|Rx - x|^2 = 2 E|x|^2
    assert found.forward.cycle_error == pytest.approx(200, rel=0.02)


# What is found of one direction, and what the verdict says.
VERDICTS = {
    "mapped rows are not told apart from": {"error": 1.0, "p_value": 0.4},
    "The map can be trusted: it errs by about 1 %": {"error": 1.0, "p_value": 0.01},
    "Too few rows to tell": {"error": 40.0, "p_value": 0.4},
    "Use the map with care": {"error": 10.0, "p_value": 0.01},
    "Do not trust the map: it errs by about 40 %": {"error": 40.0, "p_value": 0.01},
    "Do not trust the map: it errs": {
        "error": 40.0,
        "p_value": 0.4,
        "cycle_error": 30.0,
    },
    "Do not trust the map: 50% of these rows": {"error": 1.0, "out_of_support": 0.5},
}


@pytest.mark.parametrize("words", VERDICTS)
@pytest.mark.parametrize("side", ["forward", "inverse"])
def test_the_worse_direction_decides_and_few_rows_condemn_no_map(words, side):
    one = DirectionDiagnostics(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.01)
    both = {"forward": one, "inverse": one, side: replace(one, **VERDICTS[words])}
    found = Diagnostics(**both, transport_cost=1.0, score=1.0, n_rows=100)
    assert words in found.verdict
    assert found.trusted == ("Do not trust" not in words)
    assert found.error == VERDICTS[words]["error"]


# The support.


def test_one_in_a_hundred_rows_of_the_same_law_is_outside_and_far_rows_all_are(exact):
    support = exact._session.supports[0][0]
    frame = exact.preconditioners_[0].source
    share = support.out_of_support(normal(20_000, 1), frame).mean()
    # The limit is itself random: a quantile of the 256 kept rows.
    assert 0 < share < 0.03
    assert support.out_of_support(normal(50, 2, shift=20), frame).all()
    found = judged(exact, normal(300, 1, shift=20), normal(300, 2, shift=SHIFT))
    assert found.forward.out_of_support == 1
    assert "extrapolation" in found.verdict


def test_a_hole_of_the_rows_is_outside():
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


def test_keys_of_equal_weights_are_distributed_like_the_least_of_all_keys():
    rng, n = np.random.RandomState(0), 300
    equal = equal_weights(n)
    quick_, direct = (
        [np.sort(_least_keys(w, rng)[1])[-1] for _ in range(300)]
        for w in (equal, np.array(equal))
    )
    assert stats.ks_2samp(quick_, direct).pvalue > 0.01


def test_what_is_kept_is_bounded_and_no_view_of_the_rows():
    rows = normal(50_000)
    transport = start_map().fit(rows, X_target=rows)
    for support in transport._session.supports[0]:
        assert support.X.base is None
        assert len(pickle.dumps(support)) < 10_000


# Classes, weights, types.


def test_every_class_is_judged_by_itself():
    X, Y, y = crossing_classes(600)
    transport = quick(class_conditional=True, max_iter=1, tol=1e9)
    transport.fit(X, y, X_target=Y, y_target=y)
    X, Y, y = crossing_classes(600, seed=1)
    right = judged(transport, X, Y, y=y, y_target=y)
    assert right.trusted
    assert right.n_rows == 600
    # The law of all rows together is the same, that of every class is not.
    wrong = judged(transport, X, Y, y=y, y_target=(y + 1) % 3)
    assert not wrong.trusted
    assert judged(transport, X, Y).error == right.error  # classes as predicted


def test_a_shared_map_is_judged_on_all_rows():
    X, Y, y = crossing_classes(200)
    transport = quick(class_conditional="shared", objective="mmd")
    transport.fit(X, y, X_target=Y, y_target=y)
    assert judged(transport, X, Y).out_of_support < 0.1


def test_rows_of_weight_zero_do_not_count(exact):
    X = np.concatenate([normal(300, 1), normal(300, 2, shift=9)])
    Y = np.concatenate([normal(300, 3, size=5), normal(300, 4, shift=SHIFT)])
    weights = {
        "sample_weight": np.repeat([2.0, 0.0], 300),
        "target_weight": np.repeat([0.0, 0.5], 300),
    }
    assert not judged(exact, X, Y).trusted
    weighted = judged(exact, X, Y, **weights)
    assert weighted.trusted
    assert weighted.n_rows == 300


def test_single_precision_gives_the_same_verdict(exact):
    X, Y = normal(200, 1), normal(200, 2, shift=SHIFT)
    single = judged(exact, X.astype(np.float32), Y.astype(np.float32))
    assert single.error == pytest.approx(judged(exact, X, Y).error, rel=1e-3)


def test_without_target_rows_the_reserved_ones_are_taken(exact):
    assert judged(exact, normal(300, 1), None).trusted
    to_normal = start_map().fit(normal(2000))
    assert judged(to_normal, normal(300, 1), None).trusted
    of_normal = start_map(default_domain="target").fit(normal(2000, shift=SHIFT))
    assert judged(of_normal, normal(300, 1), None).trusted


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
    "few rows": ({"X": Y8[:7]}, "X and X_target must have 8 rows .* got 7 and 8"),
    "NaN": ({"X_target": [[np.nan, 0.0]]}, "Input X_target contains NaN"),
    "columns": ({"X_target": Y8[:, :1]}, "X_target has 1 features"),
    "weights": ({"target_weight": -np.ones(8)}, "target_weight must be >= 0"),
    "sized": ({"sample_weight": np.ones(7)}, r"sample_weight .*\(8,\).*\(7,\)"),
    "permutations": ({"n_permutations": 0}, "n_permutations == 0, must be >= 1"),
    "a share": ({"n_permutations": 0.5}, "n_permutations must be an instance"),
    "a weight of none": (
        {"X_target": None, "target_weight": np.ones(8)},
        "target_weight is of the rows of X_target, which is None",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_by_name(name, exact):
    arguments, message = BAD[name]
    rows = {"X": Y8, "X_target": Y8}
    refused(exact, "diagnostics", {**rows, **arguments}, message)


def test_labels_of_target_rows_are_refused_by_their_own_name():
    X, Y, y = crossing_classes(60)
    transport = quick(class_conditional=True, max_iter=1).fit(
        X, y, X_target=Y, y_target=y
    )
    labels = {"X": X, "X_target": Y, "y_target": y + 5}
    refused(transport, "diagnostics", labels, "y_target must be among the classes")
