"""
Scaling: fit time, memory and error as the sample grows
=======================================================

A transport plan is a table of source rows by target rows; a map is a function. The plan
of few rows is found quickly, but its time and memory grow with the square of their number
or faster, and new rows have to be looked up in it. Training a network takes longer here,
and its memory hardly grows. The time to map a row does not grow with the rows either,
except for one step: an ensemble of four networks is stored as one network if that is
as accurate, and as four otherwise (figure 2 of the paper).
"""

# %%
# One fit in a process of its own
# -------------------------------
# All methods give a map and its inverse, for a problem with a known map in eight
# dimensions. POT's map a new row as its nearest training row. Every fit runs in a new
# process on one thread, so that its peak memory is its own. Measured are CPU seconds and
# peak memory of the fit, CPU milliseconds to map 1,000 new rows both ways, the size of
# what must be stored to do so, and L2-UVP, the percentage of variance that is wrong.

import json
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd

ONE_FIT = '''
import json, pickle, resource, sys, time
from pathlib import Path
from ot.da import EMDTransport, LinearTransport, SinkhornTransport
from scipy.sparse import csr_array
from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

def peak_memory():
    """Peak resident memory of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss starts at the size of the parent
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

method, n = json.load(sys.stdin)
problem = make_convex_map("sqeuclidean", n, 8, random_state=0)
X, Y = problem.X, problem.X_target
x, exact = problem.sample_pairs(1000, random_state=1)
before, start = peak_memory(), time.process_time()
if method == "NCFTransport":
    t = NCFTransport(random_state=0).fit(X, X_target=Y)
    forward, inverse = t.transform, t.inverse_transform
    stored = t.flow_, t.preconditioners_
else:
    t = {
        "exact plan": EMDTransport(max_iter=10_000_000),
        "Sinkhorn": SinkhornTransport(reg_e=0.1, norm="median", max_iter=500),
        "linear": LinearTransport(),
    }[method].fit(Xs=X, Xt=Y)
    forward, inverse = (lambda x: t.transform(Xs=x)), (lambda y: t.inverse_transform(Xt=y))
    if method == "linear":
        stored = t.A_, t.B_, t.A1_, t.B1_
    else:
        plan = t.coupling_
        stored = X, Y, csr_array(plan) if method == "exact plan" else plan
seconds, memory = time.process_time() - start, peak_memory() - before
start = time.process_time()
mapped, mapped_back = forward(x), inverse(exact)
print(json.dumps({
    "fit, s": seconds,
    "fit, MB": memory,
    "map, ms": 1000 * (time.process_time() - start),
    "stored, kB": len(pickle.dumps(stored)) / 1024,
    "forward, %": l2_uvp(mapped, exact),
    "inverse, %": l2_uvp(mapped_back, x),
}))
'''

# %%
# The measurements
# ----------------

methods = ["NCFTransport", "exact plan", "Sinkhorn", "linear"]
sizes = [512, 1024, 2048, 4096]
# sphinx_gallery_start_ignore
if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    methods, sizes = ["NCFTransport", "exact plan"], [100]
# sphinx_gallery_end_ignore
threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
measured = {}
for method in methods:
    for n in sizes:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ONE_FIT],
            input=json.dumps([method, n]),
            env=os.environ | dict.fromkeys(threads, "1"),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        measured[method, n] = json.loads(done.stdout.splitlines()[-1])
table = pd.DataFrame(measured).T.rename_axis(["method", "rows"])
print(table.round(2).to_string())

# %%
# Growth with the number of rows
# ------------------------------

COLOURS, MARKERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), "os^D"
figure, axes = plt.subplots(2, 3, figsize=(8.4, 5.2), layout="constrained")
for ax, measure in zip(axes.flat, table, strict=True):
    for method, colour, marker in zip(methods, COLOURS, MARKERS, strict=False):
        values = table.loc[method, measure]
        ax.plot(sizes, values, color=colour, marker=marker, ms=5, label=method)
    scale = "linear" if measure.endswith("%") else "log"
    ax.set(title=measure, xscale="log", yscale=scale, xlabel="rows")
    ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
    ax.minorticks_off()
handles, labels = ax.get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
plt.show()
