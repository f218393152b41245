"""OTT-JAX: neural solvers. Compilation counts as fitting time."""

import contextlib

import jax
import jax.numpy as jnp
import optax
from base import BudgetSpent, Clock, Minibatches
from ott.neural.methods import expectile_neural_dual, monge_gap, neuraldual
from ott.neural.networks import icnn, potentials
from ott.tools import sinkhorn_divergence
from with_ott import OTT, Entropic


class Neural(OTT):
    """A solver of the package, fed until the budget is spent.

    `cosine` lets the learning rate fall to zero over the budget.
    """

    batch, lr, betas, cosine = 1024, None, (0.9, 0.999), False
    states = ("state_f", "state_g")

    def fit(self, X, Y, budget):
        self.clock = Clock(budget)
        self.solver = self.make(X.shape[1])
        source, target = (
            Minibatches(Z, self.batch, [self.seed, k], self.clock, self._before_batch)
            for k, Z in enumerate((X, Y))
        )
        with contextlib.suppress(BudgetSpent):
            self.train(source, target)
        self.ready()

    def train(self, source, target):
        self.solver(source, target, source, target)

    def optimizer(self):
        """The solver's own where no learning rate is given."""
        if self.lr is None:
            return None
        b1, b2 = self.betas
        return optax.inject_hyperparams(optax.adam)(self.lr, b1=b1, b2=b2)

    def _before_batch(self):
        """Wait for the last step, or the clock would run ahead; set the rate."""
        states = [getattr(self.solver, name) for name in self.states]
        jax.block_until_ready([state.params for state in states])
        if self.cosine:
            rate = jnp.asarray(self.lr * self.clock.cosine(), jnp.float32)
            for state in states:
                state.opt_state.hyperparams["learning_rate"] = rate

    def options(self, d):
        """What the dual solvers have in common."""
        return {
            "dim_data": d,
            "optimizer_f": self.optimizer(),
            "optimizer_g": self.optimizer(),
            "num_train_iters": 10**8,
            "valid_freq": 10**8,
            "rng": jax.random.key(self.seed),
        }

    def ready(self):
        found = self.solver.to_dual_potentials()
        self._forward = jax.jit(lambda x: found.transport(x, forward=True))
        self._inverse = jax.jit(lambda y: found.transport(y, forward=False))

    forward, inverse = Entropic.forward, Entropic.inverse


class NeuralDual(Neural):
    """W2NeuralDual; `net` is "default" (convex), "small" (convex) or "mlp".

    Up to 0.6.0 at least, its potentials belong to the cost with 1/2 but transport with
    the gradient of the cost without: rows move half way. Here they move all of it. Its
    default convex networks start far from any map, those of "small" near the identity.
    """

    net = "default"

    def make(self, d):
        nets = [self._net(d) for _ in range(2)]
        options = self.options(d)
        return neuraldual.W2NeuralDual(neural_f=nets[0], neural_g=nets[1], **options)

    def _net(self, d):
        if self.net == "small":
            start = jax.nn.initializers.normal(0.01)
            return icnn.ICNN(d, dim_hidden=[64] * 4, init_fn=start, pos_weights=True)
        if self.net == "mlp":
            return potentials.PotentialMLP(dim_hidden=[128] * 3, act_fn=jax.nn.elu)
        return None

    def ready(self):
        super().ready()
        forward, inverse = self._forward, self._inverse
        self._forward = lambda x: 2 * forward(x) - x
        self._inverse = lambda y: 2 * inverse(y) - y


class Expectile(Neural):
    """ExpectileNeuralDual (ENOT), the package's networks and weights."""

    expectile, coefficient = 0.99, 1.0

    def make(self, d):
        return expectile_neural_dual.ExpectileNeuralDual(
            **self.options(d),
            cost_fn=self.cost_fn(),
            expectile=self.expectile,
            expectile_loss_coef=self.coefficient,
        )


class MongeGap(Neural):
    """MongeGapEstimator: Sinkhorn divergence, and the Monge gap as regulariser."""

    batch, strength, share, lr = 256, 1.0, 0.01, 1e-3
    states = ("state_neural_net",)
    inverse = None

    def make(self, d):
        return monge_gap.MongeGapEstimator(
            dim_data=d,
            model=potentials.PotentialMLP(
                dim_hidden=[128, 128], is_potential=False, act_fn=jax.nn.gelu
            ),
            optimizer=self.optimizer(),
            fitting_loss=self._divergence,
            regularizer=self._gap,
            regularizer_strength=self.strength,
            num_train_iters=10**6,
            rng=jax.random.key(self.seed),
        )

    def _divergence(self, mapped, target):
        value, _ = sinkhorn_divergence.sinkdiv(
            mapped, target, epsilon=self.share, relative_epsilon="mean"
        )
        return value, None

    def _gap(self, source, mapped):
        gap = monge_gap.monge_gap_from_samples(
            source,
            mapped,
            cost_fn=self.cost_fn(),
            epsilon=self.share,
            relative_epsilon="mean",
        )
        return gap, None

    def train(self, source, target):
        self.solver.train_map_estimator(source, target, source, target)

    def ready(self):
        state = self.solver.state_neural_net
        self._forward = jax.jit(lambda x: state.apply_fn({"params": state.params}, x))
