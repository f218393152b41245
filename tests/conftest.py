import json
import signal
import subprocess
import sys

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


@pytest.fixture
def ctrl_c():
    """Python's own handler of Ctrl-C, which test workers and background jobs lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


NEW_PROCESS = """
import json, sys, warnings
import sk_ncf  # any warning is an error
names = [n for n in dir(sk_ncf) if n[0] != "_"]
imported = list(sys.modules)
warnings.simplefilter("ignore")
rows = [[0.1 * i, (i % 7) ** 2] for i in range(40)]
sk_ncf.NCFTransport(max_iter=2, random_state=0).fit(rows).transform(rows)
after_fit = list(sys.modules)
small = {"max_iter": 200, "hidden_layer_sizes": (8, 8), "random_state": 0}
target = [[b + 1, a] for a, b in rows]
sk_ncf.NCFTransport(verbose=2, **small).fit(rows, X_target=target)
found = {"names": names, "imported": imported, "after_fit": after_fit}
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="session")
def new_process(tmp_path_factory):
    """What a process sees that imports the package, fits, and fits with `verbose=2`.

    Public names, modules after the import, modules after the first fit, and all that was
    printed. A process of its own takes seconds; it serves several tests.
    """
    path = tmp_path_factory.mktemp("new_process") / "found.json"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", NEW_PROCESS, path],
        capture_output=True,
        text=True,
        check=True,
    )
    return {**json.loads(path.read_text()), "printed": run.stdout}
