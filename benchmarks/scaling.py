"""How NCFTransport scales with rows and features, and its map against others' maps.

    python benchmarks/scaling.py                       # all three parts, 8 minutes
    python benchmarks/scaling.py --parts n --n 1000 100000
    python benchmarks/scaling.py --quick

Seconds are CPU seconds of one thread, so that other load on the machine does not count.
Every size has its own process, which reads its rows from a memory map in the page cache.
"Memory" is the peak resident memory above imports, which counts the pages of the map
that were read; "anonymous" is the part that is no file; that of the map is above its
input and result. 10^7 rows take 6 GB and 1.3 GB of disk. The plot is OUT/scaling.png.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits
from throughput import peak_memory, rows_per_second, samples

from sk_ncf import NCFTransport

HERE = Path(__file__).resolve().parent
STEPS, EPOCH = 300, 100  # of a fit, and between two looks at the held-out rows
ROWS, FEATURES = 10_000, 16  # of the part where the other one changes
AT_LEAST = {"POT": 100, "flow": 10}  # rows of ours in the time of one of theirs
SIZES = {
    "n": [10**3, 10**4, 10**5, 10**6, 10**7],
    "d": [2, 8, 32, 128, 512],
    "transform": [2, 8, 32],
}
QUICK = {"n": [10**3, 10**4, 10**5], "d": [2, 32], "transform": [2]}
COLUMNS = {  # header, unit
    "step": ("step, ms", 1e-3),
    "judged_step": ("+ judging", 1e-3),
    "prepare": ("prepare, s", 1),
    "data": ("data, MB", 1),
    "memory": ("memory", 1),
    "anonymous": ("anonymous", 1),
    "row": ("map a row, us", 1e-6),
    "map_memory": ("map, MB", 1),
}
TITLES = {
    "n": f"{FEATURES} features",
    "d": f"{ROWS:,} rows of each sample",
}
LABELS = {"n": "rows of each sample", "d": "features"}
SECONDS = {
    "step": "a step",
    "prepare": "before the\nfirst step",
    "map": "transform\nof all rows",
}
MEMORY = {  # that of transform, often none, is in the table only
    "memory": "fit, with pages\nof the map",
    "anonymous": "fit, anonymous",
    "data": "the data",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73")
LOOKS = [{"color": c, "marker": m} for c, m in zip(COLOURS, "os^", strict=True)]


def write_samples(folder, n, d, chunk=65536):
    """Write the files X.npy and Y.npy, some rows at a time."""
    sides = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (n, d))
        for name in "XY"
    ]
    for start in range(0, n, chunk):
        some = samples(min(chunk, n - start), d, np.float32, seed=start)
        for side, rows in zip(sides, some, strict=True):
            side[start : start + chunk] = rows


def anonymous_memory(pid="self"):
    """Resident memory of a process that is no file, in MB; nan where not known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(s.split()[1]) for s in lines if s.startswith("RssAnon")) / 1024
    except (OSError, StopIteration):
        return np.nan


class Ticks(Callback):
    """CPU time at the start of training, and after every step and every epoch."""

    def initialize(self):
        self.steps, self.epochs = [], []
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.start = time.process_time()

    def on_batch_end(self, net, **kwargs):
        self.steps.append(time.process_time())

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(time.process_time())


def report(**values):
    """Print what a phase took, and wait for who reads it."""
    values |= {"peak": peak_memory(), "held": anonymous_memory()}
    print(json.dumps(values), flush=True)
    time.sleep(0.1)


