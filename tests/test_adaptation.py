"""AdaptedClassifier: accuracy on known shifts, the guard, conventions, bad input."""

import pickle

import numpy as np
import pytest
import sklearn
from fits import hidden, quick, refused
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from sk_ncf import AdaptedClassifier, NCFTransport
from sk_ncf._classes.gaussian_maps import map_all_rows
from sk_ncf._classes.pooling import PooledSample
from sk_ncf._classes.pseudo_label_rounds import training_rows
from sk_ncf._classes.weighted_fit import CodeFitter

pandas = pytest.importorskip("pandas")


def shifted_classes(n=400, n_target=450, seed=0, proportions=None, turn=0.5, shift=2.5):
    """(X, y, X_target, y_target): three classes of normal rows, each shifted elsewhere.

    They turn around the origin and shift: no single shift undoes it.
    """
    rng, angle = np.random.default_rng(seed), 2 * np.pi * np.arange(3) / 3
    y, y_target = rng.choice(3, n), rng.choice(3, n_target, p=proportions)
    centre = 6 * np.c_[np.cos(angle), np.sin(angle)]
    moved = 5 * np.c_[np.cos(angle + turn), np.sin(angle + turn)] + shift
    X = centre[y] + rng.standard_normal((n, 2))
    return X, y, moved[y_target] + 0.7 * rng.standard_normal((n_target, 2)), y_target


X, y, X_target, y_target = shifted_classes()
GIVEN = {"X": X, "y": y, "X_target": X_target}
# A shift that is small against the distance of the classes, two of which have target rows.
NEAR = shifted_classes(turn=0.3, shift=1.0, proportions=[0.5, 0.5, 0])


def logistic(**params):
    return AdaptedClassifier(LogisticRegression(), **{"random_state": 0, **params})


# Accuracy.


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        SVC(),
        KNeighborsClassifier(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        DecisionTreeClassifier(random_state=0),
        RidgeClassifier(),
        NearestCentroid(),
    ],
    ids=lambda c: type(c).__name__,
)
def test_shifts_that_differ_by_class_are_undone_without_a_target_label(classifier):
    rows = shifted_classes(seed=1, turn=0.6, shift=3.0)
    plain = clone(classifier).fit(*rows[:2]).score(*rows[2:])
    adapted = AdaptedClassifier(classifier, random_state=0)
    adapted.fit(*rows[:2], X_target=rows[2])
    assert plain < 0.8
    assert adapted.score(*rows[2:]) > 0.95
    assert adapted.adapted_ == "class_maps"
    assert (adapted.target_labels_ == rows[3]).mean() > 0.95


def test_other_proportions_of_the_classes_do_no_harm():
    rows = shifted_classes(proportions=[0.85, 0.1, 0.05], turn=0.9, shift=0)
    model = logistic().fit(*rows[:2], X_target=rows[2])
    assert model.score(*rows[2:]) > 0.99
    # A map of all rows has to map some to another class.
    mapped = map_all_rows(rows[0], rows[2])
    unconditional = LogisticRegression().fit(mapped, rows[1])
    assert unconditional.score(*rows[2:]) < 0.9


@pytest.mark.parametrize(("d", "distance"), [(2, 4), (10, 1)])
def test_a_target_far_away_is_reached_by_a_linear_classifier(d, distance):
    """It cannot learn the source and rows mapped there together."""
    rng = np.random.default_rng(0)
    of, of_target = np.arange(1000) % 2, np.arange(1050) % 2
    draw = lambda y: rng.standard_normal((len(y), d)) + distance * y[:, None]
    source, target = draw(of), 1.5 * draw(of_target) + 20
    model = logistic().fit(source, of, X_target=target)
    best = LogisticRegression().fit(target, of_target).score(target, of_target)
    assert model.score(target, of_target) > best - 0.05


@pytest.mark.parametrize("classifier", [LogisticRegression(), SVC()])
def test_nothing_is_lost_between_samples_of_one_distribution(classifier):
    """But for three standard errors of the accuracy."""
    rng, of = np.random.default_rng(0), np.arange(1200) % 2
    rows = rng.standard_normal((1200, 3)) + 1.2 * of[:, None]
    (source, target, test), codes = np.split(rows, 3), of[:400]
    plain = clone(classifier).fit(source, codes).score(test, codes)
    adapted = AdaptedClassifier(classifier, random_state=0)
    adapted.fit(source, codes, X_target=target)
    assert adapted.score(test, codes) > plain - 3 * np.sqrt(
        2 * plain * (1 - plain) / 400
    )


