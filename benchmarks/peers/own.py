"""sk_ncf, and the closed form between Gaussians."""

import time
import warnings
from functools import partial

from base import Clock, Peer
from problems import closed_form_maps
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sk_ncf import NCFTransport


class Deadline(Callback):
    """Interrupts the fit, which then keeps its best weights, when time is up."""

    def __init__(self, clock):
        self.clock = clock

    def on_batch_end(self, net, **kwargs):
        if self.clock.share() >= 1:
            raise KeyboardInterrupt


class NCF(Peer):
    """NCFTransport with its defaults, or with as many steps as the budget holds."""

    fill_budget = False

    def fit(self, X, Y, budget):
        clock = Clock(budget)
        max_iter = self._steps(X, Y, clock) if self.fill_budget else "auto"
        self.estimator = self._fitted(
            X, Y, max_iter=max_iter, callbacks=[("deadline", Deadline(clock))]
        )

    def _fitted(self, X, Y, **params):
        estimator = NCFTransport(
            cost=self.cost,
            cost_params=self.cost_params,
            random_state=self.seed,
            **params,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the deadline
            return estimator.fit(X, X_target=Y)

    def _steps(self, X, Y, clock):
        """Steps for nine tenths of the time left, from the time of some first steps.

        Discrete potentials, which take long beside so few steps, are left out.
        """
        few = partial(self._fitted, X, Y, potential="network")
        few(max_iter=10)  # loads what is loaded on first use
        start = time.perf_counter()
        few(max_iter=10)
        middle = time.perf_counter()
        few(max_iter=110)
        step = (time.perf_counter() - middle - (middle - start)) / 100
        left = clock.budget * (1 - clock.share())
        return max(100, int(0.9 * left / max(step, 1e-4)))

    def forward(self, X):
        return self.estimator.transform(X)

    def inverse(self, Y):
        return self.estimator.inverse_transform(Y)


class Gaussian(Peer):
    """The closed-form optimal map between the samples' means and covariances."""

    def fit(self, X, Y, budget):
        self.forward, self.inverse = closed_form_maps(X, Y)