def fit_and_map(folder):
    """In a process of its own: three reports, on imports, the fit and the map."""
    # A small fit first: what is loaded lazily belongs to the imports.
    small, small_target = samples(500, 8, np.float32)
    NCFTransport(max_iter=5).fit(small, X_target=small_target).transform(small)
    X, Y = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in "XY")
    report()
    ticks, start = Ticks(), time.process_time()
    estimator = NCFTransport(max_iter=STEPS, callbacks=[ticks], random_state=0)
    estimator.fit(X, X_target=Y)
    # The same as the difference of a long and a short fit, without the noise of what
    # comes before the first step, which takes minutes where a step takes milliseconds.
    report(
        prepare=ticks.start - start,
        step=float(np.median(np.diff(ticks.steps))),
        judged_step=(ticks.epochs[-1] - ticks.epochs[0]) / (STEPS - EPOCH),
    )
    start = time.process_time()
    mapped = estimator.transform(X)
    report(row=(time.process_time() - start) / len(X), output=mapped.nbytes / 2**20)


def watched(command, every=0.02):
    """The reports of a command, and the peak anonymous memory before each of them.

    Watched from outside: the sort of many rows lets no other thread of its process run.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    reports, peaks = [], []

    def read():
        for line in process.stdout:
            reports.append(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    while process.poll() is None:
        peaks.append((len(reports), anonymous_memory(process.pid)))
        time.sleep(every)
    reader.join()
    if process.returncode:
        raise RuntimeError(f"{command} ended with status {process.returncode}.")
    return reports, [
        max(m for k, m in peaks if k == phase) for phase in range(len(reports))
    ]


def measured(n, d):
    """Seconds and MB of a fit to n rows of d features in each sample, and of the map."""
    with tempfile.TemporaryDirectory() as folder:
        write_samples(Path(folder), n, d)
        command = [sys.executable, __file__, "--in-process", folder]
        (imports, fit, end), peaks = watched(command)
    return {
        "step": fit["step"],
        "judged_step": fit["judged_step"],
        "prepare": fit["prepare"],
        "data": 2 * n * d * 4 / 2**20,
        "memory": fit["peak"] - imports["peak"],
        "anonymous": max(0.0, peaks[1] - max(peaks[0], imports["held"])),
        "row": end["row"],
        "map_memory": max(0.0, peaks[2] - fit["held"] - end["output"]),
        "map": end["row"] * n,
    }


def scale(name, sizes):
    """The table of one part: a line a size, then the exponents of the last step."""
    print(f"{name:<12}" + "".join(f"{header:>15}" for header, _ in COLUMNS.values()))
    rows = []
    for size in sizes:
        row = measured(size, FEATURES) if name == "n" else measured(ROWS, size)
        cells = (f"{row[c] / unit:>15.4g}" for c, (_, unit) in COLUMNS.items())
        print(f"{size:<12,}" + "".join(cells), flush=True)
        rows.append({"size": size} | row)
    if len(rows) > 1:
        before, last = ([row[c] or np.nan for c in COLUMNS] for row in rows[-2:])
        slopes = np.log(np.divide(last, before)) / np.log(sizes[-1] / sizes[-2])
        print(f"{f'~ {name}^':<12}" + "".join(f"{slope:>15.2f}" for slope in slopes))
    return rows


def pot_maps(X, Y):
    """POT's map of new rows as it is called by default, and all rows in one batch."""
    from with_pot import ExactPlan

    plan = ExactPlan("sqeuclidean", None, 0)
    plan.fit(X, Y, np.inf)
    pot = plan.transport
    yield "POT", 1024, pot.transform, lambda Z: pot.inverse_transform(Xt=Z)
    yield (
        "POT, one batch",
        4096,
        lambda Z: pot.transform(Xs=Z, batch_size=len(Z)),
        lambda Z: pot.inverse_transform(Xt=Z, batch_size=len(Z)),
    )


def flow_maps(X, Y):
    """Flow matching, as in its examples and in the arena's best setting.

    Trained for a few seconds: enough to time its equation, not to judge its map.
    """
    from with_torchcfm import FlowMatching

    for width in (64, 128):
        flow = FlowMatching("sqeuclidean", None, 0, width=width)
        flow.fit(X, Y, budget=5)
        yield f"flow, width {width}", 4096, flow.forward, flow.inverse


