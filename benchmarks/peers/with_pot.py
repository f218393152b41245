"""The maps of POT (``ot.da``); exact plans also for costs other than the quadratic."""

import warnings

import numpy as np
import ot
import torch
from base import Peer

from sk_ncf.costs._registry import make_cost


def mean_cost(X, Y):
    """Mean squared distance between rows of X and rows of Y."""
    shift = np.square(X.mean(0) - Y.mean(0)).sum()
    return X.var(0).sum() + Y.var(0).sum() + shift


def cost_matrix(cost, X, Y, rows=64):
    """c(x_i, y_j) for all pairs, some rows at a time."""
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    return torch.cat([cost.pairwise(part, y) for part in x.split(rows)]).numpy()


class Transport(Peer):
    """One of POT's estimators, on as many rows as the budget allows."""

    growth, first_rows = 5, 512

    def fit(self, X, Y, budget):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # not converged: it shows
            sides = X.astype(float), Y.astype(float)
            self.grow(self._fit, *sides, budget, self.growth, self.first_rows)

    def _fit(self, X, Y):
        self.transport = self.make(X, Y)
        self.transport.fit(Xs=X, Xt=Y)

    def forward(self, X):
        return self.transport.transform(Xs=X)


class Invertible(Transport):
    """With an inverse."""

    def inverse(self, Y):
        return self.transport.inverse_transform(Xt=Y)


class ExactPlan(Invertible):
    """EMDTransport: exact plan; other rows move as their nearest neighbour does.

    `max_iter` is raised from its 100,000, which stop short of the optimum above some
    thousand rows. The estimator itself knows the metrics of scipy; the plan of another
    cost is solved from its matrix and handed to it.
    """

    growth = 8

    def make(self, X, Y):
        return ot.da.EMDTransport(max_iter=100_000_000)

    def _fit(self, X, Y):
        if self.cost == "sqeuclidean":
            super()._fit(X, Y)
            return
        self.transport = transport = self.make(X, Y)
        cost = make_cost(self.cost, self.cost_params)
        transport.cost_, transport.norm_cost_ = cost_matrix(cost, X, Y), 1
        transport.xs_, transport.xt_ = X, Y
        transport.nx = ot.backend.get_backend(X, Y)
        transport.coupling_ = ot.emd(
            ot.unif(len(X)), ot.unif(len(Y)), transport.cost_, transport.max_iter
        )


class Sinkhorn(Invertible):
    """SinkhornTransport; `share` is its regularisation over the mean cost."""

    share = None

    def make(self, X, Y):
        if self.share is None:
            return ot.da.SinkhornTransport()
        return ot.da.SinkhornTransport(reg_e=self.share * mean_cost(X, Y))


class Linear(Invertible):
    """LinearTransport, the Gaussian map."""

    def make(self, X, Y):
        return ot.da.LinearTransport()


class Mapping(Transport):
    """MappingTransport: a plan and a linear or kernel map, fitted jointly."""

    growth, first_rows = 10, 128
    options = None

    def make(self, X, Y):
        return ot.da.MappingTransport(**(self.options or {}))
