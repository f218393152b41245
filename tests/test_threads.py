"""One fitted map, used by many threads at once and by a forked process."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import quick, two_samples

from sk_ncf._flow import fork_safety
from sk_ncf._training.devices import resolve_device

THREADS, CALLS = 8, 1_600


@pytest.mark.slow
def test_many_threads_get_what_one_gets():
    """Rows of two types: no constant of the cost converted for one may reach another."""
    X, Y = two_samples(16 * THREADS)
    transport = quick(cost="lp", ensemble_size=1).fit(X, X_target=Y)
    rows = [
        part.astype(dtype)
        for part, dtype in zip(
            X.reshape(THREADS, 16, 2), [np.float64, np.float32] * 4, strict=True
        )
    ]
    wanted = list(map(transport.transform, rows))

    def alike(k):
        return sum(
            np.array_equal(transport.transform(rows[k]), wanted[k])
            for _ in range(CALLS // THREADS)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(alike, range(THREADS))) == CALLS


@pytest.mark.slow
@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"
)
@pytest.mark.skipif(
    torch.accelerator.is_available(), reason="torch trains in no fork beside a GPU"
)
def test_a_forked_process_maps_and_fits_as_its_parent_does():
    script = Path(__file__).with_name("forked.py")
    result = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.stdout == "alike\n", result.stderr


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"
)
@pytest.mark.parametrize("used", [False, True])
def test_a_fork_of_a_process_that_has_used_the_gpu_maps_on_the_cpu(monkeypatch, used):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(fork_safety, "_gpu_in_use", False)
    assert resolve_device("auto").type == "cuda"
    ours, theirs = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:  # no cleanup of pytest's in this process
        try:
            with pytest.raises(ValueError, match="device must be"):
                resolve_device("cuda:0")
            theirs.send(resolve_device("auto").type)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert ours.poll(0)
    assert ours.recv() == ("cpu" if used else "cuda")
    assert resolve_device("auto").type == "cuda"  # nothing changes for the parent
