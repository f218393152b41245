"""For tests and doctests alike: a local seed, and no window."""

import pytest
import torch


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
