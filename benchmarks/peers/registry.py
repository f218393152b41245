"""The peers by name: where they are, what they need, and their settings.

The first setting of a peer is what its documentation gives; the others are the small
grid it may choose its best from.
"""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Entry:
    """A peer: module and class, packages, costs, and settings by name."""

    where: str
    packages: tuple[str, ...] = ()
    settings: dict | None = None
    costs: tuple[str, ...] | None = ("sqeuclidean",)  # None: all

    def missing(self):
        """Packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]

    def named_settings(self):
        return self.settings or {"default": {}}

    def make(self, setting, *args):
        """The peer; this imports its package."""
        module, name = self.where.split(":")
        peer = getattr(importlib.import_module(module), name)
        return peer(*args, **self.named_settings()[setting])


OTT = ("jax", "ott", "flax", "diffrax")
OTT_COSTS = ("sqeuclidean", "lp", "norm_power", "elastic")
COSINE = {"cosine": True}
MMR_BEST = {"inner": 5, "batch": 256, **COSINE}

PEERS = {
    "sk_ncf": Entry(
        "own:NCF",
        settings={"default": {}, "steps fill the budget": {"fill_budget": True}},
        costs=None,
    ),
    "Gaussian map": Entry("own:Gaussian"),
    "POT EMDTransport": Entry("with_pot:ExactPlan", ("ot",), costs=None),
    "POT SinkhornTransport": Entry(
        "with_pot:Sinkhorn",
        ("ot",),
        {
            "default": {},
            "reg .01 of mean cost": {"share": 0.01},
            "reg .002 of mean cost": {"share": 0.002},
        },
    ),
    "POT LinearTransport": Entry("with_pot:Linear", ("ot",)),
    "POT MappingTransport linear": Entry(
        "with_pot:Mapping",
        ("ot",),
        {
            "default": {},
            "bias, eta 1e-8": {"options": {"eta": 1e-8, "bias": True, "max_iter": 20}},
        },
    ),
    "POT MappingTransport kernel": Entry(
        "with_pot:Mapping",
        ("ot",),
        {
            "default": {"options": {"kernel": "gaussian"}},
            "bias, eta 1e-5, mu .1": {
                "options": {
                    "kernel": "gaussian",
                    "eta": 1e-5,
                    "mu": 0.1,
                    "bias": True,
                    "max_iter": 10,
                }
            },
        },
    ),
    "OTT entropic map": Entry(
        "with_ott:Entropic",
        OTT,
        {
            "default": {},
            "epsilon .01 of mean cost": {"share": 0.01},
            "epsilon .002 of mean cost": {"share": 0.002},
        },
        OTT_COSTS,
    ),
    "OTT ProgOT": Entry(
        "with_ott:Progressive",
        OTT,
        {"default": {}, "selected epsilons": {"scheduled": True}},
        OTT_COSTS,
    ),
    "OTT W2NeuralDual": Entry(
        "with_ott_neural:NeuralDual",
        OTT,
        {
            "default": {},
            "MLP": {"net": "mlp", "lr": 1e-3, "batch": 256, **COSINE},
            "ICNN, small start": {"net": "small", "lr": 1e-3, "batch": 256, **COSINE},
        },
    ),
    "OTT ENOT": Entry(
        "with_ott_neural:Expectile",
        OTT,
        {
            "default": {},
            "batch 256": {"batch": 256},
            "lr 1e-3 cosine, batch 256": {"lr": 1e-3, "batch": 256, **COSINE},
        },
        OTT_COSTS,
    ),
    "OTT Monge gap": Entry(
        "with_ott_neural:MongeGap",
        OTT,
        {"default": {}, "strength .1, cosine": {"strength": 0.1, **COSINE}},
        OTT_COSTS,
    ),
    "torchcfm OT-CFM": Entry(
        "with_torchcfm:FlowMatching",
        ("torchcfm", "ot"),
        {
            "default": {},
            "sigma 0, width 128, cosine": {"sigma": 0.0, "width": 128, **COSINE},
        },
    ),
    "MM:R": Entry(
        "mmr:MMR",
        settings={
            "default": {"form": "dense"},
            "inner 5, batch 256, cosine": {"form": "dense", **MMR_BEST},
        },
    ),
    "MM:R MLP": Entry(
        "mmr:MMR",
        settings={
            "default": {},
            "inner 5, batch 256, cosine": MMR_BEST,
        },
        costs=None,
    ),
    "MM:R ICNN": Entry(
        "mmr:MMR",
        settings={
            "default": {"form": "icnn"},
            "inner 5, batch 256, cosine": {"form": "icnn", **MMR_BEST},
        },
    ),
}
