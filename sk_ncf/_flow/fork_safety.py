"""After a fork: the pools of threads are gone, but OpenMP would wait for them."""

import os
import threading
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["one_thread_after_fork"]

_survivor = None  # identity of the thread that a fork left over


def _remember():
    global _survivor
    _survivor = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember)


@contextmanager
def one_thread_after_fork():
    """One thread, where a fork has ended the others; a context and a decorator.

    The thread that survives a fork believes in the pool of its parent, and hangs the
    first time it hands out work. Threads that are started later have pools of their
    own, and so has a process that was started by other means: nothing changes there.

    Yields
    ------
    None
    """
    if threading.get_ident() != _survivor:
        yield
        return
    n_threads = torch.get_num_threads()
    with threadpool_limits(limits=1, user_api="openmp"):
        torch.set_num_threads(1)  # of MKL, too
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
