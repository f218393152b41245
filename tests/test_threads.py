"""One fitted map, used by many threads at once and by a forked process."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fits import quick, two_samples

THREADS, CALLS = 8, 10_000


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


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"
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
