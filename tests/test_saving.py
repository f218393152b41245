"""A fit that is saved and loaded is the same fit, whichever way it was saved."""

import copy
import functools
import json
import os
import pickle
import random
import warnings
from dataclasses import is_dataclass

import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import sklearn
import torch
from fits import (
    COSTS,
    MATRIX_2D,
    crossing_classes,
    hidden,
    problem,
    quick,
    two_samples,
)
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from skorch.callbacks import LRScheduler

import sk_ncf
from sk_ncf import AdaptedClassifier, Lp, NCFTransport, QuadraticForm, estimator
from sk_ncf._persistence import file_format as files
from sk_ncf._training.net import NCFNet

pytest.importorskip("skops")

X, Y = two_samples()
X_BY, Y_BY, y = crossing_classes(120)
FRAME = pd.DataFrame(X, columns=["a", "b"])


def _plain(X=X, Y=Y, stream=False, **params):
    transport = quick(2, **params)
    return (transport.partial_fit if stream else transport.fit)(X, X_target=Y)


def _labelled(y=y, n_known=3, **params):
    known = hidden(y, n_known, missing=None)
    transport = quick(2, **{"class_conditional": "per_class", **params})
    return transport.fit(X_BY, y, X_target=Y_BY, y_target=known)


def _framed():
    transport = quick(2).set_output(transform="pandas")
    with sklearn.config_context(enable_metadata_routing=True):
        transport.set_score_request(X_target="Y").set_fit_request(y_target=False)
    return transport.fit(FRAME, X_target=FRAME + 1)


WORDS = np.array(["\N{SNOWMAN}", "two words", ""])[y]
SHARED = {"class_conditional": "shared", "objective": "mmd"}
PSEUDO_HUBER = {"cost": "pseudo_huber", "cost_params": {"delta": 2.0}}
FITS = {
    f"{cost}-{n}": functools.partial(
        _plain, cost=cost, cost_params=COSTS[cost], ensemble_size=n
    )
    for cost in COSTS
    for n in (1, 2)
} | {
    "cost object": lambda: _plain(cost=Lp(np.float64(1.3))),
    "matrix": lambda: _plain(cost=QuadraticForm(np.array(MATRIX_2D))),
    "float32": lambda: _plain(X.astype("f4"), Y.astype("f4"), objective="mmd"),
    "Fortran": lambda: _plain(np.asfortranarray(X), np.asfortranarray(Y)),
    "one layer": lambda: _plain(hidden_layer_sizes=[8]),
    "reference": lambda: _plain(Y=None, default_domain="target", random_state=None),
    "generator": lambda: _plain(random_state=np.random.RandomState(3)),
    "device": lambda: _plain(device=torch.device("cpu"), callbacks=[]),
    "too few": lambda: _plain(X[:4], Y[:4]),
    "stream": lambda: _plain(cost="lp", stream=True),
    "frame": _framed,
    "integers": _labelled,
    "strings": lambda: _labelled(WORDS),
    "booleans": lambda: _labelled(y > 0, n_known=40),
    "given": lambda: _labelled(
        classifier=make_pipeline(StandardScaler(), LogisticRegression(C=3.0))
    ),
    "label, lp": lambda: _labelled(cost="lp", ensemble_size=2),
    "label, pseudo-Huber": lambda: _labelled(**PSEUDO_HUBER),
    "shared": lambda: _labelled(**SHARED),
    "shared, pseudo-Huber": lambda: _labelled(**SHARED, **PSEUDO_HUBER),
    "one class": lambda: _labelled(np.zeros_like(y)),
}


