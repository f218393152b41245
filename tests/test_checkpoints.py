"""A fit that dies goes on from its last checkpoint, as if nothing had happened."""

import copy
import errno
import functools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import COSTS, crossing_classes, quick, refused, two_samples
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits
from torch import nn

from sk_ncf._training import budget, results
from sk_ncf._training.checkpoint import callback
from sk_ncf._training.checkpoint.files import read_checkpoint, write_checkpoint
from sk_ncf._training.net import NCFNet
from sk_ncf._training.potential_choice import Comparison

X, Y = two_samples()
TWO = {"X": X, "X_target": Y}
SHORT_EPOCH = 5
STEPS, EPOCHS, LONG = 30, 6, 200
pytestmark = pytest.mark.filterwarnings("ignore:Training diverged")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A checkpoint after every epoch, and an epoch every few steps."""
    monkeypatch.setattr(callback, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(budget, "MAX_EPOCH", SHORT_EPOCH)


class Crash(Exception):
    """Not for anyone to catch."""


class At(Callback):
    """Does something at the beginning of the epoch of that number; counts them."""

    def __init__(self, epoch=None, action=None):
        self.epoch, self.action, self.count = epoch, action, 0

    def on_epoch_begin(self, net, **kwargs):
        self.count += 1
        if self.count == self.epoch:
            self.action(net)


def _crash(net):
    raise Crash


def _fit(**params):
    return quick(**{"max_iter": STEPS, "ensemble_size": 1, "batch_size": 16, **params})


def _crashed(transport, rows=TWO, epoch=5):
    """Let a fit die in an epoch; leaves its checkpoint and the estimator as it was."""
    transport.set_params(callbacks=[At(epoch, _crash)])
    with pytest.raises(Crash):
        transport.fit(**rows)
    return transport


@functools.cache
def _whole():
    """A fit that does not die; not to be changed by a test."""
    return _fit().fit(**TWO)


def _resumed(transport, rows=TWO):
    """The epochs that the next fit takes."""
    counter = At()
    transport.set_params(callbacks=[counter]).fit(**rows)
    return counter.count


def _same(one, other):
    """Assert that two fits came to the same, to the last bit."""
    for name in ("n_iter_", "best_iter_", "stop_reason_"):
        np.testing.assert_equal(getattr(one, name), getattr(other, name))
    assert _history(one) == _history(other)
    for mine, others in (
        (one.flow_.state_dict(), other.flow_.state_dict()),
        (one.net_.module_.state_dict(), other.net_.module_.state_dict()),
    ):
        assert mine.keys() == others.keys()
        assert all(torch.equal(mine[name], others[name]) for name in mine)


def _history(transport):
    """All but the seconds; as text, in which NaN is NaN."""
    rows = transport.history_.to_list()
    return repr([{k: _number(v) for k, v in r.items() if k != "dur"} for r in rows])


def _number(value):
    return value.item() if isinstance(value, np.generic) else value


# Killed.


def long_fit(folder, callbacks=None, max_iter=LONG):
    """What the killed process and the one after it do."""
    params = {"checkpoint_dir": folder, "callbacks": callbacks, "max_iter": max_iter}
    with threadpool_limits(1):
        return _fit(**params).fit(**TWO)


def in_another_process(folder):
    """The same, where no fixture is."""
    callback.MIN_INTERVAL, budget.MAX_EPOCH = 0.0, SHORT_EPOCH
    long_fit(folder)


@pytest.mark.slow
def test_a_killed_process_loses_nothing_but_the_steps_since_its_last_checkpoint(
    tmp_path,
):
    """Killed while it writes as often as it can: what is there is whole all the same."""
    call = f"import test_checkpoints as t; t.in_another_process({str(tmp_path)!r})"
    paths = [str(Path(__file__).parent), *filter(None, [os.getenv("PYTHONPATH")])]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen([sys.executable, "-c", call], env=here) as process:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("*.checkpoint")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
    assert process.returncode != 0
    counter = At()
    resumed = long_fit(tmp_path, [counter])
    assert 0 < counter.count < LONG / SHORT_EPOCH
    _same(resumed, long_fit(None))
    assert not list(tmp_path.iterdir())


class Perceptron(nn.Module):
    """A user's own potential."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x, t):
        return self.layers(torch.cat([x, t.unsqueeze(-1)], -1))


