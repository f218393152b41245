"""Speed, memory and overhead of the default NCFTransport, on one thread.

python benchmarks/throughput.py                      # all six tables, 3 minutes
python benchmarks/throughput.py --parts memory step --check
python benchmarks/throughput.py --parts gpu gpu_fits # where there is one
"""

import argparse
import copy
import importlib.util
import math
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from sk_ncf import NCFTransport
from sk_ncf._training import compression, cuda_graphs, results
from sk_ncf._training.devices import move_to_device
from sk_ncf._training.soap import SOAP
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

# transform and inverse_transform: rows per second over those of the ensemble, and of POT.
MAPPING_ABOVE = (3, 10)
POT_ABOVE = (100, 100)
MEMORY_BELOW = 300  # MB of a fit above its data
OVERHEAD_BELOW = 0.10  # of skorch, over a bare loop
# Features, width and minibatch.
SIZES_ON_GPU = (
    (2, 64, 256),
    (8, 96, 256),
    (32, 128, 256),
    (8, 192, 256),
    (64, 256, 1024),
)
BOUND_BELOW = 2  # a step over its matrix products, from width 128 on


def samples(n, d, dtype=np.float64, seed=0):
    """Two samples, the second stretched and moved."""
    rng = np.random.default_rng(seed)
    X, Y = (rng.standard_normal((n, d), dtype=np.float32) for _ in range(2))
    Y += 0.3 * Y**2 + 1
    return X.astype(dtype, copy=False), Y.astype(dtype, copy=False)


def rows_per_second(function, X, seconds=1.5, clock=time.perf_counter):
    """The best of the calls that fit into the time, at least three."""
    function(X[:100])
    times = []
    while len(times) < 3 or sum(times) < seconds:
        start = clock()
        function(X)
        times.append(clock() - start)
    return len(X) / min(times)


def fitted_pair(n, d):
    """A default fit of a network, and the ensemble that it was before compression."""
    problem = make_convex_map(n_samples=n, n_features=d, random_state=0)
    ensembles = []

    def compressed(flow, *args):
        ensembles.append(flow)
        return compression.compressed(flow, *args)

    results.compressed, original = compressed, results.compressed
    try:
        estimator = NCFTransport(potential="network", random_state=0)
        estimator.fit(problem.X, X_target=problem.X_target)
    finally:
        results.compressed = original
    ensemble = copy.copy(estimator)
    ensemble.flow_ = ensembles[0] if ensembles else estimator.flow_
    return problem, estimator, ensemble


def throughput():
    """Rows per second of both directions, by number of features and by type."""
    print(
        f"{'rows per second':<18}{'map':>10}{'transform':>12}{'inverse_transform':>20}"
    )
    for d in (2, 4, 8, 32):
        problem, estimator, ensemble = fitted_pair(1024, d)
        names = {"ensemble": ensemble}
        if estimator.flow_ is not ensemble.flow_:
            names["network"] = estimator
        X, Y = problem.sample_pairs(20_000, random_state=1)
        for dtype in (np.float32, np.float64):
            for kind, fitted in names.items():
                forward, inverse = both_ways(fitted, X.astype(dtype), Y.astype(dtype))
                name = f"d={d} {np.dtype(dtype).name}"
                print(
                    f"{name:<18}{kind:>10}{forward:>12,.0f}{inverse:>20,.0f}",
                    flush=True,
                )
    return True


def both_ways(estimator, X, Y):
    """Rows per second of transform and of inverse_transform."""
    return tuple(
        rows_per_second(function, Z)
        for function, Z in (
            (estimator.transform, X),
            (estimator.inverse_transform, Y),
        )
    )


