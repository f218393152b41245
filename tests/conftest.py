import pytest
import torch


def pytest_configure(config):
    # torch's forward-mode differentiation, on its first use (torch 2.13): the Hessian
    # of a cost that has no velocity of its own.
    ignored = r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning"
    config.addinivalue_line("filterwarnings", ignored)


@pytest.fixture
def float64():
    """Double precision by default: what the tests of the maths compute in.

    Not for the tests of the estimator, which must meet the default that users meet.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
