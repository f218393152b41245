"""Class labels: their types, missing ones, pseudo-labels, and bad input."""

import numpy as np
import pytest
from fits import crossing_classes, hidden, quick, refused, same_map
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from sk_ncf._classes.classifiers import new_classifier
from sk_ncf._classes.labels import encode_labels
from sk_ncf._classes.pseudo_labels import predict_pseudo_labels
from sk_ncf._inputs.labels import checked_labels

pandas = pytest.importorskip("pandas")

X, Y, y = crossing_classes(120, n_classes=2)
FEW = hidden(y, 4)
GIVEN = {"X": X, "y": y, "X_target": Y, "y_target": FEW}


def by_label(**params):
    return quick(class_conditional="per_class", **params)


def _replaced(*values):
    """Codes 0, 1 and -1 (missing) as these values, in an array of objects."""

    def spelling(codes):
        out = np.empty(len(codes), dtype=object)
        for code, value in zip((0, 1, -1), values, strict=True):
            out[codes == code] = [value] * (codes == code).sum()
        return out

    return spelling


# Ways to write the classes 0 and 1, and -1 for a label that is missing.
SPELLINGS = {
    "strings, None": _replaced("cat", "dog", None),
    "strings, NaN": _replaced("cat", "dog", np.nan),
    "strings, -1": _replaced("cat", "dog", -1),
    "strings in a list": lambda codes: list(_replaced("cat", "dog", np.nan)(codes)),
    "booleans, None": _replaced(False, True, None),
    "booleans, -1": _replaced(False, True, -1),
    "booleans": lambda codes: codes == 1 if (codes >= 0).all() else codes,
    "integers": lambda codes: np.where(codes == -1, -1, codes + 5),
    "unsigned bytes": lambda codes: (
        codes.astype(np.uint8) if codes.min() == 0 else codes
    ),
    "floats, NaN": _replaced(0.0, 1.0, np.nan),
    "float32, NaN": lambda codes: np.where(codes < 0, np.nan, codes).astype("f"),
    "a column": lambda codes: codes[:, None],
    "a list": lambda codes: codes.tolist(),
    "a Series": lambda codes: pandas.Series(codes, index=np.arange(len(codes)) + 9),
    "Int64, NA": lambda codes: pandas.array(_replaced(0, 1, None)(codes), "Int64"),
    "a categorical": lambda codes: pandas.Categorical.from_codes(codes, ["cat", "dog"]),
    "a Series of categories": lambda codes: pandas.Series(
        pandas.Categorical.from_codes(codes, ["cat", "dog"])
    ),
    "a Series of strings": lambda codes: pandas.Series(
        _replaced("cat", "dog", pandas.NA)(codes), dtype="string"
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_labels_of_any_kind_are_read_alike(name):
    spelling = SPELLINGS[name]
    labels = checked_labels("y", spelling(FEW), len(FEW))
    assert [label is None for label in labels] == (FEW == -1).tolist()
    classes = np.unique([label for label in labels if label is not None])
    np.testing.assert_array_equal(encode_labels("y", labels, classes), FEW)


@pytest.fixture(scope="module")
def fitted():
    return by_label().fit(**GIVEN)


@pytest.mark.parametrize("name", SPELLINGS)
def test_labels_of_any_kind_give_the_same_map(name, fitted):
    spelling = SPELLINGS[name]
    transport = by_label().fit(X, spelling(y), X_target=Y, y_target=spelling(FEW))
    same_map(transport, fitted, X, Y)
    mapped = transport.transform(X, sample_label=spelling(y))
    np.testing.assert_allclose(mapped, fitted.transform(X, sample_label=y))


@pytest.mark.filterwarnings("ignore:y and y_target are not used")
def test_labels_are_unread_without_classes():
    plain = quick().fit(X, X_target=Y)
    ragged = [[1], [2, 3]]
    for garbage in (y + 0.5, ["x"] * 3, np.full(9, np.nan), 7, object(), ragged):
        transport = quick().fit(X, garbage, X_target=Y, y_target=garbage)
        same_map(transport, plain, X, Y)
        mapped = transport.transform(X, sample_label=garbage)
        np.testing.assert_array_equal(mapped, plain.transform(X))
        assert transport.score(X, garbage) == plain.score(X)
        assert not hasattr(transport, "classes_")


# Pseudo-labels and their accuracy.


def test_fraction_and_accuracy_of_pseudo_labels_are_reported(fitted):
    assert fitted.pseudo_label_fraction_ == (FEW == -1).mean()
    assert fitted.pseudo_label_accuracy_ == 1
    predicted = fitted.classes_[fitted.target_classifier_.predict(Y)]
    np.testing.assert_array_equal(predicted, y)


def test_there_are_no_pseudo_labels_if_every_row_is_labelled():
    transport = by_label().fit(X, y, X_target=Y, y_target=y)
    assert transport.pseudo_label_fraction_ == 0
    assert transport.pseudo_label_accuracy_ == 1


def test_true_labels_of_unlabelled_rows_have_no_effect(fitted):
    rng = np.random.default_rng(0)
    known = FEW != -1
    truth = np.where(known, y, rng.permutation(y))
    assert (truth != y).any()
    masked = {**GIVEN, "y_target": np.where(known, truth, -1)}
    same_map(by_label().fit(**masked), fitted, X, Y)


def test_accuracy_of_pseudo_labels_is_that_on_the_hidden_labels():
    """Of classes that overlap, in a binomial's three standard deviations."""
    rng, of = np.random.default_rng(0), np.arange(600) % 2
    rows = rng.standard_normal((600, 2)) + of[:, None]
    codes = hidden(of, 100)
    predicted = predict_pseudo_labels(
        LogisticRegression(), rows[::-1], of[::-1], rows, codes
    )
    unknown = codes == -1
    truth = (predicted.codes == of)[unknown].mean()
    assert truth < 0.85
    noise = np.sqrt(truth * (1 - truth) * (1 / 200 + 1 / unknown.sum()))
    assert abs(predicted.accuracy - truth) < 3 * noise
    np.testing.assert_array_equal(predicted.codes[~unknown], of[~unknown])


def test_accuracy_is_that_of_chance_for_random_labels():
    rng = np.random.default_rng(0)
    codes = np.where(np.arange(120) < 100, rng.integers(0, 2, 120), -1)
    predicted = predict_pseudo_labels(None, X, y, Y, codes)
    assert abs(predicted.accuracy - 0.5) < 3 * np.sqrt(0.25 / 100)


@pytest.mark.parametrize("classifier", [None, KNeighborsClassifier(1)])
def test_one_label_of_a_class_is_enough_for_its_cluster(classifier):
    codes = hidden(y, 1)
    transport = by_label(classifier=classifier)
    transport.fit(X, y, X_target=Y, y_target=codes)
    assert np.isnan(transport.pseudo_label_accuracy_)
    predicted = transport.target_classifier_.predict(Y)
    assert (predicted == y).mean() > 0.95


def test_source_rows_are_used_if_the_domains_agree_and_not_if_classes_cross():
    rng, of = np.random.default_rng(0), np.arange(300) % 3
    centre = np.array([[0, 0], [2, 0], [0, 2]])[of]
    draw = lambda: centre + rng.standard_normal((300, 2))
    source, target = draw(), draw()
    assert predict_pseudo_labels(None, source, of, target, hidden(of, 3)).uses_source
    assert not predict_pseudo_labels(None, X, y, Y, hidden(y, 3)).uses_source
    assert not predict_pseudo_labels(None, X, y, Y, hidden(y, 1)).uses_source


def test_correct_pseudo_labels_give_the_map_of_the_true_labels():
    codes = hidden(y, 12)
    few = codes != -1
    alone = by_label().fit(X, y, X_target=Y[few], y_target=y[few])
    predicted = by_label().fit(X, y, X_target=Y, y_target=codes)
    known = by_label().fit(X, y, X_target=Y, y_target=y)
    mapped = [t.transform(X, sample_label=y) for t in (alone, predicted, known)]
    np.testing.assert_allclose(mapped[1], mapped[2])
    assert np.abs(mapped[0] - mapped[2]).max() > 0.1


def test_the_default_classifier_follows_the_number_of_rows_and_classes():
    assert isinstance(new_classifier(None, 20_000, 2), SVC)
    assert isinstance(new_classifier(None, 20_001, 2), HistGradientBoostingClassifier)
    assert isinstance(new_classifier(SVC(), 10, 1), DummyClassifier)
    given = LogisticRegression(C=3)
    clone = new_classifier(given, 10, 2)
    assert clone is not given
    assert clone.C == 3


def test_dual_lower_bound_starts_from_the_potentials_of_the_given_classes(fitted):
    predicted = fitted.dual_lower_bound(X, X_target=Y)
    assert fitted.dual_lower_bound(X, X_target=Y, y=y, y_target=y) == predicted
    cost = cdist(X, Y, "sqeuclidean") / 2
    exact = cost[linear_sum_assignment(cost)].mean()
    for labels in ({"y": 1 - y}, {"y": 0, "y_target": 1}, {"y": FEW}):
        bound = fitted.dual_lower_bound(X, X_target=Y, **labels)
        assert bound <= exact * (1 + 1e-9)
        assert (bound == predicted) == (labels.get("y") is FEW)
    for name in ("y", "y_target"):
        message = f"{name} must be among the classes of the fit"
        rows = {"X": X, "X_target": Y, name: y + 5}
        refused(fitted, "dual_lower_bound", rows, message)


# Bad input.


def _changed(labels, *values):
    return np.array([*values, *labels[len(values) :]], dtype=object)


# Arguments of a fit, and what the message must say.
LABELS = {
    "no y": ({"y": None}, "requires y to be passed, but the target y is None"),
    "missing in y": (
        {"y": _changed(y, -1, None, np.nan)},
        r"y has 3 missing labels .* class of every source row",
    ),
    "length of y": ({"y": y[:-1]}, r"y must have shape \(120,\), got \(119,\)"),
    "length of y_target": ({"y_target": y[1:]}, r"y_target must have shape \(120,\)"),
    "y a number": ({"y": 1}, r"y must have shape \(120,\), got 1"),
    "two columns": ({"y": np.c_[y, y, y]}, r"y must have shape \(120,\), .*120, 3"),
    "class in the source only": (
        {"y": _changed(y, 7, 8)},
        r"Only in the source \(y\): \[7, 8\]; only in the target \(y_target\): \[\]",
    ),
    "class in the target only": (
        {"y_target": _changed(y, 9)},
        r"source \(y\): \[\]; only in the target \(y_target\): \[9\]",
    ),
    "numbers and words": (
        {"y_target": _changed(y, "cow")},
        "y_target must hold labels of one kind, got .*'number', 'string'",
    ),
    "other classes": (
        {"y_target": np.array(["cat", "dog"])[y]},
        r"source \(y\): \[0, 1\]; .*\(y_target\): \['cat', 'dog'\]",
    ),
    "dates": (
        {"y": (y + 2020).astype("M8[Y]")},
        "y must hold integers, strings or booleans, got datetime",
    ),
    "lists": ({"y": [[1], *[[1, 2]] * 119]}, "y must hold integers, .*got \\[1\\]"),
    "continuous y": (
        {"y": y + 0.5},
        "y must hold class labels, got continuous .*KBins",
    ),
    "continuous y_target": ({"y_target": y / 3}, "y_target must hold class labels"),
    "y_target without target": (
        {"X_target": None},
        "y_target holds the labels of the rows of X_target, which is None",
    ),
    "target rows as y": ({"y": Y, "X_target": None}, "pass X_target="),
    "missing where the target is a distribution": (
        {"X_target": None, "y_target": None, "y": _changed(y, -1)},
        "y has 1 missing labels .* source rows",
    ),
}


@pytest.mark.parametrize("case", LABELS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
def test_errors_mention_the_labels_and_leave_the_estimator_as_it_was(case, method):
    changed, message = LABELS[case]
    refused(by_label(), method, {**GIVEN, **changed}, message)


def test_missing_labels_are_refused_if_the_source_is_a_distribution():
    message = "y has 1 missing labels .* class of every target row"
    estimator = by_label(default_domain="target")
    refused(estimator, "fit", {"X": X, "y": _changed(y, -1)}, message)


def test_a_fit_that_fails_keeps_the_one_before(fitted):
    mapped = fitted.transform(X)
    refused(fitted, "fit", {**GIVEN, "y": y + 3}, r"source \(y\): \[3, 4\]")
    np.testing.assert_array_equal(fitted.transform(X), mapped)


def test_a_shared_map_needs_the_mmd_objective():
    message = (
        "class_conditional='shared' needs objective='mmd', got objective='semi_dual'"
    )
    refused(quick(class_conditional="shared"), "fit", GIVEN, message)


@pytest.mark.parametrize("value", ["both", 2, None])
def test_other_options_of_class_conditional_are_refused(value):
    message = f"'class_conditional' .* Got {value!r}"
    refused(quick(class_conditional=value), "fit", GIVEN, message)


@pytest.mark.parametrize("value", ["svc", SVC, 2])
def test_a_classifier_without_fit_is_refused(value):
    refused(by_label(classifier=value), "fit", GIVEN, "^(The 'c|c)lassifier.* must be ")


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_errors_mention_sample_label(method, fitted):
    for label, message in {
        "cow": r"sample_label must be among .*\[0, 1\], got \['cow'\]",
        0.5: "sample_label must hold class labels",
        (0, 1): r"sample_label must have shape \(120,\), got \(2,\)",
        7: r"sample_label must be among .*\[0, 1\], got \[7\]",
    }.items():
        refused(fitted, method, {"X": X, "sample_label": label}, message)
    unknown = _changed(y, 7)
    refused(fitted, method, {"X": X, "sample_label": unknown}, r"got \[7\]")


@pytest.mark.filterwarnings("ignore:y and y_target are not used")
def test_a_stream_keeps_its_classes(fitted):
    refused(
        fitted, "partial_fit", {**GIVEN, "y": y + 1}, r"y must be .*\[0, 1\].*\[2\]"
    )
    other = {**GIVEN, "y_target": y - 1 + 3}
    refused(fitted, "partial_fit", other, r"y_target must be among .* got \[2, 3\]")
    for changed in ({"class_conditional": False}, {"class_conditional": "shared"}):
        stream = by_label().partial_fit(**GIVEN)
        stream.set_params(**changed, objective="mmd")
        refused(stream, "partial_fit", GIVEN, "first call, 'per_class', got")


def test_a_shared_stream_without_labels_predicts_them():
    stream = quick(class_conditional="shared", objective="mmd").partial_fit(**GIVEN)
    stream.partial_fit(**{**GIVEN, "y_target": None})
    assert stream.pseudo_label_fraction_ == 1