def test_with_all_target_labels_it_is_as_good_as_a_supervised_classifier():
    """But for three standard errors, though source classes are in other places."""
    rng, of = np.random.default_rng(0), np.arange(900) % 3
    centre = np.array([[0, 0], [2, 0], [0, 2]])
    target = centre[of] + rng.standard_normal((900, 2))
    source = centre[(of + 1) % 3] + rng.standard_normal((900, 2))
    supervised = LogisticRegression().fit(target[:600], of[:600])
    model = logistic().fit(source, of, X_target=target[:600], y_target=of[:600])
    best = supervised.score(target[600:], of[600:])
    error = np.sqrt(best * (1 - best) / 300)
    assert model.score(target[600:], of[600:]) > best - 3 * error
    assert model.adapted_ == "target_labels"
    np.testing.assert_array_equal(model.target_labels_, of[:600])


def test_labels_help_if_the_classes_change_their_places():
    few = hidden(y_target, 5)
    swapped = (y + 1) % 3
    blind = logistic().fit(X, swapped, X_target=X_target)
    model = logistic().fit(X, swapped, X_target=X_target, y_target=few)
    assert model.score(X_target, y_target) > 0.95 > blind.score(X_target, y_target)
    assert (model.target_labels_[few >= 0] == few[few >= 0]).all()


def test_a_class_that_no_target_row_has_is_no_obstacle():
    model = logistic().fit(*NEAR[:2], X_target=NEAR[2])
    assert model.score(*NEAR[2:]) > 0.99
    assert model.predict_proba(NEAR[2]).shape == (450, 3)


# The guard.


def test_a_map_that_labels_refute_is_not_used():
    """A target with the same classes, where the plain classifier is right."""
    rng = np.random.default_rng(0)
    of = np.arange(300) % 2
    source = rng.standard_normal((300, 2)) + np.c_[4 * of, 0 * of]
    # One target cluster has both classes, parted by the second feature of the source.
    of_target = (rng.random(300) < 0.9).astype(int)
    target = rng.standard_normal((300, 2)) + np.c_[4 * of_target, 0 * of_target]
    model = logistic().fit(source, of, X_target=target, y_target=of_target)
    plain = LogisticRegression().fit(source, of)
    assert model.score(target, of_target) >= plain.score(target, of_target) - 0.01


def test_without_the_guard_the_map_is_always_used():
    model = logistic(guard=False).fit(**GIVEN)
    assert model.adapted_ == "class_maps"
    assert model.diagnostics_.decided_by == "user"


def test_diagnostics_tell_what_the_choice_rests_on():
    found = logistic().fit(**GIVEN).diagnostics_
    assert found.choice == "class_maps"
    assert found.decided_by == "predictions"
    assert found.n_rounds >= 1
    assert found.agreement == 1
    assert found.label_accuracy == {}
    labelled = logistic().fit(**GIVEN, y_target=hidden(y_target, 5)).diagnostics_
    assert labelled.label_accuracy["class_maps"] == 1
    assert labelled.label_accuracy.keys() == {"none", "class_maps", "target_labels"}


# The transport.


def test_a_trained_transport_is_fitted_to_the_pseudo_labels():
    transport = quick(class_conditional=True)
    model = logistic(transport=transport).fit(**GIVEN)
    assert model.adapted_ == "transport"
    assert model.score(X_target, y_target) > 0.95
    by_hand = quick(class_conditional=True)
    by_hand.fit(X, y, X_target=X_target, y_target=model.target_labels_)
    np.testing.assert_allclose(
        model.transport_.transform(X, sample_label=y),
        by_hand.transform(X, sample_label=y),
    )
    assert not hasattr(transport, "flow_")


class Standing:
    """A transport that maps nothing."""

    def get_params(self, deep=True):
        return {}

    def fit_transform(self, X, y=None, *, X_target=None, y_target=None):
        return X


class Losing(Standing):
    """A transport that loses rows."""

    def fit_transform(self, X, y=None, *, X_target=None, y_target=None):
        return X[1:]


def test_a_transport_that_maps_nothing_leaves_the_plain_classifier_and_warns():
    with pytest.warns(UserWarning, match="transport=.*Standing.* as they were"):
        model = logistic(transport=Standing()).fit(**GIVEN)
    assert model.adapted_ == "none"
    plain = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(model.predict(X_target), plain.predict(X_target))