_source, _target, _y = crossing_classes(120, 3)
CLASSES = {"X": _source, "y": _y, "X_target": _target, "y_target": _y}
WEIGHTED = {**TWO, "sample_weight": np.linspace(0, 1, len(X))}
LARGE_STEPS = {
    "cost": "elastic",
    "cost_params": COSTS["elastic"],
    "learning_rate_init": 0.5,
}
FITS = {
    **{name: (TWO, {"cost": name, "cost_params": p}) for name, p in COSTS.items()},
    "members": (TWO, {"ensemble_size": 3}),
    "no selection": (TWO, {"early_stopping": False}),
    "odd budget": (TWO, {"objective": "mmd", "max_iter": STEPS + 3}),
    "weights": (WEIGHTED, {}),
    "reference": ({"X": X}, {"output_distribution": "uniform"}),
    "by class": (CLASSES, {"class_conditional": "per_class"}),
    "by class, lp": (CLASSES, {"class_conditional": "per_class", "cost": "lp"}),
    "shared": (CLASSES, {"class_conditional": "shared", "objective": "mmd"}),
    "own net": (TWO, {"skorch_net": NCFNet(Perceptron, optimizer=torch.optim.Adam)}),
    # Steps too large to be of use after the first ones.
    "early best": (TWO, {**LARGE_STEPS, "max_iter": 40, "n_iter_no_change": 12}),
    "patience": (TWO, {**LARGE_STEPS, "max_iter": 1000, "n_iter_no_change": 15}),
    "no gain": (TWO, {"n_iter_no_change": 25, "tol": 10.0}),
    # Goes back to what is kept, from step 100 on, and ends with that.
    "astray": (TWO, {"learning_rate_init": 1e30, "max_iter": 200}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_a_fit_that_died_ends_as_one_that_did_not(name, tmp_path):
    rows, params = FITS[name]
    whole = _fit(**params).fit(**rows)
    epochs = len(whole.history_)
    # "patience" after its best epoch and before its decay is shortened, others later.
    epoch = 6 if name == "patience" else epochs - 1
    died = _crashed(_fit(**params, checkpoint_dir=tmp_path), rows, epoch)
    assert _resumed(died, rows) == epochs - epoch + 1  # the first had begun
    _same(died, whole)


def test_a_fit_that_died_compares_with_a_discrete_potential_once(tmp_path, monkeypatch):
    early = []

    def compare(*args):
        early.append(args[5] > 0)  # the comparison at the end is of any map
        return Comparison()

    monkeypatch.setattr(results, "compare_potentials", compare)
    params = {"potential": "auto", "max_iter": 60, "n_iter_no_change": 60}
    died = _crashed(_fit(**params, checkpoint_dir=tmp_path), epoch=10)
    assert early == [True]  # after step 40, the end of epoch 8
    assert _resumed(died) == 3
    assert early == [True, False]


def test_a_fit_may_die_more_than_once(tmp_path):
    transport = _fit(checkpoint_dir=tmp_path)
    for epoch in (3, 2, 1):
        _crashed(transport, epoch=epoch)
    assert _resumed(transport) == EPOCHS - 3
    _same(transport, _whole())


def test_a_warm_start_that_died_goes_on_with_the_estimator_as_it_was(tmp_path):
    transport = _fit(warm_start=True).fit(**TWO)
    whole = copy.deepcopy(transport).fit(X + 0.1, X_target=Y)
    moved = {"X": X + 0.1, "X_target": Y}
    died = _crashed(transport.set_params(checkpoint_dir=str(tmp_path)), moved)
    assert _resumed(died, moved) == 2
    _same(died, whole)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_fit_keeps_its_best_weights_and_goes_on_when_fitted_again(
    tmp_path,
):
    stop = At(5, lambda net: signal.raise_signal(signal.SIGINT))  # what Ctrl-C sends
    transport = _fit(checkpoint_dir=tmp_path, callbacks=[stop])
    with pytest.warns(ConvergenceWarning, match="interrupted after 20 steps"):
        transport.fit(**TWO)
    assert transport.best_iter_ <= transport.n_iter_ == 20
    assert transport.transform(X).shape == X.shape
    assert _resumed(transport) == 2
    _same(transport, _whole())


# Whose checkpoint it is.


def _nudged(rows):
    """One value of the rows is the next float."""
    rows = rows.copy()
    rows[7, 1] = np.nextafter(rows[7, 1], np.inf)
    return rows


OTHERS = {
    "source": ({**TWO, "X": _nudged(X)}, {}),
    "target": ({**TWO, "X_target": _nudged(Y)}, {}),
    "row less": ({**TWO, "X": X[:-1]}, {}),
    "weights": (WEIGHTED, {}),
    "type": ({name: rows.astype(np.float32) for name, rows in TWO.items()}, {}),
    "seed": (TWO, {"random_state": 1}),
    "budget": (TWO, {"max_iter": STEPS + 1}),
    "rate": (TWO, {"learning_rate_init": 1e-3}),
    "cost": (TWO, {"cost": "lp"}),
    "net": (TWO, {"skorch_net": NCFNet(optimizer__weight_decay=0.1)}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_fit_starts_from_the_beginning_and_leaves_the_checkpoint(
    name, tmp_path
):
    _crashed(_fit(checkpoint_dir=tmp_path), epoch=2)
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    rows, params = OTHERS[name]
    other = _fit(**params, checkpoint_dir=tmp_path)
    assert _resumed(other, rows) == len(other.history_)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == before


def test_the_same_fit_by_another_seed_object_order_of_rows_and_device_goes_on(tmp_path):
    _crashed(_fit(checkpoint_dir=tmp_path))
    seed = np.random.RandomState(0)
    same = _fit(checkpoint_dir=tmp_path, random_state=seed, device="cpu")
    assert _resumed(same, {"X": X[::-1], "X_target": Y}) == 2


def test_a_search_shares_one_folder_and_leaves_it_empty(tmp_path):
    grid = {"max_iter": [5, 10]}
    scores = [
        GridSearchCV(_fit(checkpoint_dir=folder), grid, cv=2, error_score="raise")
        .fit(X, X_target=Y)
        .cv_results_["mean_test_score"]
        for folder in (None, tmp_path)
    ]
    np.testing.assert_array_equal(*scores)
    assert not list(tmp_path.iterdir())


def test_no_checkpoint_is_written_before_it_is_time_nor_by_a_stream(
    tmp_path, monkeypatch
):
    _fit(checkpoint_dir=tmp_path).partial_fit(**TWO)
    monkeypatch.setattr(callback, "MIN_INTERVAL", 1000.0)
    _crashed(_fit(checkpoint_dir=tmp_path))
    assert not list(tmp_path.iterdir())


def _weigh(net):
    net.history.record("weight", len(pickle.dumps(net)))


def test_the_fitted_estimator_and_the_net_in_training_can_be_pickled(tmp_path):
    rows = {"X": np.random.default_rng(0).standard_normal((20_000, 2))}
    transport = _fit(
        checkpoint_dir=tmp_path, max_iter=10, callbacks=[At(2, _weigh)]
    ).fit(**rows)
    assert transport.history_[1]["weight"] < rows["X"].nbytes
    assert not any(name == "checkpoint" for name, _ in transport.net_.callbacks_)
    assert pickle.loads(pickle.dumps(transport)).n_iter_ == 10


# Files that are not what was written.


class Malice:
    """Runs code where it is unpickled without care."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def _altered(path, change):
    state = read_checkpoint(path, path.stem.removeprefix("ncf-"))
    change(state)
    write_checkpoint(path, state)


FAULTS = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: 2**14]),
    "one bit": lambda file: file.write_bytes(_flipped(file.read_bytes())),
    "other": lambda file: file.write_bytes(b"not a checkpoint" * 999),
    "code": lambda file: write_checkpoint(file, Malice()),
    "code inside": lambda file: _altered(file, lambda s: s.update(rng=Malice())),
    "another fit's": lambda file: _altered(file, lambda s: s.update(fingerprint="")),
    "without a part": lambda file: _altered(file, lambda s: s.pop("rng")),
    "other shapes": lambda file: _altered(file, _reshape),
}


def _flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _reshape(state):
    state["risks"]["best"]["gap"] = state["risks"]["best"]["gap"][:, 1:]


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_checkpoint_is_not_used_and_its_code_not_run(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints"
    died = _crashed(_fit(checkpoint_dir=folder), epoch=2)
    (file,) = folder.iterdir()
    FAULTS[name](file)
    with pytest.warns(UserWarning, match="checkpoint.*starts from the beginning"):
        assert _resumed(died) == EPOCHS
    _same(died, _whole())
    assert list(tmp_path.iterdir()) == [folder]
    assert not list(folder.iterdir())


def test_what_a_killed_process_was_writing_is_not_read_and_removed_in_the_end(tmp_path):
    died = _crashed(_fit(checkpoint_dir=tmp_path))
    (file,) = tmp_path.iterdir()
    part = file.with_name(f"{file.name}.abc.part")
    part.write_bytes(file.read_bytes()[:100])
    assert _resumed(died) == 2
    assert not list(tmp_path.iterdir())


# Folders that cannot be written to.


def _disk_full(handle):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_a_warning_and_not_the_fit_nor_the_last_checkpoint(
    tmp_path, monkeypatch
):
    whole = _whole()
    died = _crashed(_fit(checkpoint_dir=tmp_path), epoch=4)
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _disk_full)
        with pytest.warns(UserWarning, match="could not be written.*No space") as seen:
            _crashed(died, epoch=3)
        assert len(seen) == 1
        assert list(tmp_path.iterdir()) == [file]
        assert file.read_bytes() == before
        with pytest.warns(UserWarning, match="could not be written.*No space"):
            assert _resumed(died) == 3
    _same(died, whole)


def _read_only(tmp_path):
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("nothing is read-only to this user")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    return folder


def _file(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file"


@pytest.mark.parametrize(
    "place", [_read_only, _file, lambda tmp_path: _file(tmp_path) / "below"]
)
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_training(
    place, tmp_path
):
    folder = place(tmp_path)
    message = "checkpoint_dir must be a folder that can be written to, got .*Path"
    refused(_fit(checkpoint_dir=folder), "fit", TWO, message)


@pytest.mark.parametrize("seed", [None, np.random.mtrand._rand])
def test_a_fit_that_cannot_be_repeated_has_no_checkpoint(seed, tmp_path):
    transport = _fit(checkpoint_dir=tmp_path, random_state=seed)
    refused(transport, "fit", TWO, "checkpoint_dir needs a random_state.*got")


def test_parameters_that_no_other_process_can_have_are_refused(tmp_path):
    net = NCFNet(optimizer=lambda params, lr: torch.optim.Adam(params, lr=lr))
    transport = _fit(checkpoint_dir=tmp_path, skorch_net=net)
    refused(
        transport, "fit", TWO, "checkpoint_dir needs parameters that can be pickled"
    )


def test_checkpoint_must_be_a_path():
    refused(_fit(checkpoint_dir=1), "fit", TWO, "'checkpoint_dir' parameter.*Got 1")
