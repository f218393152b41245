"""Protection from hanging in a forked process, whose thread pools no longer exist."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["one_thread_after_fork"]

_surviving_thread: int | None = None  # the only thread that a fork copies


def _remember_thread() -> None:
    global _surviving_thread
    _surviving_thread = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_thread)


@contextmanager
def one_thread_after_fork() -> Iterator[None]:
    """Compute in one thread, if this is the thread that survived a fork.

    That thread still refers to the OpenMP pool of the parent process, whose threads the
    child does not have. It would wait for them forever. Threads that are started later
    have their own pools. Nothing changes for them, nor in a process that was not forked.
    This is a context manager and a decorator.

    Yields
    ------
    None
    """
    if threading.get_ident() != _surviving_thread:
        yield
        return
    n_threads = torch.get_num_threads()
    with threadpool_limits(limits=1, user_api="openmp"):
        torch.set_num_threads(1)  # limits MKL, too
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
