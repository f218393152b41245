"""For tests and doctests alike: a local seed, and no window."""

import os
import tempfile
from pathlib import Path

# Before torch is imported: several processes share the cores, and more threads would only
# wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

# hypothesis keeps what it reads in the sources; not among them.
KEPT = Path(tempfile.gettempdir(), "sk_ncf-hypothesis")
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(KEPT))


@pytest.fixture(autouse=True)
def _local_seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def pytest_configure(config):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
