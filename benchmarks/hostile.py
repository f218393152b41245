"""Values for `fuzz.py`: what a method expects, what is odd, and what is hostile.

python benchmarks/hostile.py --help  # random tables instead: hostile_data.py
"""

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.naive_bayes import GaussianNB
from skorch import NeuralNet

from sk_ncf import (
    MMD,
    Cost,
    Elastic,
    Lp,
    NormPower,
    Objective,
    PseudoHuber,
    QuadraticForm,
    SemiDual,
    SquaredEuclidean,
)
from sk_ncf._training.net import NCFNet

FOLDER = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
SIZES = (1, 2, 3, 5, 8, 17, 40)
FAMILIES = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "constant": lambda rng, n, d: np.full((n, d), rng.choice([0.0, -3.5, 1e6])),
    "doubled": lambda rng, n, d: np.repeat(rng.standard_normal((n, d)), 3, axis=0)[:n],
    "counts": lambda rng, n, d: rng.poisson(3, (n, d)).astype(float),
    "heavy": lambda rng, n, d: rng.standard_cauchy((n, d)),
    "line": lambda rng, n, d: np.outer(rng.standard_normal(n), np.arange(1, d + 1)),
    "far": lambda rng, n, d: rng.standard_normal((n, d)) + 1e8,
    "signed zeros": lambda rng, n, d: rng.choice([0.0, -0.0], (n, d)),
}
DTYPES = (np.float64,) * 4 + (np.float32,) * 2 + (
    *(np.float16, np.longdouble, np.int8, np.int64, np.uint64, bool, object),
)  # fmt: skip


def one(rng, values):
    """One of the values."""
    return values[rng.integers(len(values))]


def plain_rows(rng, n=None, d=2):
    """Rows that every method takes, of shape (n, d)."""
    n = one(rng, SIZES[3:]) if n is None else n
    rows = FAMILIES["normal"](rng, n, d)
    return rows.astype(one(rng, (np.float64, np.float32)))


def odd_rows(rng, n=None, d=2):
    """Rows of any law, unit, type and layout, most of which a method should take."""
    n = one(rng, SIZES) if n is None else n
    rows = FAMILIES[one(rng, list(FAMILIES))](rng, n, d)
    if rng.random() < 0.3:
        rows = rows * 10.0 ** rng.uniform(-30, 30)
    with np.errstate(all="ignore"):
        rows = rows.astype(one(rng, DTYPES))
    return LAYOUTS[one(rng, list(LAYOUTS))](rows)


def _memory_map(rows):
    if rows.dtype == object:
        return rows
    path = FOLDER / "rows.npy"
    path.unlink(missing_ok=True)  # maps of the old file stay
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


def _strided(rows):
    wide = np.empty((2 * len(rows), rows.shape[1]), dtype=rows.dtype)
    wide[::2] = wide[1::2] = rows
    return wide[::2]


def _read_only(rows):
    rows.flags.writeable = False
    return rows


def _tensor(rows):
    return (
        rows if rows.dtype.kind not in "fi" or rows.itemsize > 8 else torch.tensor(rows)
    )


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "reversed": lambda rows: rows[::-1],
    "read only": _read_only,
    "memory map": _memory_map,
    "lists": lambda rows: rows.tolist(),
    "tuples": lambda rows: tuple(map(tuple, rows.tolist())),
    "masked": np.ma.masked_array,
    "frame": lambda rows: pd.DataFrame(rows, columns=[f"f{k}" for k in range(rows.shape[1])]),
    "numbered frame": lambda rows: pd.DataFrame(rows),
    "tensor": _tensor,
}  # fmt: skip


def _with(value, dtype=float):
    def rows(rng):
        out = rng.standard_normal((8, 2)).astype(dtype)
        out[rng.integers(8), rng.integers(2)] = value
        return out

    return rows


