"""Samples of every law, unit, type and layout, for the property tests."""

import functools

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same examples on every run, and nothing is written to disk.
repeatable = functools.partial(
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# (n, d) rows, about the size of 1.
LAWS = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "constant": lambda rng, n, d: np.ones((n, d)),
    "constant column": lambda rng, n, d: rng.standard_normal((n, d)) * (np.arange(d) > 0),
    "duplicated": lambda rng, n, d: rng.standard_normal((3, d))[rng.integers(3, size=n)],
    "discrete": lambda rng, n, d: rng.integers(-2, 3, (n, d)).astype(float),
    "collinear": lambda rng, n, d: np.outer(rng.standard_normal(n), 1 + np.arange(d)),
    "heavy-tailed": lambda rng, n, d: rng.standard_cauchy((n, d)),
    "far away": lambda rng, n, d: 1000 + rng.standard_normal((n, d)),
    "of many units": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** np.arange(d),
    "one far row": lambda rng, n, d: rng.standard_normal((n, d)) + 1e4 * np.eye(n, d),
}  # fmt: skip


@st.composite
def pairs(draw, laws=tuple(LAWS), most_features=6, most_rows=30):
    """Rows of both samples, of the size of 1 or so: fewer than features, or more."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    d = draw(st.integers(1, most_features))
    sizes = draw(st.tuples(*[st.integers(2, most_rows)] * 2))
    names = draw(st.tuples(*[st.sampled_from(laws)] * 2))
    return tuple(LAWS[name](rng, n, d) for name, n in zip(names, sizes, strict=True))


def rows_of_floats(width):
    """Strategy: any rows of up to five features within 1e30, zeros and tiny ones too."""
    from hypothesis.extra import numpy as arrays

    limit = float(np.float32(1e30))
    elements = st.floats(-limit, limit, width=width)
    dtype = np.dtype(f"f{width // 8}")
    of_shape = lambda d: st.tuples(
        *[arrays.arrays(dtype, st.tuples(st.integers(2, 8), st.just(d)), elements=elements)]
        * 2
    )  # fmt: skip
    return st.integers(1, 5).flatmap(of_shape)


def _strided(rows):
    wide = np.full((2 * len(rows), rows.shape[1] + 1), 7, dtype=rows.dtype)
    wide[::2, 1:] = rows
    return wide[::2, 1:]


def _read_only(rows):
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "backwards": lambda rows: rows[::-1].copy()[::-1],
    "read-only": _read_only,
    "lists": lambda rows: rows.tolist(),
    "frame": pd.DataFrame,
    "objects": lambda rows: rows.astype(object),
}
