"""Fits in several processes: the same result, and nothing left behind."""

import multiprocessing
import os
import pickle
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from fits import crossing_classes, quick, refused, two_samples
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from sk_ncf import MMD, NCFNet, NCFTransport
from sk_ncf._training import budget, forked
from sk_ncf._training.checkpoint import callback
from sk_ncf._training.forked import forked_map, usable_jobs
from sk_ncf._training.soap import SOAP

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or torch.accelerator.is_available(),
    reason="forks on Linux without a GPU only",
)
PARENT = os.getpid()


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    left = multiprocessing.active_children()  # those of joblib live on
    assert not [p for p in left if isinstance(p, multiprocessing.context.ForkProcess)]


@pytest.fixture
def forks(monkeypatch):
    """The processes that were started, one entry for each."""
    started, start = [], forked._Child.__init__

    def counted(self, *args):
        started.append(args)
        start(self, *args)

    monkeypatch.setattr(forked._Child, "__init__", counted)
    return started


def rows(d, n=200):
    X, Y = two_samples(n, n + 20, d)
    return {"X": X, "X_target": Y}


def classes(n_classes, d=2):
    X, Y, y = crossing_classes(60 * n_classes, n_classes)
    more = np.random.default_rng(0).standard_normal((2, len(X), d - 2))
    X, Y = np.c_[X, more[0]], np.c_[Y, more[1]]
    return {"X": X, "y": y, "X_target": Y, "y_target": y}


def same(one, other, data):
    """Assert that two fits took the same steps to the same map, to the last bit."""
    for name in ("train_loss", "risk", "valid_loss", "train_batch_count"):
        assert [r[name] for r in one.history_] == [r[name] for r in other.history_]
    assert one.n_iter_ == other.n_iter_
    np.testing.assert_array_equal(one.best_iter_, other.best_iter_)
    label = {"sample_label": data["y"]} if "y" in data else {}
    maps = [fitted.transform(data["X"], **label) for fitted in (one, other)]
    np.testing.assert_array_equal(*maps)


def weighted(d):
    weight = np.random.default_rng(1).uniform(0.5, 2, 200)
    return {**rows(d), "sample_weight": weight}


