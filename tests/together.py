"""What each process of test_processes.py runs: a fit, and two calls of a stream."""

import json
import pickle
import warnings

import torch
from accelerate import Accelerator
from fits import quick, two_samples
from skorch.callbacks import Callback
from skorch.hf import AccelerateMixin

from sk_ncf._training.net import NCFNet
from sk_ncf.datasets import make_convex_map

BATCH, STEPS = 32, 200


class AcceleratedNet(AccelerateMixin, NCFNet):
    """As in the guide."""


class FirstRows(Callback):
    """Remembers the first minibatch."""

    first = None

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if self.first is None:
            self.first = batch[0]["x"].sum().item()


def sample():
    return make_convex_map("elastic", 1000, 2, size=1.5, random_state=0)


def transport(batch_size, seed=0, **params):
    params = {"batch_size": batch_size, "max_iter": STEPS, "device": "cpu", **params}
    return quick(cost="elastic", random_state=seed, ensemble_size=2, **params)


def refusals(net, X):
    """Messages of fits that would go wrong. The steps are of all accelerators."""
    found = []
    for seed, n_steps in ((None, 1), (0, 2)):
        Accelerator(cpu=True, gradient_accumulation_steps=n_steps)
        try:
            quick(skorch_net=net, random_state=seed, device="cpu").fit(X)
        except ValueError as error:
            found.append(str(error))
    return found


def main(folder):
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    accelerator, rows, seen = Accelerator(cpu=True), sample(), FirstRows()
    net = AcceleratedNet(accelerator=accelerator)
    fitted = transport(BATCH, skorch_net=net, callbacks=[seen]).fit(
        rows.X, X_target=rows.X_target
    )
    X, Y = two_samples(200, 256)
    stream = quick(skorch_net=net, batch_size=BATCH)
    stream.partial_fit(X, X_target=Y).partial_fit(X, X_target=Y)
    rank = accelerator.process_index
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(fitted))
    found = {
        "n_processes": accelerator.num_processes,
        "first": seen.first,
        "map": fitted.transform(rows.X).tolist(),
        "stream": stream.transform(X).tolist(),
        "stream_steps": stream.n_iter_,
        "best": fitted.best_iter_,
        "refused": refusals(net, X),
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))
