"""Maps to compare: each is fitted to two samples and returns a function of new rows."""

import warnings
from importlib.util import find_spec

import numpy as np
from sklearn.preprocessing import QuantileTransformer

MAX_PLAN_ROWS = 2000
SINGULAR = 1e-10  # of the largest eigenvalue


def own_estimator(seed, max_iter=None, members=None):
    """The estimator that is measured: the only place that names its parameters."""
    from sk_ncf import NCFTransport

    given = {"max_iter": max_iter, "n_members": members}
    given = {name: value for name, value in given.items() if value is not None}
    return NCFTransport(random_state=seed, device="cpu", **given)


def no_map(X, Y, seed=0, **options):
    """Rows stay where they are."""
    return lambda rows: rows


def quantile_map(X, Y, seed=0, **options):
    """Column by column: from the source's ranks to the target's quantiles."""
    source, target = (
        QuantileTransformer(n_quantiles=min(1000, len(Z)), random_state=seed).fit(Z)
        for Z in (X, Y)
    )
    return lambda rows: target.inverse_transform(source.transform(rows))


def linear_map(X, Y, seed=0, wx=None, wy=None, **options):
    """The optimal map between Gaussians with the moments of the samples."""
    mean_x, cov_x = moments(X, wx)
    mean_y, cov_y = moments(Y, wy)
    root, inverse = powers(cov_x, 0.5), powers(cov_x, -0.5)
    A = inverse @ powers(root @ cov_y @ root, 0.5) @ inverse
    return lambda rows: mean_y + (rows - mean_x) @ A


def moments(X, w=None):
    """Weighted mean and covariance."""
    mean = np.average(X, axis=0, weights=w)
    return mean, np.atleast_2d(np.cov(X.T, aweights=w, bias=True))


def powers(matrix, exponent):
    """Power of a symmetric matrix on the span of its non-zero eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > SINGULAR * max(values.max(), 1e-300)
    powered = np.where(kept, np.where(kept, values, 1.0) ** exponent, 0.0)
    return (vectors * powered) @ vectors.T


def exact_plan(X, Y, seed=0, wx=None, wy=None, **options):
    """POT's EMDTransport; new rows move as their nearest training row does."""
    import ot

    rng = np.random.default_rng(seed)
    X, Y = drawn(X, wx, rng), drawn(Y, wy, rng)
    transport = ot.da.EMDTransport(max_iter=100_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport.fit(Xs=X, Xt=Y)
    return lambda rows: transport.transform(Xs=rows)


def drawn(X, w, rng):
    """Rows that POT can take: at most 2,000, drawn in proportion to their weights."""
    n = min(len(X), MAX_PLAN_ROWS)
    if w is None:
        return X if n == len(X) else X[rng.permutation(len(X))[:n]]
    return X[rng.choice(len(X), n, p=w / w.sum())]


def entropic_map(X, Y, seed=0, **options):
    """OTT's entropic map with its default regularization."""
    import jax
    from ott.geometry import pointcloud
    from ott.solvers import linear

    geometry = pointcloud.PointCloud(*(np.asarray(Z, np.float32) for Z in (X, Y)))
    potentials = jax.jit(linear.solve)(geometry).to_dual_potentials()
    move = jax.jit(potentials.transport)
    return lambda rows: np.asarray(move(np.asarray(rows, np.float32)), np.float64)


def own_map(X, Y, seed=0, wx=None, wy=None, max_iter=None, members=None, **options):
    """sk_ncf with its defaults."""
    estimator = own_estimator(seed, max_iter, members)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, X_target=Y, sample_weight=wx, target_weight=wy)
    return estimator.transform


METHODS = {
    "no map": no_map,
    "quantile": quantile_map,
    "linear": linear_map,
    "exact plan": exact_plan,
    "entropic": entropic_map,
    "sk_ncf": own_map,
}
PACKAGES = {"exact plan": "ot", "entropic": "ott"}


def missing(name):
    """The package that a method needs, if it is not installed."""
    package = PACKAGES.get(name)
    return None if package is None or find_spec(package) else package
