r"""Maximin solver, reversed (MM:R), written from its paper.

.. math:: \max_g \min_T \; E_y g(y) + E_x [c(x, T(x)) - g(T(x))]

A potential g on the target side and the forward map T; the inverse follows from g,
:math:`T^{-1}(y) = y - \nabla H(\nabla g(y))`. A. Korotin et al., "Do Neural Optimal
Transport Solvers Work? A Continuous Wasserstein-2 Benchmark", NeurIPS 2021.
"""

import contextlib

import numpy as np
import torch
from base import BudgetSpent, Clock, Minibatches, Peer, in_chunks
from torch import nn

from sk_ncf.costs._registry import make_cost


class DenseICNN(nn.Module):
    """Dense network with quadratic skips; convex once its inner weights are >= 0."""

    def __init__(self, d, strong_convexity=1e-4):
        super().__init__()
        widths = [max(2 * d, 64), max(2 * d, 64), max(d, 32)]
        self.skips = nn.ModuleList(nn.Linear(d, w) for w in widths)
        self.squares = nn.ModuleList(nn.Linear(d, w, bias=False) for w in widths)
        pairs = zip(widths, [*widths[1:], 1], strict=True)
        self.inner = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs)
        self.strong_convexity = strong_convexity
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def forward(self, x):
        """Rows (n, d) to values (n,)."""
        z = 0
        for k, (skip, square) in enumerate(zip(self.skips, self.squares, strict=True)):
            z = z + skip(x) + square(x).square()
            # The first layer is left as it is, a convex quadratic.
            z = self.inner[k](nn.functional.celu(z) if k else z)
        return z.squeeze(-1) + self.strong_convexity / 2 * x.square().sum(-1)

    def clip(self):
        """The nearest convex network."""
        with torch.no_grad():
            for layer in self.inner:
                layer.weight.clamp_(min=0)


def gradient(function, x, create_graph=False):
    """Gradient of a function of rows, in one pass."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x, create_graph=create_graph)[0]


def mlp(d, out, width=128):
    """Three hidden layers."""
    sizes = [d, width, width, width]
    layers = [
        part
        for a, b in zip(sizes, sizes[1:], strict=False)
        for part in (nn.Linear(a, b), nn.SiLU())
    ]
    return nn.Sequential(*layers, nn.Linear(width, out))


class Gradients:
    """Both as gradients, T = grad psi and g = |y|^2 / 2 - phi(y), quadratic cost."""

    def __init__(self, d, clipped):
        self.phi, self.psi = DenseICNN(d), DenseICNN(d)
        self.clipped = clipped
        self._start_at_identity(d)
        self.psi.load_state_dict(self.phi.state_dict())

    def _start_at_identity(self, d, steps=300):
        optimizer = torch.optim.Adam(self.phi.parameters(), lr=1e-2)
        for _ in range(steps):
            x = 3 * torch.randn(256, d)
            loss = (gradient(self.phi, x, create_graph=True) - x).square().mean()
            step(optimizer, loss)
            self.clip(self.phi)

    def clip(self, net):
        if self.clipped:
            net.clip()

    def map(self, x):
        return gradient(self.psi, x, create_graph=True)

    def potential(self, y):
        return y.square().sum(-1) / 2 - self.phi(y)


class Free:
    """A map and a potential without structure, for any cost."""

    def __init__(self, d):
        self.phi, self.psi = mlp(d, 1), mlp(d, d)

    def clip(self, net):
        pass

    def map(self, x):
        return x + self.psi(x)

    def potential(self, y):
        return -self.phi(y).squeeze(-1)


def step(optimizer, loss):
    """One step down."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class MMR(Peer):
    """Adam at 1e-3, 15 steps of the map for one of the potential, batches of 1,024."""

    form, batch, inner, lr, betas, cosine = "mlp", 1024, 15, 1e-3, (0.9, 0.999), False

    def fit(self, X, Y, budget):
        clock = Clock(budget)
        torch.manual_seed(self.seed)
        d = X.shape[1]
        self.law = make_cost(self.cost, self.cost_params)
        self.nets = Free(d) if self.form == "mlp" else Gradients(d, self.form == "icnn")
        sides = [
            map(torch.from_numpy, Minibatches(Z, self.batch, k, clock))
            for k, Z in enumerate((X, Y))
        ]
        optimizers = [
            torch.optim.Adam(net.parameters(), lr=self.lr, betas=self.betas)
            for net in (self.nets.psi, self.nets.phi)
        ]
        with contextlib.suppress(BudgetSpent):
            while True:
                self._round(*sides, *optimizers)
                self._decay(optimizers, clock)

    def _round(self, source, target, map_optimizer, potential_optimizer):
        nets = self.nets
        for _ in range(self.inner):
            x = next(source)
            image = nets.map(x)
            step(map_optimizer, (self.law(x, image) - nets.potential(image)).mean())
            nets.clip(nets.psi)
        image = nets.map(next(source)).detach()
        loss = nets.potential(image).mean() - nets.potential(next(target)).mean()
        step(potential_optimizer, loss)
        nets.clip(nets.phi)

    def _decay(self, optimizers, clock):
        if self.cosine:
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = self.lr * clock.cosine()

    def _apply(self, function, X):
        rows = lambda part: function(torch.from_numpy(part)).detach().numpy()
        return in_chunks(rows, np.asarray(X, np.float32))

    def forward(self, X):
        return self._apply(self.nets.map, X)

    def inverse(self, Y):
        move = lambda y: y - self.law.velocity(gradient(self.nets.potential, y))
        return self._apply(move, Y)
