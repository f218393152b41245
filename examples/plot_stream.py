"""
Large data: partial_fit on a data loader and on a stream
========================================================

If the rows do not fit in memory, or arrive over time, ``partial_fit`` learns from one part
of them after the other.
"""

# %%
# Data
# ----
# A problem with a known map, in eight features.

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

n, part_size, passes = 60_000, 4_000, 3
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, part_size, passes = 1_000, 500, 1
# sphinx_gallery_end_ignore
problem = make_convex_map("sqeuclidean", n, 8, random_state=0)
x_new, exact = problem.sample_pairs(2_000, random_state=1)


def error(transport):
    """L2-UVP: the percentage of the target's variance that the map gets wrong."""
    return l2_uvp(transport.transform(x_new), exact)


# %%
# A data loader
# -------------
# Any iterable of source and target rows will do. Here a loader shuffles both samples anew
# in every pass; which target row comes with which source row does not matter. Parts of
# some thousand rows are best: ``partial_fit`` draws its own minibatches from a part, and
# evaluates the map once per call.

x, y = (torch.from_numpy(rows).float() for rows in (problem.X, problem.X_target))
loader = DataLoader(TensorDataset(x, y), batch_size=part_size, shuffle=True)
torch.manual_seed(0)  # for the shuffling of the loader

loaded, loaded_errors = NCFTransport(random_state=0), []
for _ in range(passes):
    for source, target in loader:
        loaded.partial_fit(source, X_target=target)
        loaded_errors.append(error(loaded))
print(f"loader: {len(loaded_errors)} parts, error {loaded_errors[-1]:.2f} %")

# %%
# A stream
# --------
# A generator makes new rows, as a sensor would. Only one part of them is in memory.


def new_rows(n_parts):
    """New source and target rows, one part at a time."""
    for part in range(n_parts):
        source, _ = problem.sample_pairs(part_size, random_state=100 + 2 * part)
        _, target = problem.sample_pairs(part_size, random_state=101 + 2 * part)
        yield source.astype(np.float32), target.astype(np.float32)


stream, stream_errors = NCFTransport(random_state=0), []
for source, target in new_rows(len(loaded_errors)):
    stream.partial_fit(source, X_target=target)
    stream_errors.append(error(stream))
print(f"stream: {len(stream_errors)} parts, error {stream_errors[-1]:.2f} %")

# %%
# The error falls as rows arrive
# ------------------------------
# The first point is the map after one part.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
seen = part_size * np.arange(1, len(loaded_errors) + 1)
ax.plot(seen, loaded_errors, "o-", color="#0072B2", label=f"loader, {passes} passes")
ax.plot(seen, stream_errors, "s-", color="#E69F00", label="stream, each row once")
ax.set(xlabel="rows seen of each sample", ylabel="L2-UVP (%)", yscale="log")
ax.yaxis.set_major_formatter("{x:g}")
ax.yaxis.set_minor_formatter("{x:g}")
ax.legend(frameon=False)
plt.show()
