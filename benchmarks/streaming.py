"""Memory of partial_fit over rows on disk, read some thousand at a time.

    python benchmarks/streaming.py                  # 10^7 rows of 16 features, 4 minutes
    python benchmarks/streaming.py --quick

One pass over two float32 files. "Peak" is that of the resident memory, less imports;
"anonymous" is the part that is no file. The rows are read by the file's own descriptor,
so that no page of the file counts as memory of the process.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scaling import report, watched, write_samples
from threadpoolctl import threadpool_limits
from throughput import samples

from sk_ncf import NCFTransport

AT_MOST = 300  # MB above imports


def parts(folder, n, d, size):
    """Rows of both files, `size` at a time."""
    paths = [folder / f"{name}.npy" for name in "XY"]
    header = paths[0].stat().st_size - n * d * 4
    for start in range(0, n, size):
        at = {"count": min(size, n - start) * d, "offset": header + start * d * 4}
        yield [np.fromfile(path, np.float32, **at).reshape(-1, d) for path in paths]


def stream(folder, n, d, size):
    """In a process of its own: reports on imports and on the stream."""
    # A small fit first: what is loaded lazily belongs to the imports.
    small, small_target = samples(500, d, np.float32)
    estimator = NCFTransport(random_state=0)
    estimator.partial_fit(small, X_target=small_target).transform(small)
    report()
    estimator = NCFTransport(random_state=0)
    start, steps = time.process_time(), 0
    for x, y in parts(folder, n, d, size):
        estimator.partial_fit(x, X_target=y)
        steps += estimator.n_iter_
    report(seconds=time.process_time() - start, steps=steps)


def main(argv=None):
    """Print the table; the status says whether the memory is below the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10**7)
    parser.add_argument("--d", type=int, default=16)
    parser.add_argument("--size", type=int, default=65536, help="rows of a call")
    parser.add_argument("--quick", action="store_true", help="10^5 rows")
    parser.add_argument("--in-process", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    n, d, size = 10**5 if options.quick else options.n, options.d, options.size
    torch.set_num_threads(1)
    if options.in_process:
        with threadpool_limits(1):
            stream(options.in_process, n, d, size)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_samples(Path(folder), n, d)
        own = ["--in-process", folder, "--n", str(n), "--d", str(d)]
        command = [sys.executable, __file__, *own, "--size", str(size)]
        (imports, end), peaks = watched(command)
    peak = end["peak"] - imports["peak"]
    anonymous = max(0.0, peaks[1] - max(peaks[0], imports["held"]))
    print(
        f"{n:,} x {d} float32 rows in each sample, {size:,} a call, {end['steps']:,} steps"
    )
    print(f"data {2 * n * d * 4 / 2**20:.0f} MB, CPU seconds {end['seconds']:.0f}")
    print(f"MB above imports: peak {peak:.0f}, anonymous {anonymous:.0f}")
    print(f"to stay below: {AT_MOST}")
    return int(peak > AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
