"""Checkpoints of a fit: killed and run again, it goes on from the last one.

A checkpoint holds all that a step changes. Everything else, a fit makes again from its
rows, parameters and random state, whose fingerprint is the name of the file: the
checkpoint of another fit is not looked at, and many fits may share a folder.
"""

import contextlib
import copy
import hashlib
import io
import os
import pickle
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback
from torch import nn

from sk_ncf._samples.sample import is_equal

__all__ = ["Checkpoint", "checkpoint_of"]

EVERY = 10.0  # seconds between two checkpoints, at least
FORMAT = b"sk_ncf checkpoint 1"
# What does not change the fit, and what is seen in the rows and weights it begins with.
NOT_COMPARED = {
    "callbacks",
    "checkpoint",
    "device",
    "output_distribution",
    "random_state",
    "verbose",
}
OF_SCHEDULE = ("step", "turn", "base", "end")
OF_AVERAGE = ("average", "step")
OF_RISK = ("kept_weights", "kept_step", "best_step", "n_returns")
JUDGED = ("best", "kept")  # risks; the rows' weights in them are made again


def checkpoint_of(estimator, samples, pooled):
    """The checkpoint that an estimator asks for, or None.

    Parameters
    ----------
    estimator : NCFTransport
    samples : list of pairs of Sample or None
        Of every class.
    pooled : dict
        Moments of some classes.

    Raises
    ------
    ValueError
        If the folder cannot be written to, if there is no `random_state`, or if a
        parameter cannot be compared with that of another process.
    """
    if estimator.checkpoint_dir is None:
        return None
    if check_random_state(estimator.random_state) is check_random_state(None):
        raise ValueError(
            "checkpoint needs a random_state that is an integer or a RandomState, got "
            f"{estimator.random_state!r}: a fit that cannot be repeated cannot go on."
        )
    folder = _writable(estimator.checkpoint_dir)
    digest = hashlib.blake2b(FORMAT, digest_size=16)
    digest.update(_hash_of_parameters(estimator).encode())
    digest.update(joblib.hash(pooled).encode())
    for sides in samples:
        for sample in sides:
            _add_rows(digest, sample)
    return Checkpoint(folder, digest)


def _writable(folder):
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Path(folder)
    except OSError as error:
        raise ValueError(
            f"checkpoint must be a folder that can be written to, got {folder!r}: {error}"
        ) from error


def _hash_of_parameters(estimator):
    """The same in every process, for parameters that are the same."""
    params = estimator.get_params(deep=False)
    params = {n: v for n, v in params.items() if n not in NOT_COMPARED}
    if params["skorch_net"] is not None:
        options = params["skorch_net"].get_params(deep=False)
        params["skorch_net"] = (
            type(params["skorch_net"]),
            {
                name: type(value) if isinstance(value, nn.Module) else value
                for name, value in options.items()
                if name != "callbacks"
            },
        )
    try:
        return joblib.hash(params)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "checkpoint needs parameters that can be pickled, to tell this fit from "
            f"others: {error}"
        ) from error


def _add_rows(digest, sample, chunk=65536):
    """All rows and their weights; takes less time than their moments do."""
    if sample is None:
        digest.update(b"none")
        return
    digest.update(repr(sample.X.shape).encode())
    for start in range(0, len(sample), chunk):
        rows = np.ascontiguousarray(sample.X[start : start + chunk])
        digest.update(rows.dtype.str.encode())
        digest.update(rows)
    if not is_equal(sample.weight):
        digest.update(np.ascontiguousarray(sample.weight))


class Checkpoint(Callback):
    """Writes down, every few seconds, what a fit needs to go on.

    After the first epoch that ends `EVERY` seconds after the last checkpoint. A new one
    takes the place of the old one when it is whole and on the disk, in one stroke.

    Parameters
    ----------
    folder : Path
    digest : hashlib object
        Of the rows and parameters of the fit.
    """

    def __init__(self, folder, digest):
        self.folder, self.digest = folder, digest
        self.risk = self.path = None

    def begin(self, net, sampler, risk, rng):
        """Go on from the checkpoint of this very fit, if there is one.

        Parameters
        ----------
        net : NeuralNet
            About to be trained.
        sampler : PairSampler
        risk : HeldOutRisk
            That has judged what the fit starts from.
        rng : RandomState
            Of the fit, all drawn that it draws before it trains.
        """
        self.risk, self.failed = risk, False
        for value in net.module_.state_dict().values():
            value = value.detach().cpu().reshape(-1).view(torch.uint8)
            self.digest.update(value.numpy())
        self.digest.update(joblib.hash(rng.get_state(legacy=False)).encode())
        self.fingerprint = self.digest.hexdigest()
        self.digest = None
        self.path = self.folder / f"ncf-{self.fingerprint}.checkpoint"
        self._resume(net, sampler)
        self.written = time.monotonic()

    def _resume(self, net, sampler):
        parts = net, sampler, self.risk
        fresh = copy.deepcopy(_state(*parts))
        try:
            _restore(_read(self.path, self.fingerprint), *parts)
        except FileNotFoundError:
            return
        except Exception as error:  # whatever a broken file may lead to
            _restore(fresh, *parts)
            warnings.warn(
                f"The checkpoint {str(self.path)!r} cannot be read, so the fit starts "
                f"from the beginning: {error}",
                UserWarning,
                stacklevel=2,
            )

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        """Write, if it is time to and the fit goes on."""
        late = time.monotonic() - self.written >= EVERY
        if not late or self.risk.stop_reason is not None:
            return
        state = _state(net, dataset_train, self.risk)
        try:
            _write(self.path, {"fingerprint": self.fingerprint, **state})
        except OSError as error:
            self._warn_once(error)
        self.written = time.monotonic()

    def _warn_once(self, error):
        if not self.failed:
            warnings.warn(
                f"The checkpoint {str(self.path)!r} could not be written; the fit goes "
                f"on, and the last one that was written, if any, is as it was: {error}",
                UserWarning,
                stacklevel=2,
            )
        self.failed = True

    def end(self, stop_reason):
        """Remove the files of this fit, unless it may be taken up again."""
        if stop_reason == "interrupted":
            return
        leftovers = self.folder.glob(f"{self.path.name}.*.part")  # of killed processes
        for path in [self.path, *leftovers]:
            with contextlib.suppress(OSError):  # left there, it does no harm
                path.unlink()


