"""A file that is not what was saved is refused, whatever is wrong with it."""

import json
import pickle
import string
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from fits import crossing_classes, hidden, quick, two_samples
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

import sk_ncf
from sk_ncf import ModelFileError
from sk_ncf._persistence import file_format as persistence
from sk_ncf._training import compression

skops_io = pytest.importorskip("skops.io")

X, Y = two_samples()
X_BY, Y_BY, y = crossing_classes(60, 2)


@pytest.fixture(scope="module")
def transport():
    """A fit with all there is: members, classes, classifiers, another cost, NaN."""
    return quick(
        1, cost="pseudo_huber", ensemble_size=2, class_conditional=True, random_state=0
    ).fit(X_BY, y, X_target=Y_BY, y_target=hidden(y, 1))


@pytest.fixture(scope="module")
def saved(transport, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "transport"
    sk_ncf.save(transport, path)
    return path


@pytest.fixture(scope="module")
def simple(tmp_path_factory):
    """A fit that keeps its ensemble."""
    path = tmp_path_factory.mktemp("simple") / "transport"
    random_state = np.random.RandomState(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "LARGEST_DISTANCE", (-1.0, -1.0))
        fitted = quick(1, random_state=random_state).fit(X, X_target=Y)
    sk_ncf.save(fitted, path)
    return path


def refused(path, message):
    with pytest.raises(ModelFileError, match=f"(?s){message}") as raised:
        sk_ncf.load(path)
    assert isinstance(raised.value, ValueError)
    assert str(path) in str(raised.value)


# Damage.


def test_a_file_with_random_damage_is_refused_or_read_as_it_was(
    saved, transport, tmp_path
):
    rng = np.random.default_rng(0)
    whole, path = saved.read_bytes(), tmp_path / "damaged"
    wanted = transport.transform(X_BY, sample_label=y)
    header = 8 + int.from_bytes(whole[:8], "little")
    n_refused = 0
    for trial in range(300):
        data = bytearray(whole)
        end = (len(whole), header, 8)[trial % 3]
        for at in rng.integers(end, size=rng.integers(1, 4)):
            data[at] ^= rng.integers(1, 256)
        if trial % 10 == 9:
            del data[rng.integers(end) :]
        path.write_bytes(data)
        try:
            loaded = sk_ncf.load(path, classifiers=False)
        except ModelFileError:
            n_refused += 1
            continue
        np.testing.assert_array_equal(loaded.transform(X_BY, sample_label=y), wanted)
        assert repr(loaded) == repr(transport)
    assert n_refused > 250


@pytest.mark.parametrize("share", [0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.999999])
def test_a_truncated_file_is_refused(share, saved, tmp_path):
    data, path = saved.read_bytes(), tmp_path / "short"
    path.write_bytes(data[: int(share * len(data))])
    refused(path, "not in the safetensors format, or damaged")


def test_a_file_with_more_behind_it_is_refused(saved, tmp_path):
    path = tmp_path / "long"
    path.write_bytes(saved.read_bytes() + b"more")
    refused(path, "damaged")


def test_a_single_wrong_bit_of_the_weights_is_noticed(saved, tmp_path):
    data, path = bytearray(saved.read_bytes()), tmp_path / "bit"
    data[-1] ^= 1
    path.write_bytes(data)
    refused(path, "damaged: its digest is wrong")


def test_a_parameter_changed_by_hand_is_noticed(saved, tmp_path):
    data, path = saved.read_bytes(), tmp_path / "edited"
    assert data.count(b"pseudo_huber") == 2  # the parameter, and the cost
    path.write_bytes(data.replace(b"pseudo_huber", b"pseudo_hubeR"))
    refused(path, "damaged: its digest is wrong")


# Files of others.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a text\n" * 100,
        pickle.dumps([1, 2]),
        b"\xff" * 64,
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (20_000).to_bytes(8, "little") + b"[" * 20_000,
    ],
    ids=["empty", "text", "pickle", "ones", "huge header", "no header", "nested"],
)
def test_what_is_no_safetensors_file_of_this_package_is_refused(data, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(data)
    refused(path, "safetensors|not written by")


def test_a_header_that_declares_a_huge_array_is_refused(tmp_path):
    array = {"dtype": "F64", "shape": [2**40, 2**10], "data_offsets": [0, 2**53]}
    header = json.dumps({"weights": array}).encode()
    path = tmp_path / "huge"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    refused(path, "safetensors")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_a_safetensors_file_of_others_is_refused(metadata, tmp_path):
    path = tmp_path / "other"
    safetensors.numpy.save_file({"w": np.ones(3)}, path, metadata)
    refused(path, "not written by sk_ncf.save")


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        sk_ncf.load(tmp_path / "nothing")


# Files with a valid digest that hold what no fit has.


def forged(path, source, change, version=persistence.FORMAT_VERSION):
    """Another file like `source`, its state changed and its digest made anew."""
    content, arrays, _ = persistence._read(source)
    change(content, arrays)
    content = json.dumps(content)
    metadata = persistence._metadata(content, arrays, format_version=str(version))
    arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    safetensors.numpy.save_file(arrays, path, metadata)
    return path


@pytest.mark.parametrize("version", [3, 10**6])
def test_a_newer_version_of_the_format_is_refused(version, saved, tmp_path):
    path = forged(tmp_path / "new", saved, lambda c, a: None, version)
    refused(path, f"version {version}.*older sk_ncf.*install a newer one")


def test_an_older_version_of_the_format_is_read(saved, tmp_path, monkeypatch):
    """Its digest is that of the version it states, not of the one that reads it."""
    path = forged(tmp_path / "old", saved, lambda c, a: None, 1)
    monkeypatch.setattr(persistence, "FORMAT_VERSION", 3)
    assert persistence._read(path)[2] == sk_ncf.__version__


@pytest.mark.parametrize("version", [0, -1, "one"])
def test_a_version_that_never_was_is_refused(version, saved, tmp_path):
    refused(forged(tmp_path / "odd", saved, lambda c, a: None, version), "load")


def of(group, key, value):
    """A change of one value of a group."""

    def change(content, arrays):
        pairs = dict(content[group]["dict"])
        content[group] = {"dict": [*{**pairs, key: value}.items()]}

    return change


def _array(name, function):
    return lambda content, arrays: arrays.update({name: function(arrays[name].copy())})


def _with(value, at=0):
    def function(array):
        array.flat[at] = value
        return array

    return function


def _renamed(name):
    return lambda content, arrays: arrays.update({"other": arrays.pop(name)})


def _without(group):
    return lambda content, arrays: content.pop(group)


def _fewer(group):
    """A list without its last part, and the arrays of that part."""

    def change(content, arrays):
        content[group].pop()
        last = f"{group}.{len(content[group])}."
        for name in [name for name in arrays if name.startswith(last)]:
            del arrays[name]

    return change


def _nested(content, arrays):
    value = 1
    for _ in range(400):
        value = {"tuple": [value]}
    of("parameters", "tol", value)(content, arrays)


def _generator_at(place):
    def change(content, arrays):
        (state,) = (v for k, v in content["parameters"]["dict"] if k == "random_state")
        state["random_state"][1] = place

    return change


MATRIX = "preconditioners.0.source.matrix"
FORGERIES = {
    "NaN weight": _array("potential.input_weight", _with(np.nan)),
    "infinite weight": _array("potential.output_weight", _with(np.inf)),
    "wrong width": _array("potential.output_weight", lambda w: w[:, :-1]),
    "wrong features": _array("potential.input_weight", lambda w: w[:, :, 1:]),
    "wrong depth": _array("potential.hidden_weight", lambda w: w[:, :0]),
    "wrong axes": _array("potential.input_weight", lambda w: w[0]),
    "wrong type": _array("potential.input_weight", lambda w: w.astype("f8")),
    "no width": _array("potential.input_weight", lambda w: w[..., :0]),
    "no array": _renamed("potential.input_weight"),
    "array left over": lambda c, a: a.update(more=np.ones(2)),
    "matrix of another shape": _array(MATRIX, lambda m: m[:1]),
    "NaN in a matrix": _array(MATRIX, _with(np.nan)),
    "range upside down": _array("preconditioners.0.source.box", lambda b: b[::-1]),
    "more members": of("potential", "ensemble_size", 10**9),
    "members that are no number": of("potential", "ensemble_size", "2"),
    "more features": of("fitted", "n_features_in_", 10**9),
    "no features": of("fitted", "n_features_in_", None),
    "negative steps": of("fitted", "n_iter_", -1),
    "sharpness NaN": of("potential", "sharpness", {"float": "nan"}),
    "attribute": of("fitted", "__class__", 1),
    "method": of("fitted", "transform", 1),
    "rows to score": _fewer("score_rows"),
    "number out of range": of("parameters", "tol", {"scalar": ["<f4", 1e300]}),
    "rows of other features": _array("score_rows.0.0", lambda rows: rows[:, :1]),
    "steps of no kind": of("fitted", "best_iter_", "all"),
    "reason of no kind": of("fitted", "stop_reason_", 3),
    "history of no kind": of("fitted", "history_", {"history": [3]}),
    "parameter unknown": of("parameters", "threads", 3),
    "parameter out of range": of("parameters", "max_iter", -3),
    "parameter of another type": of("parameters", "cost", ["lp"]),
    "deep nesting": _nested,
    "kind unknown": of("parameters", "tol", {"eval": "1"}),
    "two kinds": of("parameters", "tol", {"float": "nan", "tuple": []}),
    "cost unknown": of("cost", "cost_", {"cost": ["os.system", {"dict": []}]}),
    "cost of another class": of("cost", "cost_", 3),
    "cost out of range": of("cost", "cost_", {"cost": ["lp", {"dict": [["p", 0.5]]}]}),
    "state missing": _without("stream"),
    "group of no kind": lambda c, a: c.update(settings=3),
    "number of rows": of("stream", "n_samples", 1e9),
    "no generator": of("stream", "rng", 7),
    "output": of("settings", "output", {"dict": [["transform", "rm"]]}),
    "request": of("settings", "requests", {"dict": [["x", {"dict": []}]]}),
    "device": of("parameters", "device", {"device": "toaster"}),
    "gigabytes of letters": of(
        "fitted", "words_", {"words": ["U", ["a" * 2**15] + [""] * 2**14]}
    ),
    "key of a generator": _array("parameters.random_state.0", lambda k: k[1:]),
    "place in a generator": _generator_at(10**6),
    "place before a generator": _generator_at(-1),
}
BY_CLASS = {
    "NaN in rows": _array("classes.seen.0.0", _with(np.nan)),
    "class that is not there": _array("classes.seen.0.2", _with(7)),
    "classes twice": _array("classes.classes", _with(1)),
    "too few classes": _array("classes.classes", lambda k: k[:1]),
    "no classes": _array("classes.classes", lambda k: k[:0]),
    "scale": _array("preconditioners.1.target.inverse_matrix", _with(-1.0)),
    "zero scale": _array("preconditioners.0.source.inverse_matrix", _with(0.0)),
    "too few maps": _fewer("preconditioners"),
    "share": of("classes", "pseudo_label_fraction", "all"),
    "field": of("classes", "by_class", True),
}


# What the message names, where that is not plain from the value itself.
NAMED = {
    "NaN weight": "input_weight must be finite",
    "infinite weight": "output_weight must be finite",
    "wrong width": r"output_weight must be numbers of shape \(4, 16, 1\)",
    "wrong depth": r"hidden_weight must be numbers of shape \(4, 1, 16, 16\)",
    "matrix of another shape": r"matrix .* shape \(2, 2\), got shape \(1, 2\)",
    "range upside down": "the range of the rows ends before it starts",
    "more members": "4 potentials for 1 maps of 1000000000",
    "more features": "1000000000",
    "array left over": "it has unused arrays",
    "parameter out of range": "max_iter.*-3",
    "cost out of range": "p of Lp must be > 1, got 0.5",
    "gigabytes of letters": "gigabytes",
    "place in a generator": "random generator is out of range",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_file_with_a_digest_and_values_of_no_fit_is_refused(
    forgery, simple, tmp_path
):
    path = forged(tmp_path / "forged", simple, FORGERIES[forgery])
    refused(path, NAMED.get(forgery, "cannot be loaded"))


@pytest.mark.parametrize("forgery", BY_CLASS)
def test_a_file_with_impossible_classes_is_refused(forgery, saved, tmp_path):
    refused(forged(tmp_path / "forged", saved, BY_CLASS[forgery]), "cannot be loaded")


def _classifier(blob):
    blob = np.frombuffer(blob, dtype=np.uint8)
    return lambda content, arrays: arrays.update({"classes.classifier": blob})


CLASSIFIERS = {
    "trust.*Tree": lambda: skops_io.dumps(RandomForestClassifier(1).fit(X_BY, y)),
    "trust.*Template": lambda: skops_io.dumps(string.Template("x")),
    "compressed": lambda: skops_io.dumps(SVC(), compression=zipfile.ZIP_DEFLATED),
    "skops cannot read": lambda: b"no archive",
    "not one of 2 features": lambda: skops_io.dumps(SVC().fit(X_BY[:, :1], y)),
    "classifier is not one": lambda: skops_io.dumps([1, 2]),
}


@pytest.mark.parametrize("message", CLASSIFIERS)
def test_a_classifier_that_skops_does_not_trust_is_refused(message, saved, tmp_path):
    change = _classifier(CLASSIFIERS[message]())
    refused(forged(tmp_path / "forged", saved, change), message)