def bent(transport):
    """The fit with weights that no step so short would reach: its map is far from u = 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in transport.flow_.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return transport


@functools.cache
def fit(kind):
    """A fit of that kind, not to be changed by a test."""
    return bent(FITS[kind]())


def by_pickle(transport, path):
    return pickle.loads(pickle.dumps(transport))


def by_joblib(transport, path):
    joblib.dump(transport, path)
    return joblib.load(path)


def saved_and_loaded(transport, path):
    sk_ncf.save(transport, path)
    return sk_ncf.load(path)


def outcome(transport, X=None, Y=None):
    """All that the methods say of some rows."""
    by_class = transport._labels is not None
    X, Y = (X_BY if by_class else two_samples(seed=1)[0]) if X is None else X, Y
    Y = (Y_BY if by_class else two_samples(seed=1)[1]) if Y is None else Y
    domain = {"sample_domain": 1}
    if hasattr(transport, "feature_names_in_"):
        X, Y = (pd.DataFrame(rows, columns=["a", "b"]) for rows in (X, Y))
    return {
        "transform": transport.transform(X, **domain),
        "inverse_transform": transport.inverse_transform(Y),
        "interpolate": transport.interpolate(X, 0.3, **domain),
        "score": transport.score(X, **domain),
        "dual_potentials": transport.dual_potentials(X, X_target=Y),
        "dual_lower_bound": transport.dual_lower_bound(X, X_target=Y),
        "transport_cost": transport.transport_cost(X),
    }


def same(one, other, where="it"):
    """Assert that two values are of the same types and equal to the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, BaseEstimator):
        same(vars(one), vars(other), where)
    elif isinstance(one, torch.nn.Module):
        same(dict(one.state_dict()), dict(other.state_dict()), where)
        same(vars(getattr(one, "cost", None) or one), vars(other.cost), where)
    elif is_dataclass(one):
        same(vars(one), vars(other), where)
    elif isinstance(one, dict):
        sides = (
            {k: v for k, v in d.items() if k != "_cached_constants"}
            for d in (one, other)
        )
        one, other = sides  # without what a cost keeps where it was last used
        assert list(one) == list(other), where
        for key in one:
            same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}[{k}]")
    elif isinstance(one, np.ndarray | torch.Tensor):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, where)
    elif isinstance(one, np.random.RandomState):
        same(one.get_state(), other.get_state(), where)
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    else:
        assert one == other or (one != one and other != other), where


def public(transport, leave_out=()):
    return {
        name: value
        for name, value in vars(transport).items()
        if name.endswith("_") and name not in leave_out
    }


@pytest.mark.parametrize("kind", FITS)
def test_a_loaded_fit_is_the_same_to_the_last_bit(kind, tmp_path):
    transport, path = fit(kind), tmp_path / "transport"
    wanted = outcome(transport)
    single = outcome(transport, *(rows.astype("f4") for rows in (X, Y)))
    for way in (by_pickle, by_joblib, saved_and_loaded):
        loaded = way(transport, path)
        same(outcome(loaded), wanted)
        same(outcome(loaded, *(rows.astype("f4") for rows in (X, Y))), single)
        same(loaded.get_params(), transport.get_params())
        same(clone(loaded).get_params(), clone(transport).get_params())
        same(*(sorted(public(one)) for one in (loaded, transport)))
        fitted = (public(one, ["net_"]) for one in (loaded, transport))
        same(*(dict(sorted(values.items())) for values in fitted))
    assert loaded.net_ is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lp-2", "integers", "shared", "generator"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_goes_on_from_a_loaded_fit_as_from_the_fit_itself(kind, tmp_path):
    rows = {"X": X, "X_target": Y}
    if fit(kind).class_conditional:
        rows = {"X": X_BY, "y": y, "X_target": Y_BY, "y_target": y}
    for method, warm in (("partial_fit", False), ("fit", True), ("fit", False)):
        results = []
        for way in (by_pickle, saved_and_loaded):
            twin = way(fit(kind), tmp_path / "transport").set_params(warm_start=warm)
            results.append(outcome(getattr(twin, method)(**rows)))
        same(*results)


def test_a_loaded_stream_goes_on_from_its_weights(tmp_path):
    rows = problem("elastic")
    X, Y = rows.X, rows.X_target
    stream = quick(cost="elastic", cost_params=COSTS["elastic"])
    for _ in range(8):
        stream.partial_fit(X, X_target=Y)
    before = stream.transform(X)
    loaded = saved_and_loaded(stream, tmp_path / "transport")
    loaded.set_params(learning_rate_init=1e-9).partial_fit(X, X_target=Y)
    np.testing.assert_allclose(loaded.transform(X), before, atol=1e-4)
    assert loaded.stop_reason_ == "partial_fit"
    frame = loaded.preconditioners_[0]
    at_rest = frame.target.inverse(frame.source.forward(X))  # u = 0
    assert np.abs(before - at_rest).max() > 0.1


def test_settings_of_output_and_routing_are_kept(tmp_path):
    transport = fit("frame")
    loaded = saved_and_loaded(transport, tmp_path / "transport")
    asked = [t.get_metadata_routing().score.requests for t in (loaded, transport)]
    assert asked[0] == asked[1]
    assert asked[0]["X_target"] == "Y"
    assert isinstance(clone(loaded).fit(FRAME).transform(FRAME), pd.DataFrame)