BROKEN_ROWS = (
    *(_with(value) for value in (np.nan, np.inf, -np.inf, 1e200, 1e308, -1e160)),
    *(_with(value, object) for value in ("a", None, [1, 2], 1j, {}, b"1", 10**400)),
    lambda rng: 1e-200 * rng.standard_normal((8, 2)),
    lambda rng: 1e-320 * rng.integers(1, 9, (8, 2)),
    lambda rng: rng.standard_normal((8, 2)) * np.array([1e-160, 1.0]),
    lambda rng: rng.standard_normal((8, 2)) * np.array([1e-100, 1e100]),
    lambda rng: np.float32(1e38) * rng.standard_normal((8, 2), dtype=np.float32),
    lambda rng: np.empty((0, 2)),
    lambda rng: np.empty((8, 0)),
    lambda rng: np.empty((0, 0)),
    lambda rng: rng.standard_normal((8, 3)),
    lambda rng: rng.standard_normal((8, 1)),
    lambda rng: rng.standard_normal(8),
    lambda rng: rng.standard_normal((4, 2, 2)),
    lambda rng: rng.standard_normal((8, 2)) + 1j,
    lambda rng: [[1.0, 2.0], [3.0]],
    lambda rng: [[1.0, 2.0], "ab", None],
    lambda rng: rng.choice(["a", "1.5"], (8, 2)),
    lambda rng: np.full((8, 2), "2020-01-01", dtype="datetime64[D]"),
    lambda rng: np.zeros(8, dtype=[("a", float), ("b", float)]),
    lambda rng: sparse.csr_matrix(rng.standard_normal((8, 2))),
    lambda rng: sparse.coo_array(rng.standard_normal((8, 2))),
    lambda rng: pd.DataFrame({"g0": rng.standard_normal(8), "g1": 1.0}),
    lambda rng: pd.DataFrame({"f1": rng.standard_normal(8), "f0": 1.0}),
    lambda rng: pd.DataFrame({"f0": rng.standard_normal(8), 1: 1.0}),
    lambda rng: pd.DataFrame({"f0": ["a"] * 8, "f1": pd.Categorical(["u"] * 8)}),
    lambda rng: pd.DataFrame({"f0": [pd.NA, 1] * 4, "f1": 1.0}),
    lambda rng: torch.randn(8, 2, requires_grad=True),
    lambda rng: (row for row in rng.standard_normal((8, 2))),
    lambda rng: np.matrix(rng.standard_normal((8, 2))),
)  # fmt: skip
JUNK = (
    *(None, True, False, 0, 1, -1, 2, 3.7, -0.0, 1e-320, 1e308, -(10**30), 2**63),
    *(np.nan, np.inf, -np.inf, 1j, "", "a", "auto", "normal", "label", "\0", b"x"),
    *([], (), {}, set(), [1], (8, 8), (8, 4), [[]], {"p": 2}, {"a": [1]}, range(3)),
    *(object(), object, Ellipsis, len, lambda: None, lambda *a, **k: 1),
    *(np.float32(2), np.int8(-3), np.bool_(True), np.array(5), np.array([]), np.eye(2)),
    *(np.array(["a"]), np.array([None, {}]), np.datetime64("2020"), np.str_("semi_dual")),
    *(pd.NA, pd.NaT, torch.tensor(2.0), torch.eye(2), torch.device("meta"), slice(3)),
    *(Lp, Lp(2), sparse.eye(3), ValueError("x"), np.random.default_rng, 10**400),
)  # fmt: skip


def broken_rows(rng):
    """What is no sample of two features."""
    return one(rng, BROKEN_ROWS)(rng) if rng.random() < 0.75 else one(rng, JUNK)


def junk(rng):
    """Anything."""
    return one(rng, JUNK) if rng.random() < 0.8 else broken_rows(rng)


def _vector(draw):
    """One value for all rows, or one for each of n."""
    return lambda rng, n: draw(rng, ()).item() if rng.random() < 0.2 else draw(rng, n)


domain = _vector(lambda rng, n: rng.choice([-2, -1, 1, 2], n))
instant = _vector(lambda rng, n: rng.uniform(0, 1, n))
weight = _vector(lambda rng, n: rng.exponential(size=n))


def labels(rng, n, missing=0.0):
    """Classes 0, 1, 2 of n rows, as a fit of classes knows them; some may be missing."""
    y = rng.permutation(np.arange(n) % 3)
    hidden = rng.random(n) < missing
    kind = rng.integers(5)
    if kind == 0:
        return np.where(hidden, np.nan, y)
    if kind == 1:
        return [None if h else int(k) for k, h in zip(y, hidden, strict=True)]
    y = np.where(hidden, -1, y)
    return one(rng, (y, y.astype(np.int8), y.tolist(), pd.Series(y), y[:, None]))


