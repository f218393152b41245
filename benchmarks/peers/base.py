"""What all peers share: minibatches until the time is up, growing samples, chunks."""

import math
import time

import numpy as np


class BudgetSpent(Exception):
    """Ends a training loop that only knows a number of steps."""


class Peer:
    """A map fitted to two samples: fit(X, Y, budget), forward(X), inverse(Y).

    Attributes
    ----------
    inverse : callable or None
        None where the method has no inverse.
    rows, seconds : int, float or None
        Rows and seconds of the fit that was kept, where they are not all rows and all
        seconds (:meth:`grow`).
    """

    inverse = None
    rows = seconds = None

    def __init__(self, cost, cost_params, seed, **setting):
        self.cost, self.cost_params, self.seed = cost, cost_params, seed
        self.__dict__.update(setting)

    def grow(self, fit, X, Y, budget, growth, rows=512):
        """Fit on twice the rows again, while that should still end within the budget.

        For methods that cannot be stopped. `growth` is the factor of time that twice
        the rows take, once what a fit of few rows takes (to compile) is set aside. The
        rows of all problems are independent, so the first ones are a sample. The
        seconds that count are those of the last fit alone.
        """
        start = time.perf_counter()
        fit(X[:64], Y[:64])
        fixed = time.perf_counter() - start
        while True:
            began = time.perf_counter()
            fit(X[:rows], Y[:rows])
            self.seconds = time.perf_counter() - began
            self.rows = min(rows, len(X))
            following = fixed + growth * max(self.seconds - fixed, 0)
            if rows >= len(X) or began + self.seconds + following > start + budget:
                return
            rows = min(2 * rows, len(X))


class Clock:
    """Time since its making, as a share of the budget."""

    def __init__(self, budget):
        self.start, self.budget = time.perf_counter(), budget

    def share(self):
        """0 at the start, 1 when the budget is spent."""
        return (time.perf_counter() - self.start) / self.budget

    def cosine(self):
        """Factor of a learning rate that falls to 0 as the budget is spent."""
        return (1 + math.cos(math.pi * min(self.share(), 1))) / 2


class Minibatches:
    """Rows drawn at random, as float32, until the budget is spent."""

    def __init__(self, X, size, seed, clock, before=lambda: None):
        self.X, self.size = np.asarray(X, np.float32), size
        self.clock, self.before = clock, before
        self.rng = np.random.default_rng(seed)

    def __iter__(self):
        return self

    def __next__(self):
        self.before()
        if self.clock.share() >= 1:
            raise BudgetSpent
        return self.X[self.rng.integers(len(self.X), size=self.size)]


def in_chunks(function, X, size=1000):
    """`function` on chunks of equal size, so that what it compiles is compiled once."""
    size = min(size, len(X))
    padded = X[np.arange(-(-len(X) // size) * size) % len(X)]
    parts = [
        np.asarray(function(part)) for part in np.split(padded, len(padded) // size)
    ]
    return np.concatenate(parts)[: len(X)]
