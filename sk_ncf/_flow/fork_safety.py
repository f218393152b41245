"""Protection from what a forked process does not have: thread pools, and the GPU."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["gpu_lost_by_fork", "one_thread_after_fork"]

_surviving_thread: int | None = None  # the only thread that a fork copies
_gpu_in_use = False  # when this process, or one before it, was forked


def _remember_gpu() -> None:
    global _gpu_in_use
    _gpu_in_use = _gpu_in_use or torch.cuda.is_initialized()


def _remember_thread() -> None:
    global _surviving_thread
    _surviving_thread = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_remember_gpu, after_in_child=_remember_thread)


def gpu_lost_by_fork() -> bool:
    """Whether this process is a fork of one that had used the GPU.

    CUDA cannot be initialized again in such a process.
    """
    return _gpu_in_use and _surviving_thread is not None


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
