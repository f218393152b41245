"""Class-conditional maps: every class is mapped to the same class of the target."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
import torch
from fits import COSTS, crossing_classes, hidden, quick, same_map, start_map
from problems import COSTS as COST_OBJECTS
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf.costs._affine import AffineCost
from sk_ncf.objectives import SemiDual, energy_distance

X, Y, y = crossing_classes(600)
X_TEST, Y_TEST, y_test = crossing_classes(seed=1)  # 300 rows
LABELLED = {"X": X, "y": y, "X_target": Y, "y_target": y}
BOTH = {
    "X": np.concatenate([X, Y]),
    "y": np.r_[y, y],
    "sample_domain": np.repeat([1, -2], 600),
}
SHARED = {"class_conditional": "shared", "objective": "mmd"}
FOLDS = StratifiedKFold(2, shuffle=True, random_state=0)
few_rows = pytest.mark.filterwarnings("ignore:Classes with too few rows:UserWarning")


def by_label(max_iter=20, **params):
    return quick(max_iter, class_conditional="per_class", **params)


@pytest.fixture(scope="module")
def transport():
    return by_label(100, learning_rate_init=1e-2).fit(**LABELLED)


def _own_class_rate(mapped, of=y_test):
    return KNeighborsClassifier(1).fit(Y, y).score(mapped, of)


def _round_trip(transport, rows=X_TEST):
    back = transport.inverse_transform(transport.transform(rows))
    return np.square(back - rows).mean() / rows.var()


def _distance(mapped, of=y_test):
    """Mean over classes of the squared energy distance to fresh rows of the class."""
    pairs = ((mapped[of == k], Y_TEST[y_test == k]) for k in np.unique(y))
    rows = [[torch.from_numpy(part)[None] for part in pair] for pair in pairs]
    return np.mean([energy_distance(*pair).item() for pair in rows])


# The map of a class.


def test_every_class_arrives_at_its_own_class_and_comes_back(transport):
    assert transport.best_iter_.max() > 0
    assert _own_class_rate(transport.transform(X_TEST)) == 1
    assert _round_trip(transport) < 1e-3


def test_without_classes_no_class_arrives():
    mapped = quick().fit(X, X_target=Y).transform(X_TEST)
    assert _own_class_rate(mapped) < 0.1


def test_a_class_is_mapped_closer_to_its_target_than_by_the_initialization(transport):
    start = start_map(class_conditional="per_class").fit(**LABELLED)
    mapped = [t.transform(X_TEST, sample_label=y_test) for t in (transport, start)]
    assert _distance(mapped[0]) < _distance(mapped[1])
    same = transport.best_iter_ == 0
    np.testing.assert_allclose(mapped[0][same[y_test]], mapped[1][same[y_test]])


def test_training_starts_at_the_gaussian_map_of_every_class():
    rng, of = np.random.default_rng(0), np.arange(10_000) % 2
    shape = [[[2, 0], [1, 0.5]], [[0.3, 0], [0, 3]], [[1, 1], [0, 3]], [[5, 2], [1, 1]]]
    draw = lambda a, b: (
        np.einsum("ni,nij->nj", rng.standard_normal((10_000, 2)), np.array([a, b])[of])
        + rng.standard_normal((2, 2))[of]
    )
    rows, target = draw(*shape[:2]), draw(*shape[2:])
    start = start_map(class_conditional="per_class")
    start.fit(rows, of, X_target=target, y_target=of)
    mapped = start.transform(rows, sample_label=of)
    for k in range(2):
        x, z, there = rows[of == k], target[of == k], mapped[of == k]
        np.testing.assert_allclose(there.mean(0), z.mean(0))
        np.testing.assert_allclose(np.cov(there.T), np.cov(z.T), rtol=1e-2)
        A = gaussian_map(np.cov(x.T), np.cov(z.T))
        wanted = (x - x.mean(0)) @ A + z.mean(0)
        np.testing.assert_allclose(there, wanted, atol=0.1)


def test_training_starts_at_the_mean_shift_of_every_class_under_other_costs():
    start = start_map(class_conditional="per_class", cost="lp").fit(**LABELLED)
    mapped = start.transform(X, sample_label=y)
    for k in range(3):
        shift = Y[y == k].mean(0) - X[y == k].mean(0)
        np.testing.assert_allclose(mapped[y == k], X[y == k] + shift)


@pytest.mark.parametrize("cost", COSTS)
def test_every_class_arrives_under_every_cost(cost):
    transport = by_label(30, cost=cost, cost_params=COSTS[cost]).fit(**LABELLED)
    assert _own_class_rate(transport.transform(X_TEST)) == 1
    assert _round_trip(transport) < 1e-3


def test_a_single_class_is_a_fit_without_classes():
    objective = SemiDual(mmd_weight=1.0, momentum_weight=1.0)
    options = {"objective": objective, "ensemble_size": 1}
    one = by_label(**options).fit(X, y == 7, X_target=Y, y_target=y == 7)
    same_map(one, quick(**options).fit(X, X_target=Y), X, Y)


def _affine(cost, seed):
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randn(3, generator=generator, dtype=torch.float64)
    return AffineCost(cost, shift, scale=0.5 + seed, unit=1.0 + seed / 2)


@pytest.mark.parametrize(
    "name",
    [name for name, cost in COST_OBJECTS.items() if type(cost) is not AffineCost],
)
def test_costs_of_all_classes_at_once_are_the_costs_of_each(name, float64):
    alone = [_affine(COST_OBJECTS[name], seed) for seed in range(4)]
    together = AffineCost.stack(alone)
    z = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(9))
    for method in ("lagrangian", "momentum", "velocity", "hamiltonian"):
        values = getattr(together, method)(z)
        for k, cost in enumerate(alone):
            wanted = getattr(cost, method)(z[k])
            torch.testing.assert_close(values[k], wanted)
            torch.testing.assert_close(
                getattr(together.select_class(k), method)(z[k]), wanted
            )
    pairs = together.pairwise(z, z[:, :4])
    for k, cost in enumerate(alone):
        torch.testing.assert_close(pairs[k], cost.pairwise(z[k], z[k, :4]))


# Who says which class a row is of.


def test_a_class_is_given_or_predicted_row_by_row(transport):
    predicted = transport.classes_[transport.classifier_.predict(X_TEST)]
    of_target = transport.classes_[transport.target_classifier_.predict(Y_TEST)]
    assert (predicted == y_test).all()
    assert (of_target == y_test).all()
    wrong = (y_test + 1) % 3
    for maps in (transport.transform, transport.inverse_transform):
        rows = X_TEST if maps == transport.transform else Y_TEST
        right, other = maps(rows), maps(rows, sample_label=wrong)
        np.testing.assert_array_equal(maps(rows, sample_label=y_test), right)
        assert (np.abs(other - right).max(axis=1) > 1).all()
        some = np.where(np.arange(300) < 100, wrong, -1)
        mixed = np.where(some[:, None] == -1, right, other)
        np.testing.assert_allclose(maps(rows, sample_label=some), mixed)
        np.testing.assert_allclose(
            maps(rows[wrong == 2], sample_label=2), other[wrong == 2]
        )


def test_interpolation_ends_at_the_map_of_the_class(transport):
    wrong = (y_test + 1) % 3
    for label in (None, wrong):
        mapped = transport.transform(X_TEST, sample_label=label)
        path = [
            transport.interpolate(X_TEST, t, sample_label=label) for t in (0, 0.5, 1)
        ]
        np.testing.assert_allclose(path[0], X_TEST)
        np.testing.assert_allclose(path[1], (X_TEST + mapped) / 2)
        np.testing.assert_allclose(path[2], mapped)


def test_fit_transform_maps_by_the_labels_that_were_given():
    noisy = np.where(np.arange(600) < 9, (y + 1) % 3, y)
    arguments = {**LABELLED, "y": noisy}
    transport = by_label(classifier=LogisticRegression())
    mapped = transport.fit_transform(**arguments)
    np.testing.assert_allclose(mapped, transport.transform(X, sample_label=noisy))
    assert np.abs(mapped - transport.transform(X))[:9].max() > 1


def test_score_is_the_mean_over_rows_of_the_scores_of_their_classes(transport):
    rows, of = X_TEST[:250], y_test[:250]
    parts = [transport.score(rows[of == k], of[of == k]) for k in range(3)]
    mean = np.average(parts, weights=np.bincount(of))
    assert transport.score(rows, of) == pytest.approx(mean)
    assert transport.score(rows) == pytest.approx(mean)
    fresh = transport.score(rows, of, X_target=Y_TEST)
    assert fresh == pytest.approx(mean, rel=0.1)
    assert fresh != mean


def test_transport_cost_and_potentials_are_those_of_the_classes(transport):
    mapped = transport.transform(X_TEST)
    cost = np.square(mapped - X_TEST).sum(axis=1) / 2
    assert transport.transport_cost(X_TEST) == pytest.approx(cost.mean())
    f, g = transport.dual_potentials(X_TEST, X_target=mapped)
    np.testing.assert_allclose(f + g, cost, rtol=0.02)


# What the fit is made of.


def test_rows_of_weight_zero_have_no_effect():
    kept = np.arange(600) % 5 != 0
    other = np.where(kept, y, 7)  # a whole class of weight zero in source and target
    weights = {"sample_weight": kept.astype(float), "target_weight": 2.0 * kept}
    weighted = by_label().fit(X, other, X_target=Y, y_target=other, **weights)
    without = by_label().fit(X[kept], y[kept], X_target=Y[kept], y_target=y[kept])
    assert weighted.classes_.tolist() == [0, 1, 2]
    same_map(weighted, without, X_TEST, Y_TEST)


def test_both_domains_in_one_array_are_the_same_fit(transport):
    params = {"max_iter": 100, "learning_rate_init": 1e-2}
    together = by_label(**params, default_domain="target").fit(**BOTH)
    back = together.inverse_transform(Y_TEST)
    np.testing.assert_allclose(back, transport.inverse_transform(Y_TEST), rtol=1e-9)
    np.testing.assert_array_equal(together.transform(X_TEST), X_TEST)
    mapped = together.transform(X_TEST, sample_domain=1)
    np.testing.assert_allclose(mapped, transport.transform(X_TEST), rtol=1e-9)
    moved = together.transform(
        BOTH["X"], sample_domain=BOTH["sample_domain"], sample_label=BOTH["y"]
    )
    np.testing.assert_array_equal(moved[600:], Y)
    np.testing.assert_allclose(moved[:600], transport.transform(X, sample_label=y))
    np.testing.assert_array_equal(
        moved, clone(together).fit_transform(**BOTH), strict=True
    )


def test_a_class_of_one_row_is_shifted_by_the_means_and_named_in_one_warning():
    of = np.r_[y[:-2], 8, 9]
    with pytest.warns(UserWarning, match=r"mean shift\): \[8, 9\]\.") as caught:
        transport = by_label().fit(X, of, X_target=Y, y_target=of)
    assert sum("one row" in str(warned.message) for warned in caught) == 1
    np.testing.assert_allclose(transport.transform(X[-2:], sample_label=[8, 9]), Y[-2:])
    near = X[-1:] + [[1.0, -2.0]]
    shifted = Y[-1:] + [[1.0, -2.0]]
    np.testing.assert_allclose(transport.transform(near, sample_label=9), shifted)
    assert transport.best_iter_[-2:].tolist() == [0, 0]


@pytest.mark.slow
@few_rows
def test_three_hundred_classes_of_three_rows_each_find_their_own():
    of, shift = np.repeat(np.arange(300), 3), np.array([5.0, -1.0, 2.0, 0.0])
    rng = np.random.default_rng(0)
    rows = 20 * rng.standard_normal((300, 4))[of] + rng.standard_normal((900, 4))
    transport = by_label().fit(rows, of, X_target=rows + shift, y_target=of)
    assert transport.stop_reason_ == "too_few_rows"
    mapped = transport.transform(rows, sample_label=of)
    np.testing.assert_allclose(mapped, rows + shift)
    np.testing.assert_allclose(
        transport.inverse_transform(mapped, sample_label=of), rows
    )


@few_rows
def test_a_class_a_thousand_times_rarer_arrives_all_the_same():
    common, target, _ = crossing_classes(5000, 1)
    rows = np.concatenate([common, X[y == 1][:5]])
    there = np.concatenate([target, Y[y == 1][:5]])
    of = np.repeat(["common", "rare"], [5000, 5])
    transport = by_label().fit(rows, of, X_target=there, y_target=of)
    rare = X_TEST[y_test == 1]
    mean = transport.transform(rare).mean(axis=0)
    assert np.abs(mean - Y[y == 1].mean(axis=0)).max() < 1
    assert (transport.classifier_.predict(rare) == 1).all()


@pytest.mark.parametrize("drawn", ["target", "source"])
def test_every_class_is_mapped_to_and_from_the_normal_distribution(drawn):
    default = "source" if drawn == "target" else "target"
    transport = by_label(default_domain=default).fit(X, y)
    to_normal, back = transport.transform, transport.inverse_transform
    if drawn == "source":
        to_normal, back = (
            back,
            lambda X, **label: transport.transform(X, sample_domain=1, **label),
        )
    normal = to_normal(X)
    for k in range(3):
        np.testing.assert_allclose(normal[y == k].mean(axis=0), 0, atol=0.1)
        np.testing.assert_allclose(np.cov(normal[y == k].T), np.eye(2), atol=0.15)
    np.testing.assert_allclose(back(normal, sample_label=y), X, atol=0.1)
    for label in (None, np.where(y == 0, -1, y)):
        with pytest.raises(ValueError, match=f"sample_label must .* all {drawn} rows"):
            back(normal, sample_label=label)


# Streams.


def _call(seed, classes=(0, 1, 2)):
    rows, there, of = crossing_classes(600, seed=seed)
    there = there + 0.5 * np.square(there + rows.mean(axis=0))[:, ::-1]
    kept = np.isin(of, classes)
    names = ("X", "y", "X_target", "y_target")
    return dict(zip(names, (rows[kept], of[kept], there[kept], of[kept]), strict=True))


@pytest.fixture(scope="module")
def stream():
    stream = by_label(learning_rate_init=1e-2)
    for seed in range(8):
        stream.partial_fit(**_call(seed))
    return stream


def test_the_map_of_a_class_does_not_change_in_a_call_without_it(stream):
    later = copy.deepcopy(stream)
    for seed in range(8, 12):
        later.partial_fit(**_call(seed, classes=(0, 2)))
    assert later.classes_.tolist() == [0, 1, 2]
    mapped = [t.transform(X_TEST, sample_label=y_test) for t in (stream, later)]
    moved = np.abs(mapped[1] - mapped[0]).max(axis=1)
    assert stream.best_iter_[1] > 0
    assert moved[y_test == 1].max() < 1e-9
    weights = [t.net_.module_.flow.potential.hidden_weight for t in (stream, later)]
    still = torch.isclose(*weights).flatten(1).all(1)
    assert not still[[0, 2]].any()


def test_classes_that_never_meet_in_a_call_change_nothing(stream):
    later, one, other = copy.deepcopy(stream), _call(9, (0,)), _call(9, (1,))
    target = {"X_target": other["X_target"], "y_target": other["y"]}
    later.partial_fit(one["X"], one["y"], **target)
    same = [t.transform(X_TEST, sample_label=y_test) for t in (stream, later)]
    np.testing.assert_allclose(*same)


def test_later_rows_of_a_stream_get_pseudo_labels_from_the_earlier_classifier(stream):
    rows = _call(8)
    labels = stream.target_classifier_.predict(rows["X_target"])
    unlabelled, labelled = copy.deepcopy(stream), copy.deepcopy(stream)
    labelled.partial_fit(**{**rows, "y_target": labels})
    unlabelled.partial_fit(**{**rows, "y_target": None})
    assert unlabelled.pseudo_label_fraction_ == 1
    assert np.isnan(unlabelled.pseudo_label_accuracy_)
    same_map(unlabelled, labelled, X_TEST, Y_TEST)


def test_a_stream_keeps_what_it_has_learnt_when_a_call_brings_a_few_rows():
    stream = quick(learning_rate_init=1e-2, ensemble_size=1)
    for seed in range(8):
        rows = _call(seed)
        stream.partial_fit(rows["X"], X_target=rows["X_target"])
    before = stream.transform(X_TEST)
    assert stream.best_iter_ > 0
    stream.partial_fit(rows["X"][:2], X_target=rows["X_target"][:2])
    assert stream.best_iter_ > 0
    np.testing.assert_allclose(stream.transform(X_TEST), before, atol=0.2)


# Pipelines and searches.


@pytest.mark.filterwarnings("ignore:y and y_target are not used")
def test_a_classifier_trained_on_mapped_rows_is_right_on_the_target():
    few = hidden(y, 2)
    pipeline = make_pipeline(by_label(default_domain="target"), LogisticRegression())
    target = {"ncftransport__X_target": Y, "ncftransport__y_target": few}
    assert pipeline.fit(X, y, **target).score(Y_TEST, y_test) > 0.99
    pipeline.set_params(ncftransport__class_conditional=False)
    assert pipeline.fit(X, y, **target).score(Y_TEST, y_test) < 0.1


def test_labels_of_the_target_are_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        steps = [("map", by_label(default_domain="target")), ("clf", SVC())]
        pipeline = Pipeline(steps, transform_input=["X_target"])
        pipeline.fit(X, y, X_target=Y, y_target=hidden(y, 2))
        assert pipeline.score(Y_TEST, y_test) > 0.99


def test_classes_of_rows_to_be_mapped_are_routed_on_request():
    wrong = (y_test + 1) % 3
    with sklearn.config_context(enable_metadata_routing=True):
        mapper = by_label().set_transform_request(sample_label=True)
        pipeline = make_pipeline("passthrough", mapper).fit(**LABELLED)
        mapped = pipeline.transform(X_TEST, sample_label=wrong)
    wanted = mapper.transform(X_TEST, sample_label=wrong)
    np.testing.assert_array_equal(mapped, wanted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:y and y_target are not used")
@pytest.mark.parametrize("routed", [False, True])
def test_classes_and_the_classifier_are_searched_together(routed):
    estimator = quick(2, classifier=SVC())
    grid = {"class_conditional": [False, "per_class"], "classifier__C": [1.0, 10.0]}
    search = GridSearchCV(estimator, grid, cv=FOLDS, error_score="raise")
    few = {"X_target": Y[:150], "y_target": hidden(y, 3)[:150]}
    with sklearn.config_context(enable_metadata_routing=routed):
        search.fit(X[:200], y[:200], **few)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    without, with_classes = scores.reshape(2, 2)
    assert without[0] == without[1]
    assert (with_classes > without).all()  # crossing is dearer than what is optimal
    best = search.best_estimator_
    assert best.class_conditional == "per_class"
    assert search.best_params_["classifier__C"] == best.classifier_.C


# The estimator.


def test_same_random_state_gives_the_same_map_and_numpy_is_left_alone():
    state = np.random.get_state()[1].copy()
    one, other = (by_label().fit(**LABELLED) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X_TEST), other.transform(X_TEST))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_pickle_maps_alike_and_a_clone_is_unfitted(transport):
    same_map(pickle.loads(pickle.dumps(transport)), transport, X_TEST, Y_TEST)
    given = by_label(classifier=SVC(C=3)).fit(**LABELLED)
    assert not hasattr(given.classifier, "classes_")
    assert given.classifier_.C == given.target_classifier_.C == 3
    copied = clone(given)
    assert copied.classifier is not given.classifier
    assert not hasattr(copied, "classes_")


def test_another_fit_removes_the_class_attributes_of_the_last_one():
    refitted = by_label().fit(**LABELLED)
    refitted.set_params(**SHARED).fit(**LABELLED)
    assert refitted.classes_.tolist() == [0, 1, 2]
    assert not hasattr(refitted, "classifier_")
    same_map(refitted, quick(**SHARED).fit(**LABELLED), X_TEST, Y_TEST)
    plain = {"class_conditional": False, "objective": "semi_dual"}
    refitted.set_params(**plain).fit(X, X_target=Y)
    left = {"classes_", "classifier_", "target_classifier_", "pseudo_label_fraction_"}
    assert not left & vars(refitted).keys()
    same_map(refitted, quick().fit(X, X_target=Y), X_TEST, Y_TEST)


# The shared map.


def test_the_shared_map_needs_no_class_and_learns_where_each_belongs():
    start = start_map(**SHARED).fit(**LABELLED)
    learnt = quick(300, learning_rate_init=1e-2, **SHARED).fit(**LABELLED)
    assert _own_class_rate(start.transform(X_TEST)) < 0.5
    mapped = learnt.transform(X_TEST)
    assert _own_class_rate(mapped) > 0.95
    assert _distance(mapped) < _distance(start.transform(X_TEST)) / 20
    np.testing.assert_array_equal(
        learnt.transform(X_TEST, sample_label=["unread"]), mapped
    )


def test_the_shared_map_starts_at_the_map_of_all_rows():
    start = start_map(**SHARED).fit(**LABELLED)
    same_map(start, start_map(ensemble_size=1).fit(X, X_target=Y), X_TEST, Y_TEST)


def test_several_source_domains_are_one_source():
    """skada's convention: every domain >= 0 is a source, every one < 0 a target."""
    domain = np.r_[np.tile([1, 2], 300), np.repeat([-3, -4], 300)]
    several = by_label().fit(**{**BOTH, "sample_domain": domain})
    same_map(several, by_label().fit(**BOTH), X_TEST, Y_TEST)


def test_a_stream_predicts_classes_that_a_call_has_no_source_rows_of():
    X, Y, y = crossing_classes(90)
    transport = quick(class_conditional="shared", objective="mmd", max_iter=3)
    transport.partial_fit(X, y, X_target=Y, y_target=y)
    known = hidden(y, 5)
    transport.partial_fit(X[y > 0], y[y > 0], X_target=Y, y_target=known)
    assert transport.pseudo_label_fraction_ == np.mean(known == -1)
    assert np.isfinite(transport.transform(X)).all()
