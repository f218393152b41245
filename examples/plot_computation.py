"""
What a map costs: time and memory
=================================

A transport plan is a table of source rows by target rows; a map is a function. The
plan is solved for quickly while rows are few, and grows with their square; new rows
have to be looked up in it. Training a network takes longer at first, and then neither
its size nor the time to map a row depends on the number of rows it was trained on.
"""

# %%
# The methods
# -----------
# All give a map and a way back. Those of POT (``pip install pot``) map new rows by
# their nearest training row. Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and
# ``--save PATH`` to write the picture instead of showing it.

import argparse
import os
import pickle
import time

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import csr_array

from sk_ncf import NCFTransport
from sk_ncf.datasets import l2_uvp, make_convex_map

try:
    from ot.da import EMDTransport, LinearTransport, SinkhornTransport
except ImportError:
    EMDTransport = None

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"
sizes = [100, 200] if quick else [512, 1024, 2048, 4096]


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
    if hasattr(method, "coupling_"):
        plan = method.coupling_
        sparse = np.count_nonzero(plan) < plan.size / 4
        return method.xs_, method.xt_, csr_array(plan) if sparse else plan
    return method.A_, method.B_, method.A1_, method.B1_


methods = {"NCFTransport": Neural}
if EMDTransport is not None:
    methods["exact plan"] = lambda: EMDTransport(max_iter=10_000_000)
    # Entropy at a tenth of the median cost: less takes ever more iterations.
    methods["Sinkhorn"] = lambda: SinkhornTransport(
        reg_e=0.1, norm="median", max_iter=500
    )
    methods["linear"] = LinearTransport

# %%
# Measurements
# ------------
# A problem in eight dimensions with a known map. Seconds to fit; milliseconds to map
# 1,000 new rows both ways; kilobytes that have to be stored for that; L2-UVP of new
# rows forward and inverse. One thread where the libraries are told so.


def measure(method, n):
    """Seconds, milliseconds per 1,000 rows, kilobytes, error there and back."""
    problem = make_convex_map("sqeuclidean", n, 8, random_state=0)
    x, tx = problem.fresh_pairs(1000, random_state=1)
    start = time.perf_counter()
    fitted = method().fit(Xs=problem.X, Xt=problem.X_target)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    mapped = fitted.transform(Xs=x), fitted.inverse_transform(Xt=tx)
    milliseconds = 1000 * (time.perf_counter() - start)
    parts = fitted.needed() if hasattr(fitted, "needed") else needed(fitted)
    size = len(pickle.dumps(parts)) / 1024
    return seconds, milliseconds, size, l2_uvp(mapped[0], tx), l2_uvp(mapped[1], x)


results = {}
heads = ("fit, s", "map, ms", "stored, kB", "forward %", "inverse %")
print(f"{'':<14}{'rows':>7}" + "".join(f"{head:>12}" for head in heads))
for name, method in methods.items():
    results[name] = np.array([measure(method, n) for n in sizes])
    for n, row in zip(sizes, results[name], strict=True):
        cells = "".join(
            f"{v:>12.{p}f}" for v, p in zip(row, (2, 1, 0, 2, 2), strict=True)
        )
        print(f"{name:<14}{n:>7}{cells}")

# %%
# The picture
# -----------

COLOURS, MARKERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), ("o", "s", "^", "D")
figure, axes = plt.subplots(1, 4, figsize=(8.4, 3.2), layout="constrained")
titles = ("fit (s)", "map 1,000 rows (ms)", "stored (kB)", "error, L2-UVP (%)")
for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
    styles = zip(results.items(), COLOURS, MARKERS, strict=False)  # POT may be missing
    for (name, values), colour, marker in styles:
        ax.plot(sizes, values[:, k], color=colour, marker=marker, ms=4, label=name)
    ax.set_title(title, fontsize=10)
    ax.set(xscale="log", yscale="log" if k < 3 else "linear", xlabel="rows")
    ax.set_xticks(sizes, [str(n) for n in sizes], fontsize=9)
    ax.minorticks_off()
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
