"""torchcfm: minibatch optimal transport conditional flow matching."""

import contextlib

import numpy as np
import torch
from base import BudgetSpent, Clock, Minibatches, Peer
from scipy.integrate import solve_ivp
from torchcfm.conditional_flow_matching import (
    ExactOptimalTransportConditionalFlowMatcher,
)
from torchcfm.models import MLP


class FlowMatching(Peer):
    """The network of the package's two-dimensional examples, width 64, Adam at 1e-3.

    The flow is integrated by Dormand-Prince 5(4) at tolerance 1e-4, as the examples
    do; backwards for the inverse.
    """

    width, batch, lr, sigma, cosine = 64, 256, 1e-3, 0.1, False

    def fit(self, X, Y, budget):
        clock = Clock(budget)
        torch.manual_seed(self.seed)
        np.random.seed(self.seed)  # the package draws its pairs from it
        matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=self.sigma)
        self.net = MLP(X.shape[1], w=self.width, time_varying=True)
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        sides = [Minibatches(Z, self.batch, k, clock) for k, Z in enumerate((X, Y))]
        with contextlib.suppress(BudgetSpent):
            while True:
                self._step(matcher, optimizer, *(next(side) for side in sides))
                if self.cosine:
                    optimizer.param_groups[0]["lr"] = self.lr * clock.cosine()

    def _step(self, matcher, optimizer, x, y):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        t, at, velocity = matcher.sample_location_and_conditional_flow(x, y)
        found = self.net(torch.cat([at, t[:, None]], dim=1))
        optimizer.zero_grad()
        (found - velocity).square().mean().backward()
        optimizer.step()

    def _velocity(self, t, flat, shape):
        at = torch.from_numpy(flat.reshape(shape)).float()
        with torch.no_grad():
            out = self.net(torch.cat([at, at.new_full((len(at), 1), t)], dim=1))
        return out.double().numpy().ravel()

    def _integrated(self, X, times):
        X = np.asarray(X, float)
        solution = solve_ivp(
            self._velocity, times, X.ravel(), args=(X.shape,), rtol=1e-4, atol=1e-4
        )
        return solution.y[:, -1].reshape(X.shape)

    def forward(self, X):
        return self._integrated(X, (0, 1))

    def inverse(self, Y):
        return self._integrated(Y, (1, 0))