def mapping(n=4096, d=4):
    """One network against the ensemble that it replaced, and against POT's map."""
    problem, estimator, ensemble = fitted_pair(n, d)
    X, Y = problem.sample_pairs(20_000, random_state=1)
    found = both_ways(estimator, X, Y)
    others = {"the ensemble": (both_ways(ensemble, X, Y), MAPPING_ABOVE)}
    if importlib.util.find_spec("ot"):
        others["POT's out-of-sample map"] = pot(problem, X, Y), POT_ABOVE
    print(f"rows per second, {n:,} rows to fit, d = {d}, float64")
    print(f"{'':<28}{'transform':>12}{'inverse':>12}{'ratios':>16}{'at least':>14}")
    print(f"{'NCFTransport':<28}{found[0]:>12,.0f}{found[1]:>12,.0f}")
    passed = True
    for name, (rates, wanted) in others.items():
        ratios = [a / b for a, b in zip(found, rates, strict=True)]
        passed &= all(a >= b for a, b in zip(ratios, wanted, strict=True))
        print(
            f"{name:<28}{rates[0]:>12,.0f}{rates[1]:>12,.0f}"
            f"{ratios[0]:>8.1f}{ratios[1]:>8.1f}{wanted[0]:>7}{wanted[1]:>7}"
        )
    errors = [
        (l2_uvp(e.transform(X), Y), l2_uvp(e.inverse_transform(Y), X))
        for e in (estimator, ensemble)
    ]
    names = ("one network", "ensemble")
    for name, (forward, inverse) in zip(names, errors, strict=True):
        print(f"L2-UVP of {name:<18}{forward:>12.3f}{inverse:>12.3f}")
    return passed


def pot(problem, X, Y):
    """Rows per second of both directions of POT's exact plan, on rows it has not seen."""
    import ot

    plan = ot.da.EMDTransport(max_iter=10_000_000)
    plan.fit(Xs=problem.X, Xt=problem.X_target)
    return (
        rows_per_second(lambda Z: plan.transform(Xs=Z), X[:2000]),
        rows_per_second(lambda Z: plan.inverse_transform(Xt=Z), Y[:2000]),
    )


def peak_memory():
    """Peak resident memory of this process, in MB."""
    # Linux starts ru_maxrss of a new program at the size of the one that started it.
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(s.split()[1]) for s in lines if s.startswith("VmHWM")) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def fit_in_a_million_rows(n):
    """Print the peak memory of imports, with the data, and after the fit."""
    torch.set_num_threads(1)
    # A small fit first: what is loaded lazily belongs to the imports.
    small, small_target = samples(500, 8, np.float32)
    NCFTransport(max_iter=5, random_state=0).fit(small, X_target=small_target)
    imports = peak_memory()
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((n, 8), dtype=np.float32) for _ in range(2))
    data = peak_memory()
    NCFTransport(max_iter=400, random_state=0).fit(X, X_target=Y)
    print(imports, data, peak_memory())