def peer_maps(X, Y):
    """Name, rows a call, map and inverse of the peers that are installed."""
    for maps in (pot_maps, flow_maps):
        try:
            yield from maps(X, Y)
        except ImportError as error:
            print(f"skipped: {error}")


def compare(_, sizes):
    """New rows per second, and rows of ours in the time of one row of a peer."""
    sys.path.insert(0, str(HERE / "peers"))
    speed = partial(rows_per_second, seconds=1.0, clock=time.process_time)
    header = ("new rows a second", "transform", "inverse", "ratio", "ratio")
    print("{:<30}{:>12}{:>12}{:>10}{:>16}".format(*header))
    for d in sizes:
        X, Y = samples(4096, d)
        new = samples(4096, d, seed=1)
        ours = NCFTransport(max_iter=20, random_state=0).fit(X, X_target=Y)
        entries = [("sk_ncf", 4096, ours.transform, ours.inverse_transform)]
        entries += peer_maps(X, Y)
        for dtype in (np.float64, np.float32):
            rates = []
            for name, n, *maps in entries:
                rows = [Z[:n].astype(dtype) for Z in new]
                rates.append(list(map(speed, maps, rows)))
                label = f"d={d:<3}{np.dtype(dtype).name} {name}"
                print(compared(label, name, rates[0], rates[-1]), flush=True)


def compared(label, name, ours, rates):
    """A line of the table."""
    text = f"{label:<30}" + "".join(f"{rate:>12,.0f}" for rate in rates)
    wanted = AT_LEAST.get(name.split(",")[0])
    if wanted is None:
        return text
    ratios = np.divide(ours, rates)
    verdicts = ("PASS" if ratio >= wanted else "FAIL" for ratio in ratios)
    pairs = zip(ratios, verdicts, strict=True)
    return text + " ".join(f"{r:>10.1f} {verdict}" for r, verdict in pairs)


def draw(results, path):
    """Seconds above, memory below; a column of panels a part."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    width = 3.2 * len(results) + 1.8
    shape = {"figsize": (width, 5.6), "squeeze": False}
    figure, axes = plt.subplots(2, len(results), sharey="row", sharex="col", **shape)
    for (name, rows), column in zip(results.items(), axes.T, strict=True):
        for ax, lines in zip(column, (SECONDS, MEMORY), strict=True):
            panel(ax, rows, lines)
        column[0].set_title(TITLES[name])
        column[1].set_xlabel(LABELS[name])
    for row, label in zip(axes, ("CPU seconds, one thread", "MB"), strict=True):
        row[0].set_ylabel(label)
        row[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def panel(ax, rows, lines):
    """Some columns of the table against the sizes."""
    for (key, label), look in zip(lines.items(), LOOKS, strict=False):
        points = [(row["size"], row[key] or np.nan) for row in rows]
        ax.plot(*zip(*points, strict=True), label=label, **look)
    sizes = [row["size"] for row in rows]
    ax.set(xscale="log", yscale="log")
    if sizes[-1] > 1000:
        ax.set_xticks(sizes, [f"$10^{{{np.log10(size):.0f}}}$" for size in sizes])
    else:
        ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xticks([], minor=True)
    ax.grid(alpha=0.3)


PARTS = {"n": scale, "d": scale, "transform": compare}


def main(argv=None):
    """Run the parts asked for, and draw the first two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--n", nargs="+", type=int, help="rows of the part n")
    parser.add_argument("--d", nargs="+", type=int, help="features of the part d")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    parser.add_argument("--in-process", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if options.in_process:
            fit_and_map(options.in_process)
            return
        sizes = QUICK if options.quick else SIZES
        results = {}
        for name in options.parts:
            own = getattr(options, name, None)
            results[name] = PARTS[name](name, own or sizes[name])
            print()
    results = {name: rows for name, rows in results.items() if rows}
    if results:
        options.out.mkdir(parents=True, exist_ok=True)
        draw(results, options.out / "scaling.png")


if __name__ == "__main__":
    main()
