"""One fit of one method, in this process alone; prints what was measured as JSON.

`plot_computation.py` calls it with the name of a method and a number of rows, so that
the peak memory of a fit is its own.
"""

import json
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

quick = os.environ.get("SK_NCF_QUICK") == "1"
RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Neural:
    """NCFTransport, called as POT's classes are."""

    def fit(self, Xs, Xt):
        """Train."""
        self.map = NCFTransport(max_iter=10 if quick else "auto", random_state=0)
        self.map.fit(Xs, X_target=Xt)
        return self

    def transform(self, Xs):
        """T(x)."""
        return self.map.transform(Xs)

    def inverse_transform(self, Xt):
        """T^-1(y)."""
        return self.map.inverse_transform(Xt)

    def needed(self):
        """What has to be stored to map rows both ways."""
        return self.map.flow_, self.map.preconditioners_


def needed(method):
    """The same of POT's: the rows and the plan (sparse if that is less), or matrices."""
    if hasattr(method, "needed"):
        return method.needed()
    if hasattr(method, "coupling_"):
        plan = method.coupling_
        sparse = np.count_nonzero(plan) < plan.size / 4
        return method.xs_, method.xt_, csr_array(plan) if sparse else plan
    return method.A_, method.B_, method.A1_, method.B1_


def made(name):
    """The method of a name."""
    if name == "NCFTransport":
        return Neural()
    from ot.da import EMDTransport, LinearTransport, SinkhornTransport

    if name == "exact plan":
        return EMDTransport(max_iter=10_000_000)
    if name == "Sinkhorn":
        # Entropy at a tenth of the median cost: less takes ever more iterations.
        return SinkhornTransport(reg_e=0.1, norm="median", max_iter=500)
    return LinearTransport()


def peak_memory():
    """Peak resident memory of this process, in MB."""
    # Linux starts ru_maxrss of a new program at the size of the one that started it.
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return next(int(s.split()[1]) for s in lines if s.startswith("VmHWM")) / 1024
    import resource  # not on Windows

    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak():
    """Start the peak anew, where the system can; what importing took is past."""
    if RESET.exists():
        RESET.write_text("5")


def fitted(name, X, Y):
    """The method, processor seconds and peak MB of its fit above rows and imports."""
    method = made(name)
    forget_peak()
    before, start = peak_memory(), time.process_time()
    # No small fit before: what it loads and allocates, this one would find there.
    method.fit(Xs=X, Xt=Y)
    return method, time.process_time() - start, peak_memory() - before


def measured(name, n):
    """Seconds and MB of the fit, ms of mapping, stored kB, error there and back."""
    problem = make_convex_map("sqeuclidean", n, 8, random_state=0)
    x, tx = problem.sample_pairs(1000, random_state=1)
    method, seconds, memory = fitted(name, problem.X, problem.X_target)
    start = time.process_time()
    there, back = method.transform(Xs=x), method.inverse_transform(Xt=tx)
    milliseconds = 1000 * (time.process_time() - start)
    stored = len(pickle.dumps(needed(method))) / 1024
    errors = l2_uvp(there, tx), l2_uvp(back, x)
    return seconds, memory, milliseconds, stored, *errors


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
