"""Work for several cores: forks of this process, which end with what they return.

A fork has all that this process has, without a copy of it, and returns its results
through a pipe. It lives as long as one call, so that nothing is left behind after an
error or an interruption.
"""

import multiprocessing
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import joblib
import numpy as np
import torch
from joblib.parallel import get_active_backend

from sk_ncf._training.net import one_thread

__all__ = ["forked_map", "usable_jobs"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_jobs(n_jobs: int | None) -> int:
    """The number of processes that a fit may use, this one included.

    It is 1 in the workers of joblib, such as those of a grid search, which use the cores
    already; in processes that may have no children; and where a fork is not safe: on other
    systems than Linux; in other threads than the main one, since a fork would wait for
    locks that the other threads hold; and beside a GPU, whose threads for the backward
    pass a fork does not have.

    Parameters
    ----------
    n_jobs : int or None
        As in scikit-learn. -1 is the number of cores; None is 1, or what
        :func:`joblib.parallel_config` says.
    """
    nested = bool(get_active_backend()[0].nesting_level)
    if nested or multiprocessing.current_process().daemon:
        return 1
    if threading.current_thread() is not threading.main_thread():
        return 1
    if not sys.platform.startswith("linux") or torch.accelerator.is_available():
        return 1
    return int(joblib.effective_n_jobs(n_jobs))


def forked_map(
    function: Callable[[Item], Result], items: Sequence[Item], n_jobs: int
) -> list[Result]:
    """The values of a function, computed in `n_jobs` processes of one thread each.

    This process computes the first part of the values. What the function changes in
    another process is lost.

    Parameters
    ----------
    function : callable
    items : sequence
    n_jobs : int
        1 calls the function here, with the threads of this process.

    Raises
    ------
    Exception
        What the function raises, in this process or another.
    RuntimeError
        If a process was killed.
    """
    parts = np.array_split(np.arange(len(items)), min(n_jobs, max(1, len(items))))
    if len(parts) == 1:
        return [function(item) for item in items]

    def values(part: np.ndarray) -> list[Result]:
        return [function(items[i]) for i in part]

    children: list[_Child] = []
    with one_thread():
        try:
            for part in parts[1:]:
                children.append(_Child(values, part))
            found = values(parts[0])
            for child in children:
                found += child.result()
            return found
        finally:
            for child in children:
                child.end()


class _Child:
    """A fork that computes ``function(argument)``."""

    def __init__(self, function: Callable[[Any], Any], argument: Any) -> None:
        context = multiprocessing.get_context("fork")
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_send, args=(sender, function, argument), daemon=True
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forks of a process that has threads. Those of torch and
            # of OpenMP are not used by the child.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        sender.close()

    def result(self) -> Any:
        """Wait for the value; raise what the function raised."""
        try:
            value, error = pickle.loads(self.receiver.recv_bytes())
        except EOFError:
            self.process.join()
            raise RuntimeError(
                "A process of a fit with n_jobs > 1 was ended from outside (exit code "
                f"{self.process.exitcode}). If memory is short, set n_jobs lower."
            ) from None
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """Kill the process, if it has not ended; it holds nothing that it must release."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.receiver.close()


def _send(sender: Any, function: Callable[[Any], Any], argument: Any) -> None:
    """Send the value of the function, or the exception that it raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    try:
        content = pickle.dumps((function(argument), None))
    except BaseException as error:
        content = _pickled_error(error)
    sender.send_bytes(content)


def _pickled_error(error: BaseException) -> bytes:
    try:
        content = pickle.dumps((None, error))
        pickle.loads(content)
    except Exception:  # an exception of the user's may fail to be pickled in any way
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
    return content