def test_a_class_that_nobody_predicts_is_left_out_of_the_transport():
    model = logistic(transport=quick(class_conditional=True))
    model.fit(*NEAR[:2], X_target=NEAR[2])
    assert model.transport_.classes_.tolist() == [0, 1]
    assert model.classes_.tolist() == [0, 1, 2]


# Conventions.


def test_both_domains_in_one_array_are_the_same_as_two():
    two = logistic().fit(**GIVEN, y_target=hidden(y_target, 4))
    for missing in (-1, None, np.nan):
        labels = np.r_[y, hidden(y_target, 4)].astype(object)
        labels[labels == -1] = missing
        one = logistic().fit(
            np.r_[X, X_target],
            labels,
            sample_domain=np.repeat([1, -2], [len(X), len(X_target)]),
        )
        np.testing.assert_array_equal(one.target_labels_, two.target_labels_)
        probabilities = one.predict_proba(X_target)
        np.testing.assert_allclose(probabilities, two.predict_proba(X_target))


def test_several_sources_are_one():
    domain = np.r_[np.arange(len(X)) % 3, np.full(len(X_target), -1)]
    labels = np.r_[y, np.full(len(X_target), -1)]
    one = logistic().fit(np.r_[X, X_target], labels, sample_domain=domain)
    same = logistic().fit(**GIVEN)
    np.testing.assert_allclose(
        one.predict_proba(X_target), same.predict_proba(X_target)
    )


def test_labels_of_any_kind_are_predicted_as_they_were_given():
    names = np.array(["cat", "dog", "cow"])
    model = logistic().fit(X, names[y], X_target=X_target)
    assert model.classes_.tolist() == ["cat", "cow", "dog"]
    assert (model.predict(X_target) == names[y_target]).mean() > 0.99
    few = np.array([None if k < 0 else names[k] for k in hidden(y_target, 2)])
    labelled = logistic().fit(X, names[y], X_target=X_target, y_target=few)
    assert labelled.score(X_target, names[y_target]) > 0.99


def test_without_target_rows_it_is_the_classifier_itself():
    model, plain = logistic().fit(X, y), LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert model.adapted_ == "none"
    with pytest.warns(UserWarning, match="no target rows: sample_domain"):
        model.fit(X, y, sample_domain=1)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


def test_classes_minus_one_and_one_are_classes_if_there_is_no_target():
    model = logistic().fit(X, np.where(y > 0, 1, -1))
    assert model.classes_.tolist() == [-1, 1]


def test_methods_are_those_of_the_classifier():
    has = lambda model, *names: [hasattr(model, name) for name in names]
    names = "predict_proba", "predict_log_proba", "decision_function"
    assert has(AdaptedClassifier(KNeighborsClassifier()), *names) == [1, 0, 0]
    assert has(AdaptedClassifier(SVC()), *names) == [0, 0, 1]
    model = logistic().fit(**GIVEN)
    assert has(model, *names) == [1, 1, 1]
    rows = X_target[:5]
    assert model.decision_function(rows).shape == (5, 3)
    logarithm = np.log(model.predict_proba(rows))
    np.testing.assert_allclose(model.predict_log_proba(rows), logarithm)


