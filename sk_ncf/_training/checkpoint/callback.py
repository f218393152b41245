"""The callback that saves the state of a fit, and restores it when the fit is run again.

A checkpoint holds what a training step changes. The fit rebuilds everything else from
its rows, parameters and random state. A fingerprint of these is part of the file name:
a fit never reads the checkpoint of another one, and many fits can share a folder.
"""

import contextlib
import copy
import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch import NeuralNet
from skorch.callbacks import Callback

from sk_ncf._files import SUFFIX
from sk_ncf._inputs.warn import warn
from sk_ncf._samples.sample import Sample
from sk_ncf._training.callbacks.model_selection import ModelSelection
from sk_ncf._training.checkpoint.files import read_checkpoint, write_checkpoint
from sk_ncf._training.checkpoint.fingerprint import hash_inputs
from sk_ncf._training.checkpoint.state import (
    restore_training_state,
    training_state,
)
from sk_ncf._training.minibatches import PairSampler
from sk_ncf._training.parameters import TransportParameters

__all__ = ["Checkpoint", "make_checkpoint"]

MIN_INTERVAL = 10.0  # seconds between two checkpoints


def make_checkpoint(
    estimator: TransportParameters,
    samples: Sequence[tuple[Sample | None, Sample | None]],
    pooled: dict[int, Any],
) -> "Checkpoint | None":
    """The checkpoint callback that `checkpoint_dir` asks for, or None.

    Parameters
    ----------
    estimator : NCFTransport
    samples : list of pairs of Sample or None
        Source and target of every class.
    pooled : dict
        Pooled moments of small classes.

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
            "checkpoint_dir needs a random_state that is an integer or a RandomState, "
            f"got {estimator.random_state!r}: only a repeatable fit can be continued."
        )
    folder = _writable_folder(estimator.checkpoint_dir)
    return Checkpoint(folder, hash_inputs(estimator, samples, pooled))


def _writable_folder(folder: str | os.PathLike[str]) -> Path:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Path(folder)
    except OSError as error:
        raise ValueError(
            "checkpoint_dir must be a folder that can be written to, got "
            f"{folder!r}: {error}"
        ) from error


class Checkpoint(Callback):
    """Saves the state of a fit after an epoch, at most every `MIN_INTERVAL` seconds.

    Parameters
    ----------
    folder : Path
    digest : hashlib object
        Hash of the parameters and samples of the fit.
    """

    path: Path
    fingerprint: str
    risk: ModelSelection

    def __init__(self, folder: Path, digest: "hashlib.blake2b") -> None:
        self.folder = folder
        self.digest: hashlib.blake2b | None = digest

    def resume(
        self,
        net: NeuralNet,
        sampler: PairSampler,
        risk: ModelSelection,
        rng: np.random.RandomState,
    ) -> None:
        """Continue from the checkpoint of this fit, if there is one.

        Parameters
        ----------
        net : NeuralNet
            About to be trained.
        sampler : PairSampler
        risk : ModelSelection
            With the risk of the initial weights.
        rng : RandomState
            Generator of the fit, in its last state before the training.
        """
        self.risk, self.write_failed = risk, False
        assert self.digest is not None  # a fit resumes once
        for value in net.module_.state_dict().values():
            value = value.detach().cpu().reshape(-1).view(torch.uint8)
            self.digest.update(value.numpy().data)
        self.digest.update(joblib.hash(rng.get_state(legacy=False)).encode())
        self.fingerprint = self.digest.hexdigest()
        self.digest = None  # cannot be pickled
        self.path = self.folder / f"ncf-{self.fingerprint}.checkpoint"
        self._restore(net, sampler)
        self.last_written = time.monotonic()

    def _restore(self, net: NeuralNet, sampler: PairSampler) -> None:
        initial = copy.deepcopy(training_state(net, sampler, self.risk))
        try:
            state = read_checkpoint(self.path, self.fingerprint)
            restore_training_state(state, net, sampler, self.risk)
        except FileNotFoundError:
            return
        except Exception as error:  # a damaged file may raise anything
            restore_training_state(initial, net, sampler, self.risk)
            warn(
                f"The checkpoint {str(self.path)!r} cannot be read, so the fit starts "
                f"from the beginning: {error}",
            )

    def on_epoch_end(
        self,
        net: NeuralNet,
        dataset_train: Any = None,
        dataset_valid: Any = None,
        **kwargs: Any,
    ) -> None:
        """Save the state, unless the last save is recent or the training ends here."""
        due = time.monotonic() - self.last_written >= MIN_INTERVAL
        if not due or self.risk.stop_reason is not None:
            return
        state = training_state(net, dataset_train, self.risk)
        try:
            write_checkpoint(self.path, {"fingerprint": self.fingerprint, **state})
        except OSError as error:
            self._warn_once(error)
        self.last_written = time.monotonic()

    def _warn_once(self, error: OSError) -> None:
        if not self.write_failed:
            warn(
                f"The checkpoint {str(self.path)!r} could not be written: {error}. "
                "Training continues, and the previous checkpoint, if any, is unchanged.",
            )
        self.write_failed = True

    def finish(self, stop_reason: str) -> None:
        """Remove the files of this fit, unless it was interrupted and may be continued."""
        if stop_reason == "interrupted":
            return
        # Temporary files of processes that were killed while they wrote.
        leftovers = self.folder.glob(f"{self.path.name}.*{SUFFIX}")
        for path in [self.path, *leftovers]:
            with contextlib.suppress(OSError):  # a file left behind does no harm
                path.unlink()
