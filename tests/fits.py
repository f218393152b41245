"""Short fits of small networks, and the rows that the tests of the estimator share."""

import functools
import re

import numpy as np
import pytest

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map

MATRIX_2D = [[2.0, 0.5], [0.5, 0.5]]
# Every cost by name, with its parameters in the units of rows of unit variance.
COSTS = {
    "sqeuclidean": {},
    "lp": {"p": 1.2},
    "norm_power": {"p": 3.0},
    "elastic": {"gamma": 0.5},
    "pseudo_huber": {"delta": 2.0},
    "quadratic_form": {"matrix": MATRIX_2D},
}


def quick(max_iter=20, **params):
    """An estimator whose fit takes a fraction of a second."""
    small = {"hidden_layer_sizes": (16, 16), "batch_size": 64, "random_state": 0}
    small["potential"] = "network"  # short fits are worse than a discrete potential
    return NCFTransport(**{**small, "max_iter": max_iter, **params})


def start_map(**params):
    """An estimator that keeps the map it starts from."""
    return quick(max_iter=1, tol=1e9, **params)


def two_samples(n=80, n_target=90, d=2, seed=0):
    """Rows of a normal and of a shifted, wider, skewed law."""
    rng = np.random.default_rng(seed)
    X, Z = rng.standard_normal((n, d)), rng.standard_normal((n_target, d))
    return X, 1.5 * Z + 0.3 * Z**2 + np.linspace(1, -1, d)


def crossing_classes(n=300, n_classes=3, seed=0):
    """(X, X_target, y): classes on a circle, each to the opposite side.

    The straight paths of the classes cross, so that no map of the rows alone, optimal
    for all, carries every class to its own.
    """
    rng, y = np.random.default_rng(seed), np.arange(n) % n_classes
    angle = 2 * np.pi * y / n_classes
    centre = 5 * np.c_[np.cos(angle), np.sin(angle)]
    x, z = rng.standard_normal((2, n, 2))
    bent = np.c_[z[:, 0], z[:, 1] / 2 + np.abs(z[:, 0])]
    return centre + 0.5 * x, 0.7 * bent - centre, y


def hidden(y, n_known, missing=-1):
    """Labels, all but the first few of every class missing."""
    out = np.full(len(y), missing)
    for k in np.unique(y):
        out[np.flatnonzero(y == k)[:n_known]] = k
    return out


@functools.cache
def problem(cost, n=1000, size=1.5):
    """Two samples in the plane with a strongly bent exact map."""
    return make_convex_map(
        cost, n, 2, cost_params=COSTS[cost], size=size, random_state=0
    )


@functools.cache
def fitted(cost="sqeuclidean", **params):
    """A fit of :func:`problem`, made once; not to be changed by a test."""
    rows = problem(cost)
    small = {"max_iter": 250, "ensemble_size": 1, "cost_params": COSTS[cost]}
    transport = quick(cost=cost, **{**small, **params})
    return transport.fit(rows.X, X_target=rows.X_target)


def refused(estimator, method, arguments, message):
    """Assert that the call raises with the message and changes nothing."""
    before = dict(vars(estimator))
    with pytest.raises((ValueError, TypeError), match=re.compile(message, re.S)):
        getattr(estimator, method)(**arguments)
    after = vars(estimator)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def same_map(one, other, X, Y):
    """Assert that both fits map the rows alike, both ways, but for rounding."""
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(one.transform(X), other.transform(X), **close)
    back = one.inverse_transform(Y), other.inverse_transform(Y)
    np.testing.assert_allclose(*back, **close)
