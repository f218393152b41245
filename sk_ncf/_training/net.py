"""The skorch net that hosts the training."""

import re
from contextlib import contextmanager

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PassthroughScoring
from threadpoolctl import threadpool_limits
from torch.__config__ import parallel_info

from sk_ncf._flow.potential import ModulePotential, Potential
from sk_ncf._training.cuda_graphs import LossGraph
from sk_ncf._training.devices import drawn
from sk_ncf._training.soap import SOAP

__all__ = ["NCFNet", "TermSum", "build_net", "build_potential", "train"]


class TermSum:
    """The criterion: the sum of the terms, averaged over the class axis.

    No module, as it has no weights: several processes could not agree on them.
    """

    def __call__(self, terms, _):
        """Scalar loss."""
        return sum(term.mean() for term in terms.values())


class NCFNet(NeuralNet):
    """The skorch net that hosts the training; give one as ``skorch_net=`` to change it.

    Everything skorch offers can be set on it: ``optimizer``, ``optimizer__*``,
    ``callbacks``, ``module`` (your own potential, a ``torch.nn.Module`` class mapping
    (x, t) of shapes (n, d) and (n,) to (n,)) and ``module__*``. Learning rate, steps,
    batch size, device and seed are those of the estimator.

    Parameters
    ----------
    module : type or torch.nn.Module, default=None
        None takes :class:`~sk_ncf._flow.potential.Potential`.
    criterion : type, default=TermSum
    **kwargs
        Any parameter of :class:`skorch.NeuralNet`; the optimiser is
        :class:`~sk_ncf._training.soap.SOAP` unless given.
    """

    def __init__(self, module=None, criterion=TermSum, **kwargs):
        kwargs.setdefault("optimizer", SOAP)
        kwargs.setdefault("train_split", None)
        kwargs.setdefault("verbose", 0)
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self):
        loss = PassthroughScoring(name="train_loss", on_train=True)
        return [("epoch_timer", EpochTimer()), ("train_loss", loss)]

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        """The sum of the objective's terms."""
        return self.criterion_(y_pred, y_true)

    _graph = None  # of the loss, while training on a GPU

    def train_step_single(self, batch, **fit_params):
        """Loss and gradients of a minibatch, replayed where they are recorded."""
        if self._graph is None or fit_params:
            return super().train_step_single(batch, **fit_params)
        loss, terms = self._graph(batch[0])
        return {"loss": loss, "y_pred": terms}

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_graph", None)
        return state

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """One pass over the minibatches, whose losses are read when it is over.

        skorch reads each of them at once, for which a device has to be waited for.
        """
        if not training:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        losses = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            losses.append(step["loss"].detach())
            self.notify("on_batch_end", batch=batch, training=training, **step)
        rows = self.history[-1]["batches"]
        for row, loss in zip(rows, torch.stack(losses).tolist(), strict=True):
            row |= {f"{prefix}_loss": loss, f"{prefix}_batch_size": 1}
        self.history.record(f"{prefix}_batch_count", len(losses))


def build_potential(template, n_features, hidden_layer_sizes, seed, ensemble_size=1):
    """The potential: the module of the user's net, or :class:`Potential`.

    Initial weights depend on `seed` alone and leave the global generator as it was.
    """
    if template is None or template.module is None:
        generator = torch.Generator().manual_seed(seed)
        return Potential(
            n_features, hidden_layer_sizes, ensemble_size, generator=generator
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = template.get_params_for("module")
        return ModulePotential(template.initialized_instance(template.module, options))


def build_net(template, objective, callbacks, last, *, lr, device, seed, verbose):
    """An initialised skorch net like `template` that minimises `objective`.

    Its callbacks are `callbacks`, those of the template, and those of `last`.
    """
    template = NCFNet() if template is None else template
    arguments = template.get_params(deep=False)
    for name in list(arguments):
        if name.startswith("module"):
            del arguments[name]
    if not isinstance(template, NCFNet):
        arguments["criterion"] = TermSum
    # A loader without a generator of its own draws its seed from the global one.
    loader = {
        "train_split": None,
        "iterator_train__batch_size": None,
        "iterator_train__generator": torch.Generator().manual_seed(seed),
    }
    arguments.update(loader, module=objective, lr=lr, device=str(device))
    arguments["callbacks"] = [*callbacks, *(template.callbacks or []), *last]
    arguments["verbose"] = max(verbose, template.verbose)
    if hasattr(template, "accelerator"):
        arguments.update(device=None, iterator_train=drawn)
    return type(template)(**arguments).initialize()


def train(net, sampler):
    """Run the skorch fit loop over the sampler's epochs."""
    accelerator = getattr(net, "accelerator", None)
    if accelerator is not None:
        net._initialize_accelerator()  # skorch prepares new nets only
    with _one_thread(), _recorded(net, sampler.device):
        net.partial_fit(sampler, epochs=sampler.n_epochs)
    if accelerator is not None:
        accelerator.free_memory()  # what it has prepared is no part of the model


@contextmanager
def _recorded(net, device):
    """On a GPU: loss and gradients are recorded, if no code but this package's is in them."""
    own = type(net) is NCFNet and type(net.criterion_) is TermSum
    if own and LossGraph.fits(net, device):
        net._graph = LossGraph(net)
    try:
        yield
    finally:
        net.__dict__.pop("_graph", None)


@contextmanager
def _one_thread():
    """The matrices are small: threads that wait for each other cost more than they bring.

    Nor may their number change a result: training makes much of a difference in
    rounding.
    """
    with threadpool_limits(limits=1, user_api="openmp"):
        # Once torch.set_num_threads was called, torch's MKL goes by that alone.
        found = re.search(r"mkl_get_max_threads\(\) : (\d+)", parallel_info())
        n_threads = int(found[1]) if found else 1
        if n_threads == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