PER_CLASS = {"class_conditional": "per_class"}
SMALL = {"hidden_layer_sizes": (32, 32)}
FITS = {
    "two features": (rows(2), {}, 2),
    "eight features": (rows(8), {}, 2),
    "seven features, two members each": (rows(7), SMALL, 4),
    "members unevenly divided": (rows(2), {"ensemble_size": 5, **SMALL}, 2),
    "weights": (weighted(3), SMALL, 2),
    "a cost that is not quadratic": (rows(2), {"cost": "lp", **SMALL}, 2),
    "the loss of the paper": (rows(2), {"objective": MMD(), **SMALL}, 2),
    "four classes": (classes(4), PER_CLASS, 2),
    "five classes": (classes(5, 3), PER_CLASS, 2),
    "classes, another cost": (classes(4), {**PER_CLASS, **SMALL, "cost": "elastic"}, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", FITS)
def test_several_processes_find_what_one_finds(case, forks):
    """With the defaults but for the number of steps."""
    data, params, n_jobs = FITS[case]
    params = {"max_iter": 24, "potential": "network", "random_state": 0, **params}
    one = NCFTransport(**params).fit(**data)
    assert not forks
    several = NCFTransport(n_jobs=n_jobs, **params).fit(**data)
    assert len(forks) >= len(one.history_)
    same(one, several, data)


def test_the_discrete_potentials_are_divided_too(forks):
    data = classes(3)
    params = {**PER_CLASS, "potential": "discrete"}
    maps = [
        quick(n_jobs=n_jobs, **params).fit(**data).transform(data["X"])
        for n_jobs in (1, 2)
    ]
    assert len(forks) == 1
    np.testing.assert_allclose(*maps, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_fit_continues_from_the_checkpoint_of_another_number_of_processes(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(callback, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(budget, "MAX_EPOCH", 12)
    data, params = rows(2), {"max_iter": 60, "ensemble_size": 4}

    class Crash(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                raise OSError("power cut")

    kept = {"checkpoint_dir": tmp_path, **params}
    with pytest.raises(OSError, match="power cut"):
        quick(n_jobs=2, callbacks=[Crash()], **kept).fit(**data)
    assert len(list(tmp_path.iterdir())) == 1
    resumed = quick(**kept).fit(**data)
    assert not list(tmp_path.iterdir())
    same(quick(**params).fit(**data), resumed, data)


# Where one process is used.


class Batches(Callback):
    """Counts the minibatches that it is told of."""

    def on_train_begin(self, net, **kwargs):
        self.n_batches = 0

    def on_batch_end(self, net, training=True, **kwargs):
        self.n_batches += training


class OwnMMD(MMD):
    """A user's objective may look at all potentials."""


@pytest.mark.parametrize(
    "params",
    [
        {"ensemble_size": 1},
        {"callbacks": [Batches()]},
        {"objective": OwnMMD()},
        {"skorch_net": NCFNet(optimizer=torch.optim.Adam)},
        {"n_jobs": None},
        {"n_jobs": 1},
    ],
    ids=["one potential", "callback", "objective", "optimizer", "None", "1"],
)
def test_one_process_takes_the_steps_that_cannot_be_divided(params, forks):
    transport = quick(**{"n_jobs": 2, **params}).fit(**rows(2))
    assert not forks
    for seen in params.get("callbacks", []):
        assert seen.n_batches == transport.n_iter_


def test_a_stream_uses_one_process(forks):
    quick(n_jobs=2, ensemble_size=2).partial_fit(**rows(2))
    assert not forks


def test_callbacks_of_epochs_see_the_weights_and_losses_of_one_process(forks):
    class Weights(Callback):
        def on_train_begin(self, net, **kwargs):
            self.found = []

        def on_epoch_end(self, net, **kwargs):
            weights = [p.detach().clone() for p in net.module_.parameters()]
            losses = [row["train_loss"] for row in net.history[-1]["batches"]]
            self.found.append((losses, weights))

    seen = Weights(), Weights()
    for weights, n_jobs in zip(seen, (1, 2), strict=True):
        quick(callbacks=[weights], n_jobs=n_jobs).fit(**rows(2))
    assert forks
    for (losses, one), (others, several) in zip(*(w.found for w in seen), strict=True):
        assert losses == others
        assert all(map(torch.equal, one, several))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_joblib_start_no_processes(backend):
    found = Parallel(n_jobs=2, backend=backend)(
        delayed(usable_jobs)(n_jobs) for n_jobs in (2, -1, None)
    )
    assert found == [1, 1, 1]


def test_a_process_that_may_have_no_children_starts_none():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(usable_jobs(2)), daemon=True)
    child.start()
    assert ours.recv() == 1
    child.join()


def test_other_threads_start_no_processes(forks):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(usable_jobs, 2).result() == 1
    assert usable_jobs(2) == 2


def test_joblib_says_what_none_means():
    assert usable_jobs(None) == 1
    assert usable_jobs(-1) == joblib.cpu_count()
    with joblib.parallel_config(n_jobs=3):
        assert usable_jobs(None) == 3


def test_nested_in_a_grid_search_the_result_is_that_of_one_process():
    data = rows(2, 60)
    grid = {"tol": [0.0, 1e9]}
    scores = [
        GridSearchCV(quick(max_iter=5, n_jobs=n_jobs), grid, cv=2, n_jobs=outer)
        .fit(**data)
        .cv_results_["mean_test_score"]
        for n_jobs, outer in ((1, 1), (2, 2))
    ]
    np.testing.assert_array_equal(*scores)


def test_beside_a_gpu_one_process_is_used(monkeypatch):
    assert usable_jobs(2) == 2
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert usable_jobs(2) == 1


# What goes wrong.


@pytest.mark.parametrize("value", [0, 1.5, "two"])
def test_a_bad_number_of_processes_is_refused(value):
    refused(quick(n_jobs=value), "fit", rows(2), "'n_jobs' parameter .* Got")


def in_child(monkeypatch, action, here=lambda: None):
    """Make a step of every other process, and of this one, do something else first."""
    step = SOAP.step

    def replaced(self, closure=None):
        here() if os.getpid() == PARENT else action()
        return step(self, closure)

    monkeypatch.setattr(SOAP, "step", replaced)


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: _raise(FloatingPointError("no")), FloatingPointError, "no"),
        (lambda: _raise(Unpicklable(1, 2)), RuntimeError, "Unpicklable: 1 and 2"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), RuntimeError, "exit code -9"),
    ],
)
def test_what_fails_in_another_process_is_raised_and_changes_nothing(
    action, error, message, monkeypatch
):
    transport = quick(n_jobs=2).fit(**rows(2))
    before = dict(vars(transport))
    in_child(monkeypatch, action)
    with pytest.raises(error, match=message):
        transport.fit(**rows(2))
    after = vars(transport)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_an_error_here_ends_the_other_processes(monkeypatch):
    def sleep_or_raise(item):
        if item:
            time.sleep(60)
        raise ZeroDivisionError

    start = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        forked_map(sleep_or_raise, [0, 1, 2], 3)
    assert time.monotonic() - start < 30


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_ends_the_other_processes_and_the_fit(monkeypatch):
    quick(n_jobs=2).fit(**rows(2))  # imports all

    def interrupt():
        time.sleep(1)
        os.kill(PARENT, signal.SIGINT)
        time.sleep(60)

    start = time.monotonic()
    # Waits for the signal here: inside torch it could leave gradients disabled.
    in_child(monkeypatch, interrupt, here=lambda: time.sleep(60))
    with pytest.warns(match="interrupted"):
        transport = quick(n_jobs=2).fit(**rows(2))
    assert transport.stop_reason_ == "interrupted"
    assert time.monotonic() - start < 30


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_reaches_this_process_only(monkeypatch):
    """A terminal sends it to all."""
    in_child(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    transport = quick(n_jobs=2).fit(**rows(2))
    assert transport.stop_reason_ != "interrupted"


def test_values_come_in_order_from_any_number_of_processes():
    items = list(range(7))
    for n_jobs in (1, 2, 3, 7, 20):
        assert forked_map(lambda i: i * i, items, n_jobs) == [i * i for i in items]
    assert forked_map(len, [], 2) == []


def test_it_is_a_parameter_as_all_others():
    transport = clone(quick(n_jobs=2))
    assert transport.get_params()["n_jobs"] == 2
    again = pickle.loads(pickle.dumps(transport.fit(**rows(2))))
    assert again.n_jobs == 2
    assert again.net_._slices is None
    np.testing.assert_array_equal(
        again.fit(**rows(2)).transform(rows(2)["X"]),
        transport.transform(rows(2)["X"]),
    )
