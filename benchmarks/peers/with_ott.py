"""OTT-JAX: entropic and progressive maps. Its squared Euclidean cost carries no 1/2."""

import jax
import jax.numpy as jnp
import numpy as np
from base import Peer, in_chunks
from jax.experimental import checkify
from ott.geometry import costs, pointcloud, regularizers
from ott.problems.linear import linear_problem
from ott.solvers import linear
from ott.tools import progot


@jax.tree_util.register_pytree_node_class
class NormPower(costs.TICost):
    """The power |z|^p / p of the Euclidean norm, which the package has without 1/p."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def h(self, z):
        return costs.mu.norm(z) ** self.p / self.p

    def h_legendre(self, z):
        q = self.p / (self.p - 1)
        return costs.mu.norm(z) ** q / q

    def tree_flatten(self):
        return (), (self.p,)

    @classmethod
    def tree_unflatten(cls, aux_data, children):
        return cls(*aux_data)


COSTS = {
    "sqeuclidean": costs.SqEuclidean,
    "lp": costs.PNormP,
    "norm_power": NormPower,
    "elastic": lambda gamma: costs.RegTICost(regularizers.L1(), lam=gamma),
}


class OTT(Peer):
    """With a cost of the package."""

    def cost_fn(self):
        return COSTS[self.cost](**(self.cost_params or {}))


class Entropic(OTT):
    """Entropic map of Sinkhorn's potentials; `share` is epsilon over the mean cost.

    None: the package's default, 1/20 of the standard deviation of the cost.
    """

    share, growth = None, 5

    def fit(self, X, Y, budget):
        X, Y = (np.asarray(Z, np.float32) for Z in (X, Y))
        self.grow(self._fit, X, Y, budget, self.growth)

    def _geometry(self, X, Y):
        relative = None if self.share is None else "mean"
        return pointcloud.PointCloud(
            X, Y, cost_fn=self.cost_fn(), epsilon=self.share, relative_epsilon=relative
        )

    def _fit(self, X, Y):
        out = jax.jit(linear.solve)(self._geometry(jnp.asarray(X), jnp.asarray(Y)))
        jax.block_until_ready(out.f)
        self._keep(out.to_dual_potentials())

    def _keep(self, found):
        self._forward = jax.jit(lambda x: found.transport(x, forward=True))
        self._inverse = jax.jit(lambda y: found.transport(y, forward=False))

    def forward(self, X):
        return in_chunks(self._forward, np.asarray(X, np.float32))

    def inverse(self, Y):
        return in_chunks(self._inverse, np.asarray(Y, np.float32))


class Progressive(Entropic):
    """ProgOT, eight steps at constant speed; the inverse is a second fit, sides swapped.

    In 0.6.0 a solver of several steps interpolates from its first rows at every step,
    its transport from the last ones, and the two part; so the steps are taken here one
    by one, each from the rows that the last has moved. `scheduled` takes the epsilons of
    the package's own selection (its Algorithm 4), None those of its default.
    """

    scheduled, n_steps = False, 8

    def _fit(self, X, Y):
        self._forward, self._inverse = self._one_way(X, Y), self._one_way(Y, X)

    def _one_way(self, X, Y):
        x, y = jnp.asarray(X), jnp.asarray(Y)
        alphas = progot.get_alpha_schedule("lin", num_steps=self.n_steps)
        epsilons = [None] * self.n_steps
        if self.scheduled:
            epsilons = self._epsilons(self._geometry(x, y), alphas)[:, None]
        steps = []
        for alpha, epsilon in zip(alphas[:, None], epsilons, strict=True):
            _, step = _progress(alpha, epsilon, self._geometry(x, y))
            steps.append(step)
            x, _ = _moved(step, x)
        jax.block_until_ready(x)
        return jax.jit(lambda rows: _chained(steps, rows))

    def _epsilons(self, geometry, alphas):
        return progot.get_epsilon_schedule(
            geometry,
            alphas=alphas,
            epsilon_scales=2.0 ** jnp.arange(-5, 2),
            y_eval=geometry.y[:512],
        )


@jax.jit
@checkify.checkify  # the solver checks alpha, which a compiled function cannot raise
def _progress(alpha, epsilon, geometry):
    """A solver's single step."""
    solver = progot.ProgOT(alpha, epsilons=epsilon)
    return solver(linear_problem.LinearProblem(geometry))


@jax.jit
def _moved(step, x):
    """Rows moved by a step's share, and their images."""
    return step.transport(x)


def _chained(steps, x):
    """Rows through all steps; the last one's image."""
    for step in steps:
        x, image = step.transport(x)
    return image