def memory(n=1_000_000):
    """Peak memory of a fit on a million rows of 8 features in each sample, above its data."""
    command = [sys.executable, __file__, "--in-process", str(n)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    imports, data, peak = map(float, result.stdout.split())
    print(f"fit of {n:,} x 8 float32 rows in each sample, 400 steps, MB:")
    print(f"  imports {imports:.0f}, data {data - imports:.0f}, fit {peak - data:.0f}")
    print(f"  to stay below: {MEMORY_BELOW}")
    return peak - data <= MEMORY_BELOW


def fitted_net(d, width=None, batch_size=256):
    """A trained net of one member without the callbacks that judge, and minibatches."""
    X, Y = samples(4096, d)
    sizes = (width,) * 4 if width else "auto"
    estimator = NCFTransport(
        max_iter=20,
        ensemble_size=1,
        hidden_layer_sizes=sizes,
        device="cpu",
        random_state=0,
    ).fit(X, X_target=Y)
    net = estimator.net_
    kept = {"schedule", "clip", "average", "epoch_timer", "train_loss"}
    net.callbacks_ = [pair for pair in net.callbacks_ if pair[0] in kept]
    return net, batches(estimator, X, Y, batch_size)


def batches(estimator, X, Y, batch_size, n=200):
    """Minibatches in the network's variables."""
    frame = estimator.preconditioners_[0]
    rng = np.random.default_rng(0)
    out = []
    for _ in range(n):
        sides = ((frame.source, X), (frame.target, Y))
        x, y = (
            side.forward(Z[rng.integers(len(Z), size=batch_size)]) for side, Z in sides
        )
        x, y = (torch.from_numpy(z).float()[None] for z in (x, y))
        batch = {"x": x, "y": y, "t": torch.rand(x.shape[:2])}
        out.append((batch, y.new_zeros(())))
    return out


def bare_steps(net, optimizer, data):
    """The same steps in plain PyTorch: loss, gradient, clip, SOAP, average."""
    objective = net.module_
    parameters = list(objective.parameters())
    average = [p.detach().clone() for p in parameters]
    for inputs, _ in data:
        optimizer.zero_grad()
        loss = sum(term.sum() for term in objective(**inputs).values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        loss.item()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 0.01)


def skorch_steps(net, data):
    """One epoch of skorch."""
    net.partial_fit(Stream(data), epochs=1)


class Stream(torch.utils.data.IterableDataset):
    """Ready minibatches."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(self.data)

    def __len__(self):
        return len(self.data)


def overhead(n_rounds=12):
    """Time of a skorch epoch over that of the same steps in a bare loop."""
    print(f"{'a step, ms':<12}{'bare':>8}{'skorch':>8}{'overhead':>10}")
    passed = True
    for d in (2, 8, 32):
        net, data = fitted_net(d)
        optimizer = SOAP(net.module_.parameters(), lr=1e-6)
        runs = {
            "bare": partial(bare_steps, net, optimizer, data),
            "skorch": partial(skorch_steps, net, data),
        }
        times, ratios = {name: [] for name in runs}, []
        for k in range(n_rounds):
            # Interleaved, in turns first: other load on the machine hits both alike.
            for name in sorted(runs, reverse=bool(k % 2)):
                start = time.perf_counter()
                runs[name]()
                times[name].append((time.perf_counter() - start) / len(data))
            ratios.append(times["skorch"][-1] / times["bare"][-1] - 1)
        bare, skorch = (1e3 * min(times[name]) for name in ("bare", "skorch"))
        share = statistics.median(ratios)
        passed &= share <= OVERHEAD_BELOW
        print(f"d={d:<10}{bare:>8.2f}{skorch:>8.2f}{share:>10.1%}", flush=True)
    print(f"overhead: median of {n_rounds} ratios, to stay below {OVERHEAD_BELOW:.0%}")
    return passed


def step():
    """Share of a training step outside PyTorch's kernels."""
    print(f"{'a step':<12}{'ms':>8}{'kernels a step':>16}{'outside kernels':>17}")
    for d in (2, 8, 32):
        net, data = fitted_net(d)
        skorch_steps(net, data)
        start = time.perf_counter()
        skorch_steps(net, data)
        wall = time.perf_counter() - start
        with profile(activities=[ProfilerActivity.CPU]) as record:
            skorch_steps(net, data)
        # Profiling slows everything around the kernels, so their time is measured in
        # the profiled run and set against the wall time of a run without profiler.
        leaves = [e for e in record.events() if not e.cpu_children]
        leaves = [e for e in leaves if e.name.startswith("aten::")]
        inside = sum(e.self_cpu_time_total for e in leaves) / 1e6
        n = len(data)
        share = max(0.0, 1 - inside / wall)
        print(f"d={d:<10}{1e3 * wall / n:>8.2f}{len(leaves) / n:>16.0f}{share:>17.0%}")
    return True


class Products(TorchDispatchMode):
    """Keeps the matrix products that are computed, to compute them again alone."""

    NAMES = ("mm", "bmm", "addmm", "baddbmm", "addmm_", "baddbmm_")

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in self.NAMES:
            self.calls.append((function, args, kwargs or {}))
        return function(*args, **(kwargs or {}))

    @torch.no_grad()
    def again(self):
        """All of them once more."""
        for function, args, kwargs in self.calls:
            function(*args, **kwargs)


def median_time(function, n=100):
    """Median seconds of a call."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def bound():
    """Time of loss, gradient and SOAP's step over that of their matrix products alone."""
    print(
        f"{'a step, ms':<20}{'all':>8}{'products':>10}{'ratio':>8}{'to stay below':>15}"
    )
    passed = True
    for d, width in ((8, 96), (8, 128), (32, 128), (8, 192)):
        net, data = fitted_net(d, width)
        optimizer = SOAP(net.module_.parameters(), lr=1e-6)
        bare_steps(net, optimizer, data[:12])
        with Products() as products:
            bare_steps(net, optimizer, data[:1])
        whole = median_time(partial(bare_steps, net, optimizer, data[:1]))
        alone = median_time(products.again)
        limit = BOUND_BELOW if width >= 128 else math.inf
        passed &= whole / alone <= limit
        name = f"d={d} width={width}"
        print(
            f"{name:<20}{1e3 * whole:>8.2f}{1e3 * alone:>10.2f}{whole / alone:>8.2f}"
            f"{limit:>15}",
            flush=True,
        )
    return passed


def gpu():
    """Steps on a GPU: kernel by kernel, recorded, and their matrix products alone."""
    print(f"{torch.cuda.get_device_name()}, {torch.__version__}; a step, ms")
    names = ("one CPU", "called", "recorded", "products", "ratio")
    print(f"{'':<32}" + "".join(f"{name:>10}" for name in names))
    for d, width, batch_size in SIZES_ON_GPU:
        net, data = fitted_net(d, width, batch_size)
        milliseconds = [1e3 * median_epoch(net, data[:10], 3)]
        move_to_device(net, torch.device("cuda"))
        cuda_graphs.DEVICES.clear()
        data = [({n: z.cuda() for n, z in x.items()}, y.cuda()) for x, y in data]
        milliseconds.append(1e3 * median_epoch(net, data[:40], 3))
        cuda_graphs.DEVICES.add("cuda")
        net._graph = cuda_graphs.LossGraph(net)
        milliseconds.append(1e3 * median_epoch(net, data))
        del net._graph
        milliseconds.append(1e3 * products_on_gpu(net, data))
        milliseconds.append(milliseconds[-2] / milliseconds[-1])
        name = f"d={d} width={width} batch={batch_size}"
        print(f"{name:<32}" + "".join(f"{m:>10.3f}" for m in milliseconds), flush=True)
    return True


def median_epoch(net, data, n=5):
    """Median seconds of a step over some epochs of skorch."""
    skorch_steps(net, data)
    return median_time(partial(skorch_steps, net, data), n) / len(data)


def products_on_gpu(net, data, n=200):
    """Seconds of the products of a step, recorded: nothing but them is in it."""
    optimizer = SOAP(net.module_.parameters(), lr=1e-6)
    bare_steps(net, optimizer, data[:12])
    with Products() as products:
        bare_steps(net, optimizer, data[:1])
    products.again()
    replay = cuda_graphs.capture_graph(products.again, torch.device("cuda"))
    replay()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(n):
        replay()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / n


def gpu_fits():
    """Seconds of fits of a thousand steps on the GPU and on one thread of the CPU."""
    X, Y = samples(500, 2)
    NCFTransport(max_iter=10, random_state=0).fit(X, X_target=Y)  # loads libraries
    print(f"{'1,000 steps, s':<24}{'one CPU':>10}{'GPU':>10}{'ratio':>8}")
    for n, d in ((4096, 2), (65_536, 8)):
        X, Y = samples(n, d)
        seconds = []
        for device in ("cpu", "cuda"):
            start = time.perf_counter()
            options = {"max_iter": 1000, "early_stopping": False}
            estimator = NCFTransport(**options, random_state=0, device=device)
            estimator.fit(X, X_target=Y)
            seconds.append(time.perf_counter() - start)
        ratio = seconds[0] / seconds[1]
        times = "".join(f"{z:>10.1f}" for z in seconds)
        print(f"{f'n={n} d={d}':<24}{times}{ratio:>8.1f}", flush=True)
    return True


PARTS = {
    "throughput": throughput,
    "mapping": mapping,
    "memory": memory,
    "step": step,
    "overhead": overhead,
    "bound": bound,
    "gpu": gpu,
    "gpu_fits": gpu_fits,
}
ON_GPU = ("gpu", "gpu_fits")
HERE = [name for name in PARTS if name not in ON_GPU or torch.cuda.is_available()]


def main(argv=None):
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=HERE)
    parser.add_argument("--check", action="store_true", help="exit 1 over a limit")
    parser.add_argument("--in-process", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.in_process:
        fit_in_a_million_rows(options.in_process)
        return 0
    torch.set_num_threads(1)
    passed = []
    for name in options.parts:
        if name in HERE:
            passed.append(PARTS[name]())
        else:
            print("no GPU here")
        print()
    return int(options.check and not all(passed))


if __name__ == "__main__":
    sys.exit(main())
