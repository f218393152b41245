"""
Rows that come in parts: a data loader, and a stream
====================================================

Where the rows do not fit in memory, or are not there yet, ``partial_fit`` learns from one
part of them after the other.
"""

# %%
# Data
# ----
# A map that is known, between rows of eight features. Set ``SK_NCF_QUICK=1`` for a short
# and inaccurate run, and ``--save PATH`` to write the picture instead of showing it.

import argparse
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

n, size = (3_000, 1_000) if quick else (60_000, 4_000)
problem = make_convex_map("sqeuclidean", n, 8, random_state=0)
fresh, exact = problem.sample_pairs(2_000, random_state=1)
small = {"hidden_layer_sizes": (16, 16)} if quick else {}


def error(transport):
    """Share of the target's variance that the map gets wrong, in percent."""
    return l2_uvp(transport.transform(fresh), exact)


# %%
# A data loader
# -------------
# Any iterable of pairs of source and target rows does: here a loader that shuffles both
# sides anew in every pass. Its parts need not be as small as the minibatches of the
# training, which ``partial_fit`` draws itself (`batch_size`): every call also judges the
# map on the rows that it holds out, so that some thousand rows are a good part. Which
# target row comes with which source row does not matter.

x, y = (torch.from_numpy(rows).float() for rows in (problem.X, problem.X_target))
loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True)

loaded, loaded_errors = NCFTransport(random_state=0, **small), []
torch.manual_seed(0)  # of the loader's shuffling
for _ in range(1 if quick else 3):
    for source, target in loader:
        loaded.partial_fit(source, X_target=target)
        loaded_errors.append(error(loaded))
print(f"loader: {len(loaded_errors)} parts, error {loaded_errors[-1]:.2f} %")

# %%
# A stream
# --------
# A generator makes rows that are never seen again, as a sensor would. No more than one
# part of them is ever in memory.


def rows_to_come(n_parts):
    """Fresh source and target rows, a part at a time."""
    for part in range(n_parts):
        source, _ = problem.sample_pairs(size, random_state=100 + 2 * part)
        _, target = problem.sample_pairs(size, random_state=101 + 2 * part)
        yield source.astype(np.float32), target.astype(np.float32)


stream, stream_errors = NCFTransport(random_state=0, **small), []
for source, target in rows_to_come(len(loaded_errors)):
    stream.partial_fit(source, X_target=target)
    stream_errors.append(error(stream))
print(f"stream: {len(stream_errors)} parts, error {stream_errors[-1]:.2f} %")

# %%
# What has been learnt
# --------------------
# The map of the first part is close to the one that training starts from; the more rows
# have come, the better it is.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
seen = size * np.arange(1, len(loaded_errors) + 1)
ax.plot(seen, loaded_errors, marker="o", label="data loader, in passes")
ax.plot(seen, stream_errors, marker="s", label="stream, every row once")
ax.set(xlabel="rows seen, a side", ylabel="L2-UVP, %", yscale="log")
ax.legend(frameon=False)
if options.save:
    figure.savefig(options.save, dpi=120)
else:
    plt.show()