def _odd_vector(rng, n):
    """A vector of the right length, or nearly, with odd values in it."""
    n = max(0, n + one(rng, (0, 0, 0, 1, -1)))
    return one(
        rng,
        (
            *(np.zeros(n), -np.ones(n), np.full(n, np.nan), np.full(n, 1e300)),
            *(np.full(n, 1e-300), np.full(n, "a"), ["a"] * n, [None] * n, [[]] * n),
            *(np.ones((n, 2)), np.ones(n, bool), np.full(n, 2**63, np.uint64)),
            *(np.full(n, 7), list(range(n)), pd.array([pd.NA] * n, "Int64"), {1: 2}),
            *(np.eye(max(1, n))[0], [1, "a"] * (n // 2), np.full(n, 1j), "a" * n),
            *(np.arange(n) / 3, [np.nan] * n, [{}] * n, [b"a"] * n, [True] * n),
            *(np.where(np.arange(n) % 2, 1e200, 1.0), np.arange(n), [10**400] * n),
        ),
    )


def odd_vector(rng, n):
    """A hostile value in the place of labels, weights, domains or times."""
    return _odd_vector(rng, n) if rng.random() < 0.7 else junk(rng)


def _returns(value):
    return lambda size, random_state: value


# Values of the constructor that a fit of few steps should take.
PARAMETERS = {
    "cost": ["sqeuclidean", "lp", "norm_power", "elastic", "pseudo_huber"]
    + [Lp(1.2), Lp(4.0), NormPower(3), Elastic(0.3), Elastic(0), PseudoHuber(0.5)]
    + [SquaredEuclidean(), QuadraticForm([[2, 0.5], [0.5, 0.5]])],
    "objective": ["semi_dual", "mmd", SemiDual(), MMD(kernel="gaussian")]
    + [SemiDual(hj_weight=0.0, momentum_weight=1e30), SemiDual(semi_dual_weight=0.0)]
    + [SemiDual(mmd_weight=10.0, kernel="laplace"), SemiDual(hopf_lax_weight=1e30)]
    + [MMD(hj_weight=0.0, mmd_weight=1e30), MMD(mmd_weight=0.0)],
    "class_conditional": [False, True, "per_class", "shared"],
    "classifier": [None, GaussianNB(), DummyClassifier()],
    "output_distribution": ["normal", "uniform"]
    + [lambda size, random_state: random_state.standard_cauchy(size)],
    "default_domain": ["source", "target"],
    "ensemble_size": ["auto", 1, 2, 3],
    "hidden_layer_sizes": [(8, 8), (4,), [8, 8, 8], (1,)],
    "batch_size": [2, 16, 64],
    "learning_rate_init": ["auto", 1e-30, 5e-3, 10.0, 1e30],
    "max_iter": [1, 2, 3, 5],
    "early_stopping": [True, False],
    "validation_fraction": [0.1, 0.5, 0.999, 1e-9],
    "n_iter_no_change": [1, 1000],
    "tol": [0.0, 1e-3, 1e30],
    "skorch_net": [None, NCFNet(), NCFNet(optimizer=torch.optim.Adam)],
    "callbacks": [None, [], ()],
    "device": ["cpu", "auto", torch.device("cpu")],
    "warm_start": [False, True],
    "verbose": [0, False],
    "random_state": [0, 1, 2**31, np.random.RandomState(0)],
}
# Junk that is worth a try in the place of one parameter. Never: numbers that would be
# valid, and take hours (of max_iter) or the memory of the machine.
SPECIAL = {
    "cost": [Lp(1), Lp(1.0001), Lp(200.0), Lp("a"), Lp(None), Lp(1e308), NormPower(50)]
    + [NormPower(np.nan), Elastic(-1), Elastic(1e300), Elastic(1e-300), Elastic("a")]
    + [PseudoHuber(0), PseudoHuber(1e300), PseudoHuber(1e-300), PseudoHuber([1])]
    + [QuadraticForm(None), QuadraticForm(np.eye(3)), QuadraticForm([[1, 2], [2, 1]])]
    + [QuadraticForm(1e300 * np.eye(2)), QuadraticForm(np.diag([1e-200, 1e200]))]
    + [QuadraticForm("a"), QuadraticForm([[np.nan] * 2] * 2), Cost(), "quadratic_form"],
    "cost_params": [{"p": 2}, {"gamma": 1}, {"delta": "a"}, {"matrix": "a"}, {1: 2}]
    + [{"p": np.nan}, {"p": 1}, {"p": 1e308}, {"matrix": np.eye(2)}, {"p": None}],
    "objective": [SemiDual, SemiDual(hj_weight=-1.0), SemiDual(mmd_weight="a")]
    + [MMD(kernel="cubic"), MMD(hj_weight=np.nan), MMD(mmd_weight=[1.0]), Objective()],
    "classifier": [KMeans(2), GaussianNB, "svc", object(), NCFNet()],
    "output_distribution": [_returns(v) for v in (None, 1.0, "a", np.eye(2), [[1.0]])]
    + [lambda size, random_state: np.full(size, np.nan)]
    + [lambda size, random_state: np.zeros(size)]
    + [lambda size, random_state: np.full(size, 1e300)]
    + [lambda size, random_state: np.full(size, "a"), len],
    "ensemble_size": [10**9, 2**70],
    "hidden_layer_sizes": [(), (0,), (-1,), (8, 4), (10**15,), (2**70,), ("a",)]
    + [(8.0,), ((8,),), [None], (True,), (np.int64(8), 8), (10**9, 10**9)],
    "batch_size": [10**15, 2**70, 1],
    "validation_fraction": [0.0, 1.0, 1 - 1e-17],
    "device": ["cuda", "cuda:9", "meta", "abacus", "cpu:7", "", "xla", -1]
    + [torch.device("meta"), torch.device("cuda")],
    "skorch_net": [NeuralNet, NeuralNet(None, None), NCFNet, torch.nn.Linear(2, 1)],
    "callbacks": [[1], ["a"], [None], [("a",)], [("a", 1)], [len], [()], "abc"],
    "random_state": [-1, 2**32, "a", np.random.default_rng(0), np.random],
    "max_iter": [0, -1, 1.5, "a"],
    "verbose": [-1, "a", 1.5],
}
COSTLY = ("max_iter", "ensemble_size", "batch_size", "hidden_layer_sizes", "verbose")


def odd_parameter(rng, name):
    """A hostile value of a constructor's parameter."""
    special = SPECIAL.get(name, ())
    if special and rng.random() < 0.5:
        return one(rng, special)
    value = junk(rng)
    costly = name in COSTLY and isinstance(value, int | float | np.number)
    return 0 if costly and value > 3 else value


if __name__ == "__main__":
    import hostile_data

    hostile_data.main()