@pytest.mark.parametrize("kind", ["lp-2", "given"])
def test_a_loaded_fit_can_be_saved_again(kind, tmp_path):
    loaded = saved_and_loaded(fit(kind), tmp_path / "first")
    again = saved_and_loaded(loaded, tmp_path / "second")
    same(outcome(again), outcome(loaded))
    same(public(again), public(loaded))


def test_loading_leaves_the_process_alone_and_opens_no_pickle(tmp_path, monkeypatch):
    def world():
        numpy_state = np.random.get_state()[1].tolist()
        settings = torch.get_num_threads(), torch.get_default_dtype()
        return random.getstate(), numpy_state, torch.get_rng_state().tolist(), settings

    def refuse(*args, **kwargs):
        raise AssertionError("a pickle was opened")

    sk_ncf.save(fit("given"), tmp_path / "transport")
    for module, name in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    before = world()
    sk_ncf.load(tmp_path / "transport")
    assert world() == before


# Without the classifiers.


@pytest.mark.parametrize("left_out_by", ["save", "load"])
def test_without_classifiers_rows_are_mapped_by_their_label_only(left_out_by, tmp_path):
    transport, path = fit("given"), tmp_path / "transport"
    sk_ncf.save(transport, path, classifiers=left_out_by == "load")
    loaded = sk_ncf.load(path, classifiers=left_out_by == "save")
    label = {"sample_label": y}
    same(loaded.transform(X_BY, **label), transport.transform(X_BY, **label))
    same(*(t.inverse_transform(Y_BY, **label) for t in (loaded, transport)))
    assert loaded.classifier is loaded.classifier_ is loaded.target_classifier_ is None
    for name, call in (
        ("sample_label", lambda: loaded.transform(X_BY)),
        ("sample_label", lambda: loaded.inverse_transform(Y_BY)),
        ("y", lambda: loaded.transport_cost(X_BY)),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be given.*left out"):
            call()
    loaded.partial_fit(X_BY, y, X_target=Y_BY, y_target=y)
    assert loaded.transform(X_BY).shape == X_BY.shape


def test_without_skops_classifiers_are_refused_with_the_way_out(tmp_path, monkeypatch):
    path = tmp_path / "transport"
    sk_ncf.save(fit("integers"), path)
    monkeypatch.setitem(__import__("sys").modules, "skops", None)
    for call in (lambda: sk_ncf.save(fit("integers"), path), lambda: sk_ncf.load(path)):
        with pytest.raises(ImportError, match="pip install skops.*classifiers=False"):
            call()
    sk_ncf.load(path, classifiers=False)
    saved_and_loaded(fit("lp-1"), path)
    saved_and_loaded(fit("shared"), path)


# What takes code to be read back is refused, and an older file kept.


class OwnCost(Lp):
    """The l_p cost by another name."""


class OwnClassifier(ClassifierMixin, BaseEstimator):
    """Class 0 for all."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


class OwnModule(torch.nn.Module):
    """A potential of one layer."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, x, t):
        return torch.nn.functional.softplus(self.layer(torch.cat([x, t[:, None]], 1)))


def _normal_rows(size, random_state):
    return random_state.standard_normal(size)


def _with_attribute():
    transport = _plain()
    transport._mine = object()
    return transport


REFUSED = {
    "cost cannot be saved.*pickle": lambda: _plain(cost=OwnCost(1.5)),
    "output_distribution cannot be saved.*pickle": lambda: _plain(
        Y=None, output_distribution=_normal_rows
    ),
    r"callbacks.*set_params\(callbacks=None\)": lambda: _plain(
        callbacks=[("lr", LRScheduler())]
    ),
    r"skorch_net cannot be saved.*set_params\(skorch_net=None\)": lambda: _plain(
        skorch_net=NCFNet()
    ),
    "skorch_net cannot be saved.*module of your own": lambda: _plain(
        skorch_net=NCFNet(OwnModule)
    ).set_params(skorch_net=None),
    "classifier=RandomForest.*trust.*Tree": lambda: _labelled(
        classifier=RandomForestClassifier(2)
    ),
    "classifier=OwnClassifier.*trust.*OwnClassifier": lambda: _labelled(
        classifier=OwnClassifier(), n_known=40
    ),
    "random_state cannot be saved": lambda: _plain(
        random_state=np.random.RandomState(np.random.PCG64(0))
    ),
    "cost_params.matrix cannot be saved": lambda: _plain(
        cost="quadratic_form", cost_params={"matrix": torch.eye(2)}
    ),
    "_mine cannot be saved": _with_attribute,
    "max_iter": lambda: _plain().set_params(max_iter=-1),
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.filterwarnings("ignore:Classes with too few rows:UserWarning")
def test_what_only_code_can_rebuild_is_refused_by_name(message, tmp_path):
    path = tmp_path / "transport"
    sk_ncf.save(fit("lp-1"), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        sk_ncf.save(REFUSED[message](), path)
    assert path.read_bytes() == before


def test_only_a_fitted_transport_is_saved(tmp_path):
    path = tmp_path / "transport"
    with pytest.raises(
        TypeError, match="must be an NCFTransport or AdaptedClassifier, got Pipeline"
    ):
        sk_ncf.save(make_pipeline(fit("lp-1"), SVC()), path)
    with pytest.raises(NotFittedError):
        sk_ncf.save(NCFTransport(), path)
    assert not path.exists()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_file_and_no_other(
    step, tmp_path, monkeypatch
):
    path = tmp_path / "transport"
    sk_ncf.save(fit("lp-1"), path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        sk_ncf.save(fit("lp-2"), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["transport"]


def test_the_file_a_link_leads_to_is_replaced(tmp_path):
    path, link = tmp_path / "transport", tmp_path / "link"
    link.symlink_to(path)
    sk_ncf.save(fit("lp-1"), link)
    assert link.is_symlink()
    same(outcome(sk_ncf.load(str(path))), outcome(fit("lp-1")))


@pytest.mark.filterwarnings("ignore::sk_ncf.MapQualityWarning")
def test_a_loaded_fit_is_judged_as_the_fit_itself(tmp_path):
    transport = quick().fit(X, X_target=Y)
    sk_ncf.save(transport, tmp_path / "fit.ncf")
    far = np.concatenate([X, X + 100])  # half of the rows lie outside
    found = [
        one.diagnostics(far, X_target=Y, n_permutations=19, random_state=0)
        for one in (transport, sk_ncf.load(tmp_path / "fit.ncf"))
    ]
    assert found[0] == found[1]
    assert "outside" in repr(found[0])


# What a fit keeps.


def _default_fit(method):
    """Default parameters in two dimensions; the size does not depend on the steps."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2000, 2)), rng.standard_normal((3000, 2)) + 1
    transport = NCFTransport(max_iter=2, random_state=0)
    return getattr(transport, method)(X, X_target=Y)


def test_a_default_fit_takes_two_copies_of_its_weights_and_little_else(tmp_path):
    transport, path = _default_fit("fit"), tmp_path / "transport"
    weights = sum(p.nbytes for p in transport.flow_.parameters())
    pickled = len(pickle.dumps(transport))
    sk_ncf.save(transport, path)
    assert pickled < 400_000  # bytes
    assert pickled < 2 * weights + 50_000  # flow_ and net_
    assert path.stat().st_size < weights + 25_000 < 170_000


def test_a_stream_takes_its_optimizer_too_and_its_file_does_not(tmp_path):
    stream, path = _default_fit("partial_fit"), tmp_path / "transport"
    state = stream.net_.optimizer_.state.values()
    moments = sum(_bytes(list(of_parameter.values())) for of_parameter in state)
    weights = sum(p.nbytes for p in stream.flow_.parameters())
    # flow_, net_; initial, selected and averaged weights.
    assert len(pickle.dumps(stream)) < moments + 5 * weights + 60_000 < 2_500_000
    sk_ncf.save(stream, path)
    assert path.stat().st_size < weights + 30_000


def _bytes(value):
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value
    return sum(map(_bytes, parts)) if isinstance(value, dict | list) else 0


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
@pytest.mark.parametrize(("then", "warm"), [("partial_fit", False), ("fit", True)])
def test_training_continues_from_a_pickle_as_from_the_estimator_itself(
    first, then, warm
):
    transport = quick(4, ensemble_size=2, warm_start=warm)
    getattr(transport, first)(X, X_target=Y)
    results = []
    for twin in (by_pickle(transport, None), transport):
        results.append(outcome(getattr(twin, then)(X + 0.1, X_target=Y)))
    same(*results)


def test_the_net_of_a_fit_is_a_whole_net_with_the_weights_of_the_map():
    transport = quick(4).fit(X, X_target=Y)
    for net in (transport.net_, by_pickle(transport, None).net_):
        assert net.initialized_
        assert net.module is net.module_
        assert len(net.history) == len(transport.history_) == 1
        parameters = (net.module_.parameters(), transport.flow_.parameters())
        same(*([p.detach() for p in several] for several in parameters))
        assert all(p.requires_grad for p in net.module_.parameters())
        assert not net.optimizer_.state
        (group,) = net.optimizer_.param_groups
        own = {id(p) for p in net.module_.parameters()}
        assert {id(p) for p in group["params"]} == own


# Versions.


def _by_another_version(monkeypatch, version):
    """A pickle as that version of the package would write it."""
    with monkeypatch.context() as other:
        if version is None:
            other.setattr(NCFTransport, "__getstate__", BaseEstimator.__getstate__)
        else:
            other.setattr(estimator, "__version__", version)
        return pickle.dumps(fit("lp-1"))


@pytest.mark.parametrize("version", ["0.0.9", "99.0", None])
def test_a_pickle_of_another_version_warns_with_both_versions(version, monkeypatch):
    data = _by_another_version(monkeypatch, version)
    message = f"saved by sk_ncf {version or 'unknown'} and is opened by sk_ncf "
    with pytest.warns(InconsistentVersionWarning, match=message) as seen:
        loaded = pickle.loads(data)
    assert sk_ncf.__version__ in str(seen[0].message)
    assert seen[0].filename == __file__
    same(outcome(loaded), outcome(fit("lp-1")))


def test_a_file_of_another_version_warns_with_both_versions(tmp_path):
    path, other = tmp_path / "transport", tmp_path / "other"
    sk_ncf.save(fit("lp-1"), path)
    content, arrays, _ = files._read(path)
    metadata = files._metadata(json.dumps(content), arrays, "0.0.9")
    safetensors.numpy.save_file(arrays, other, metadata)
    with pytest.warns(InconsistentVersionWarning, match=r"sk_ncf 0\.0\.9") as seen:
        loaded = sk_ncf.load(other)
    assert sk_ncf.__version__ in str(seen[0].message)
    assert seen[0].filename == __file__
    same(outcome(loaded), outcome(fit("lp-1")))


def test_copies_of_this_version_do_not_warn(tmp_path):
    """Warnings are errors in all tests; here they are read."""
    transport = fit("lp-1")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        twins = [
            clone(transport),
            copy.copy(transport),
            copy.deepcopy(transport),
            by_pickle(transport, None),
            by_joblib(transport, tmp_path / "joblib"),
            saved_and_loaded(transport, tmp_path / "file"),
        ]
    assert not seen
    assert not any(hasattr(twin, "_sk_ncf_version") for twin in twins)


# AdaptedClassifier.


def adapted(**params):
    """A fitted AdaptedClassifier of two shifted classes, and the target rows."""
    rng = np.random.RandomState(0)
    y, hidden = rng.randint(2, size=(2, 80))
    X = rng.randn(80, 2) + 4 * np.c_[y, -y]
    X_target = 2 * rng.randn(80, 2) + 8 * np.c_[hidden, -hidden] + 3
    model = AdaptedClassifier(random_state=0, **params)
    return model.fit(X, y, X_target=X_target), X_target


def test_a_loaded_adapted_classifier_predicts_the_same(tmp_path):
    model, rows = adapted(estimator=LogisticRegression())
    sk_ncf.save(model, tmp_path / "model.safetensors")
    loaded = sk_ncf.load(tmp_path / "model.safetensors")
    assert type(loaded) is AdaptedClassifier
    np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
    assert (loaded.adapted_, loaded.get_params(False).keys()) == (
        model.adapted_,
        model.get_params(False).keys(),
    )
    assert repr(loaded.diagnostics_) == repr(model.diagnostics_)


def test_an_adapted_classifier_of_untrusted_types_is_refused(tmp_path):
    model, _ = adapted(estimator=RandomForestClassifier(3))
    with pytest.raises(ValueError, match="cannot be saved: skops does not trust"):
        sk_ncf.save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotFittedError):
        sk_ncf.save(AdaptedClassifier(LogisticRegression()), tmp_path / "model")