def test_frames_keep_their_names():
    names = ["length", "depth"]
    source, target = (pandas.DataFrame(Z, columns=names) for Z in (X, X_target))
    model = logistic().fit(source, pandas.Series(y), X_target=target)
    assert model.feature_names_in_.tolist() == names
    same = logistic().fit(**GIVEN)
    np.testing.assert_array_equal(model.predict(target), same.predict(X_target))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(target[names[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        logistic().fit(source, y, X_target=target[names[::-1]])


def test_clones_pickles_and_parameters_of_the_classifier():
    model = logistic().fit(**GIVEN)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X_target), model.predict(X_target))
    unfitted = clone(model).set_params(estimator__C=1e-3, guard=False)
    assert not hasattr(unfitted, "classes_")
    assert unfitted.fit(**GIVEN).estimator_.C == 1e-3
    nested = logistic(transport=NCFTransport()).set_params(transport__cost="elastic")
    assert nested.transport.cost == "elastic"


@pytest.mark.parametrize("routed", [False, True], ids=["unrouted", "routed"])
def test_it_is_searched_and_a_step_of_a_pipeline(routed):
    with sklearn.config_context(enable_metadata_routing=routed):
        grid = {"estimator__C": [1e-6, 1.0]}
        search = GridSearchCV(logistic(), grid, cv=2, error_score="raise")
        search.fit(X, y, X_target=X_target)
        assert search.score(X_target, y_target) > 0.95
        pipeline = make_pipeline(PCA(2), logistic())
        name = "X_target" if routed else "adaptedclassifier__X_target"
        rotated = PCA(2).fit(X).transform(X_target)
        pipeline.fit(X, y, **{name: rotated})
        assert pipeline.score(X_target, y_target) > 0.95


def test_a_weight_of_two_is_a_row_given_twice():
    weight = 1.0 + (np.arange(len(X)) % 3 == 0)
    twice = np.repeat(np.arange(len(X)), weight.astype(int))
    for classifier in (LogisticRegression(tol=1e-9), KNeighborsClassifier()):
        model = AdaptedClassifier(classifier, random_state=0)
        by_weight = clone(model).fit(**GIVEN, sample_weight=weight)
        by_rows = clone(model).fit(X[twice], y[twice], X_target=X_target)
        probabilities = by_weight.predict_proba(X_target)
        np.testing.assert_allclose(
            probabilities, by_rows.predict_proba(X_target), atol=1e-4
        )


def test_a_class_of_weight_zero_is_no_class():
    weight = (y < 2).astype(float)
    adapted = logistic().fit(**GIVEN, sample_weight=weight)
    assert adapted.classes_.tolist() == adapted.estimator_.classes_.tolist() == [0, 1]
    assert adapted.predict_proba(X_target).shape == (len(X_target), 2)


def test_rows_of_weight_zero_have_no_effect():
    weight = np.r_[np.ones(len(X)), np.zeros(3)]
    rows, labels = np.r_[X, np.full((3, 2), 1e6)], np.r_[y, [0, 1, 2]]
    weighted = logistic().fit(rows, labels, X_target=X_target, sample_weight=weight)
    plain = logistic().fit(**GIVEN)
    np.testing.assert_allclose(
        weighted.predict_proba(X_target), plain.predict_proba(X_target)
    )


def test_results_depend_on_random_state_only_and_no_generator_is_touched():
    rows = shifted_classes(n=3000)
    before = np.random.get_state()[1].copy()
    fits = [
        logistic(random_state=seed).fit(*rows[:2], X_target=rows[2]) for seed in (0, 0)
    ]
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    first, second = (model.decision_function(rows[2]) for model in fits)
    np.testing.assert_array_equal(first, second)


def test_labels_weigh_more_in_classifiers_that_take_weights():
    classes = np.arange(3)
    pipeline = make_pipeline(StandardScaler(), SVC())
    for classifier, most in (
        (SVC(), 10),
        (pipeline, 10),
        (KNeighborsClassifier(), 1),
    ):
        assert CodeFitter(classifier, classes).max_label_weight == most
    source = PooledSample(X, np.ones(len(X)), y)
    few = PooledSample(X_target[:5], np.ones(5), y_target[:5])
    many = PooledSample(X_target[:100], np.ones(100), y_target[:100])
    assert training_rows(source, [X, X], few)[2][-1] == 10
    assert training_rows(source, [X, X], many)[2][-1] == 4


# Odd and bad input.


def test_many_classes_and_classes_of_one_row_are_fitted():
    rng = np.random.default_rng(0)
    centre = 50 * rng.standard_normal((200, 3))
    of = np.r_[np.repeat(np.arange(199), 3), 199]
    source = centre[of] + rng.standard_normal((len(of), 3))
    target = centre[of] + rng.standard_normal((len(of), 3)) + [2, 0, 0]
    model = AdaptedClassifier(NearestCentroid(), random_state=0)
    model.fit(source, of, X_target=target)
    assert model.score(target, of) > 0.95


def test_one_target_row_is_enough():
    model = logistic().fit(X, y, X_target=X_target[:1])
    assert model.predict(X_target[:1]).shape == (1,)


def _with(rows, value):
    rows = rows.copy()
    rows[3, 1] = value
    return rows


def _changed(labels, *values):
    return np.array([*values, *labels[len(values) :]], dtype=object)


BAD = {
    "no target rows": (
        {"X_target": X_target[:0]},
        r"0 sample.*X_target|X_target.*0 sa",
    ),
    "no source rows": (
        {"sample_domain": -1},
        "sample_domain must have values >= 0, of source rows, got a maximum of -1",
    ),
    "unknown classes": (
        {"y_target": y_target + 5},
        r"y_target must be among the classes of the fit, \[0, 1, 2\], got \[5, 6, 7\]",
    ),
    "one class": (
        {"y": np.zeros_like(y)},
        r"y must have at least two classes among the source rows, got one class: \[0\]",
    ),
    "continuous y": ({"y": y + 0.5}, "y must hold class labels, got continuous values"),
    "no y": ({"y": None}, "y must hold the class of every source row, got None"),
    "missing in y": (
        {"y": _changed(y, -1, None)},
        "y must hold the class of every source row, got 2 missing labels",
    ),
    "y_target alone": (
        {"X_target": None, "y_target": y_target},
        "y_target holds the labels of the rows of X_target, which is None",
    ),
    "NaN in the target": ({"X_target": _with(X_target, np.nan)}, "X_target.*NaN"),
    "NaN in the source": ({"X": _with(X, np.nan)}, "X.*NaN"),
    "other columns": ({"X_target": X_target[:, :1]}, "X_target has 1 feature"),
    "length of y": ({"y": y[1:]}, r"y must have shape \(400,\), got \(399,\)"),
    "length of y_target": ({"y_target": y}, r"y_target must have shape \(450,\)"),
    "target rows as y": ({"y": X_target}, "pass X_target="),
    "negative weights": (
        {"sample_weight": -np.ones(400)},
        "sample_weight must be >= 0",
    ),
    "domains": (
        {"sample_domain": np.full(400, 0.5j)},
        "sample_domain must be integers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_argument_what_was_given_and_what_is_wanted(case):
    changed, message = BAD[case]
    with pytest.raises((ValueError, TypeError), match=message):
        logistic().fit(**{**GIVEN, **changed})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimator": "SVC"}, "'estimator' parameter .* must be an object impl"),
        ({"estimator": SVC}, "estimator must be an instance, got the class"),
        ({"guard": "yes"}, "'guard' parameter"),
        ({"transport": SVC()}, "'transport' parameter"),
        (
            {"transport": StandardScaler()},
            r"transport must have fit_transform\(X, y, X_target=.*got StandardScaler",
        ),
        (
            {"transport": Losing()},
            r"transport must map the source rows to finite rows of shape \(400, 2\), got "
            r"shape \(399, 2\)",
        ),
    ],
)
def test_errors_name_the_parameter(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        logistic().set_params(**params).fit(**GIVEN)


def test_weights_that_are_no_counts_need_a_classifier_that_takes_them():
    model = AdaptedClassifier(KNeighborsClassifier(), random_state=0)
    with pytest.raises(ValueError, match="sample_weight must hold whole numbers"):
        model.fit(**GIVEN, sample_weight=np.full(400, 0.5) + np.arange(400) / 400)


# NCFTransport without any target label uses the same rounds.


def test_class_maps_are_fitted_without_any_target_label():
    transport = quick(class_conditional=True)
    transport.fit(X, y, X_target=X_target, y_target=np.full(len(X_target), -1))
    assert transport.pseudo_label_fraction_ == 1
    assert np.isnan(transport.pseudo_label_accuracy_)
    known = quick(class_conditional=True)
    known.fit(X, y, X_target=X_target, y_target=y_target)
    mapped = transport.transform(X, sample_label=y)
    np.testing.assert_allclose(mapped, known.transform(X, sample_label=y))
    assert LogisticRegression().fit(mapped, y).score(X_target, y_target) > 0.99


def test_class_maps_without_labels_in_a_single_array():
    labels = np.r_[y, np.full(len(X_target), -1)]
    transport = quick(class_conditional=True, default_domain="target")
    rows, domain = np.r_[X, X_target], np.repeat([1, -2], [len(X), len(X_target)])
    moved = transport.fit_transform(rows, labels, sample_domain=domain)
    model = LogisticRegression().fit(moved[: len(X)], y)
    assert model.score(X_target, y_target) > 0.99


@pytest.mark.filterwarnings("ignore:The fit returns")
def test_a_class_that_nobody_predicts_has_the_mean_shift_of_the_others():
    X, y = NEAR[:2]
    transport = quick(class_conditional=True)
    with pytest.warns(UserWarning, match=r"of these classes.*\[2\]"):
        transport.fit(X, y, X_target=NEAR[2])
    assert transport.classes_.tolist() == [0, 1, 2]
    moved = transport.transform(X, sample_label=y) - X
    shifts = [moved[y == k].mean(axis=0) for k in range(3)]
    sizes = np.bincount(NEAR[3]) / len(NEAR[3])
    np.testing.assert_allclose(shifts[2], sizes @ shifts[:2], atol=0.2)


def test_bad_labels_are_still_refused():
    arguments = {**GIVEN, "y_target": _changed(np.full(len(X_target), -1), 7)}
    refused(quick(class_conditional=True), "fit", arguments, "Only in the source")