def _state(net, sampler, risk):
    """All that a step of the training changes: tensors, numbers, lists and dicts."""
    judged = {name: getattr(risk, name).values() for name in JUDGED}
    _, words, *place = sampler.rng.get_state()
    return {
        "weights": net.module_.state_dict(),
        "optimizer": net.optimizer_.state_dict(),
        "history": _plain([{**row, "batches": []} for row in net.history]),
        "best_scores": _plain({n: c.best_score_ for n, c in _scoring(net)}),
        "schedule": {name: getattr(risk.schedule, name) for name in OF_SCHEDULE},
        "average": {name: getattr(risk.average, name) for name in OF_AVERAGE},
        "risk": {name: getattr(risk, name) for name in OF_RISK},
        "judged": judged,
        "n_left": sampler.n_left,
        "rng": (torch.from_numpy(words.astype(np.int64)), *place),
    }


def _restore(state, net, sampler, risk):
    """Put everything where :func:`_state` took it from."""
    net.module_.load_state_dict(state["weights"])
    net.optimizer_.load_state_dict(state["optimizer"])
    net.history.clear()
    net.history.extend(state["history"])
    for name, callback in _scoring(net):
        callback.best_score_ = state["best_scores"].get(name, callback.best_score_)
    vars(risk.schedule).update(state["schedule"])
    average = state["average"]
    if average["average"] is not None:
        parameters = list(net.module_.parameters())
        average = {**average, "average": _like(average["average"], parameters)}
    vars(risk.average).update(average)
    for name in OF_RISK:
        setattr(risk, name, _like(state["risk"][name], getattr(risk, name)))
    for name in JUDGED:
        mine, values = getattr(risk, name), state["judged"][name]
        values = {n: _like(v, getattr(mine, n)) for n, v in values.items()}
        setattr(risk, name, replace(mine, **values))
    words, *place = state["rng"]
    sampler.rng.set_state(("MT19937", words.numpy().astype(np.uint32), *place))
    sampler.n_left = state["n_left"]


def _scoring(net):
    """skorch's callbacks that mark the best epoch in the history."""
    return [(n, c) for n, c in net.callbacks_ if hasattr(c, "best_score_")]


def _like(value, model):
    """Tensors where those of the model are; they must have their shapes."""
    if isinstance(model, dict):
        return {name: _like(value[name], model[name]) for name in model}
    if isinstance(model, list):
        return [_like(*pair) for pair in zip(value, model, strict=True)]
    if value.shape != model.shape:
        raise ValueError(f"it has {value.shape} where {model.shape} is wanted.")
    return value.to(model.device, model.dtype)


def _plain(value):
    """Numbers, strings and lists and dicts of them; other things are left out."""
    if isinstance(value, dict):
        found = {name: _plain(v) for name, v in value.items()}
        return {name: v for name, v in found.items() if v is not _OTHER}
    if isinstance(value, list | tuple):
        found = [_plain(v) for v in value]
        return _OTHER if any(v is _OTHER for v in found) else found
    value = value.item() if isinstance(value, np.generic) else value
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else _OTHER


_OTHER = object()


def _write(path, state):
    """Let a new file take the place of `path`: half a file is never seen there."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    place = {"dir": path.parent, "prefix": f"{path.name}.", "suffix": ".part"}
    handle, part = tempfile.mkstemp(**place)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_checksum(payload))
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    with contextlib.suppress(OSError):  # some systems cannot open a folder
        _sync_folder(path.parent)


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path, fingerprint):
    """The state in a file; nothing in it is run."""
    content = path.read_bytes()
    checksum, payload = content[:32], content[32:]
    if _checksum(payload) != checksum:
        raise ValueError("it is not what was written.")
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    if state["fingerprint"] != fingerprint:
        raise ValueError("it is that of another fit.")
    return state


def _checksum(payload):
    return hashlib.blake2b(payload, digest_size=32).digest()
