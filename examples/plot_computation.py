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
# their nearest training row. Every fit has a process of its own, that of
# ``computation/one_fit.py`` beside this file, and one thread. Set ``SK_NCF_QUICK=1``
# for a short and inaccurate run, and ``--save PATH`` to write the picture instead of
# showing it.

import argparse
import importlib.util
import json
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
from computation import one_fit

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

sizes = [200] if quick else [512, 1024, 2048, 4096]
methods = ["NCFTransport"]
if importlib.util.find_spec("ot"):
    methods += ["exact plan"] if quick else ["exact plan", "Sinkhorn", "linear"]

# %%
# Measurements
# ------------
# A problem in eight dimensions with a known map. Seconds to fit and milliseconds to map
# 1,000 new rows both ways, of the processor, so that what else it does counts little;
# peak memory of the fit above that of the rows and of what importing loads (PyTorch and
# SciPy load more at the first fit, which counts); what has to be kept to map rows both
# ways; L2-UVP of new rows forward and inverse.

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measured(name, n):
    """Numbers of one fit, made in a process of its own."""
    done = subprocess.run(
        [sys.executable, one_fit.__file__, name, str(n)],
        env=os.environ | dict.fromkeys(THREADS, "1"),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


results = {}
heads = ("fit, s", "fit, MB", "map, ms", "kept, kB", "forward %", "inverse %")
print(f"{'':<13}{'rows':>6}" + "".join(f"{head:>10}" for head in heads))
for name in methods:
    results[name] = np.array([measured(name, n) for n in sizes])
    for n, row in zip(sizes, results[name], strict=True):
        cells = "".join(
            f"{v:>10.{p}f}" for v, p in zip(row, (2, 1, 1, 0, 2, 2), strict=True)
        )
        print(f"{name:<13}{n:>6}{cells}")

# %%
# The picture
# -----------

COLOURS, MARKERS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), ("o", "s", "^", "D")
figure, axes = plt.subplots(1, 5, figsize=(9.6, 3.2), layout="constrained")
titles = ("fit (s)", "fit, peak (MB)", "map 1,000 rows (ms)", "kept (kB)", "UVP (%)")
for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
    styles = zip(results.items(), COLOURS, MARKERS, strict=False)  # POT may be missing
    for (name, values), colour, marker in styles:
        ax.plot(sizes, values[:, k], color=colour, marker=marker, ms=4, label=name)
    ax.set_title(title, fontsize=10)
    ax.set(xscale="log", yscale="log" if k < 4 else "linear", xlabel="rows")
    ax.set_xticks(sizes, [str(n) for n in sizes], fontsize=8, rotation=45)
    ax.minorticks_off()
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
