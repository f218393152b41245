"""The skorch net of the training."""

import dis
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PassthroughScoring
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.__config__ import parallel_info

from sk_ncf._flow.potential import ModulePotential, Potential
from sk_ncf._training.cuda_graphs import LossGraph
from sk_ncf._training.devices import sampler_as_iterator
from sk_ncf._training.soap import SOAP

if TYPE_CHECKING:
    from sk_ncf._training.member_slices import SlicedSteps
    from sk_ncf._training.minibatches import PairSampler
    from sk_ncf._training.objective import MinibatchLoss

__all__ = ["NCFNet", "TermSum", "build_net", "build_potential", "one_thread", "train"]


class TermSum:
    """The criterion: the sum of the terms, averaged over the class axis.

    It is not a module: it has no weights that several processes would synchronise.
    """

    def __call__(self, terms: dict[str, Tensor], _: Any) -> Tensor:
        """Scalar loss."""
        means = [term.mean() for term in terms.values()]
        return sum(means[1:], means[0])


class NCFNet(NeuralNet):
    """The skorch net of the training; pass one as ``skorch_net=`` to change it.

    All parameters of a skorch net can be set: ``optimizer``, ``optimizer__*``,
    ``callbacks``, ``module`` (your own potential, a ``torch.nn.Module`` class that maps
    (x, t) of shapes (n, d) and (n,) to (n,)) and ``module__*``. Learning rate, steps,
    batch size, device and seed are set by the estimator.

    Parameters
    ----------
    module : type or torch.nn.Module, default=None
        None takes :class:`~sk_ncf._flow.potential.Potential`.
    criterion : type, default=TermSum
        Maps the terms of the objective, a dict, to the loss.
    **kwargs
        Any parameter of :class:`skorch.NeuralNet`. The default optimizer is
        :class:`~sk_ncf._training.soap.SOAP`.
    """

    module: type[nn.Module] | nn.Module | None
    _graph: LossGraph | None = None  # while training on a GPU
    _slices: "SlicedSteps | None" = None  # while training in several processes

    def __init__(
        self,
        module: type[nn.Module] | nn.Module | None = None,
        criterion: type = TermSum,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("optimizer", SOAP)
        kwargs.setdefault("train_split", None)
        kwargs.setdefault("verbose", 0)
        super().__init__(module, criterion, **kwargs)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        loss = PassthroughScoring(name="train_loss", on_train=True)
        return [("epoch_timer", EpochTimer()), ("train_loss", loss)]

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The loss of the terms of the objective."""
        return self.criterion_(y_pred, y_true)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Loss and gradients of a minibatch, by a CUDA graph if there is one."""
        if self._graph is None or fit_params:
            return super().train_step_single(batch, **fit_params)
        loss, terms = self._graph(batch[0])
        return {"loss": loss, "y_pred": terms}

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_graph", None)
        state.pop("_slices", None)
        # skorch pickles module_ separately: module, the same object, would be a copy.
        if "module_" in vars(self) and self.module is self.module_:
            state["module"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.module is None:
            self.module = vars(self).get("module_")

    stopped_by_callback = False

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks; remember if one of them ends the training.

        A callback ends it as Ctrl-C does, by a KeyboardInterrupt. Its code raises it by a
        statement, whereas the signal of Ctrl-C may arrive at any instruction.
        """
        if method_name == "on_train_begin":  # a stream trains the same net again
            self.stopped_by_callback = False
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as error:
            self.stopped_by_callback = _is_raised_by_statement(error)
            raise

    def run_single_epoch(
        self,
        iterator: Iterable[Any],
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **fit_params: Any,
    ) -> None:
        """One pass over the minibatches, whose losses are read at its end.

        skorch reads each loss at once, and so waits for the device in every step.
        """
        if not training:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        losses = []
        if self._slices is not None and not fit_params:
            losses = self._slices(iterator)
            for _ in losses:
                self.history.new_batch()
            iterator = ()
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            losses.append(step["loss"].detach())
            self.notify("on_batch_end", batch=batch, training=training, **step)
        rows = self.history[-1]["batches"]
        for row, loss in zip(rows, torch.stack(losses).tolist(), strict=True):
            row |= {f"{prefix}_loss": loss, f"{prefix}_batch_size": 1}
        self.history.record(f"{prefix}_batch_count", len(losses))


def build_potential(
    template: NeuralNet | None,
    n_features: int,
    hidden_layer_sizes: tuple[int, ...],
    seed: int,
    n_potentials: int = 1,
) -> Potential | ModulePotential:
    """The potential: the module of the user's net, or :class:`Potential`.

    The initial weights depend only on `seed`. The global generator is not changed.
    """
    if template is None or template.module is None:
        generator = torch.Generator().manual_seed(seed)
        return Potential(
            n_features, hidden_layer_sizes, n_potentials, generator=generator
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = template.get_params_for("module")
        return ModulePotential(template.initialized_instance(template.module, options))


def build_net(
    template: NeuralNet | None,
    objective: "MinibatchLoss",
    early: Sequence[Any],
    late: Sequence[Any],
    *,
    lr: float,
    device: torch.device | str,
    seed: int,
    verbose: int,
) -> NeuralNet:
    """An initialised skorch net like `template` that minimises `objective`.

    Its callbacks are `early`, those of the template, and `late`.
    """
    template = NCFNet() if template is None else template
    arguments = template.get_params(deep=False)
    for name in list(arguments):
        if name.startswith("module"):
            del arguments[name]
    if not isinstance(template, NCFNet):
        arguments["criterion"] = TermSum
    loader = {
        "train_split": None,
        "iterator_train__batch_size": None,
        # Without it, a data loader draws its seed from the global generator.
        "iterator_train__generator": torch.Generator().manual_seed(seed),
    }
    arguments.update(loader, module=objective, lr=lr, device=str(device))
    arguments["callbacks"] = [*early, *(template.callbacks or []), *late]
    arguments["verbose"] = max(verbose, template.verbose)
    if hasattr(template, "accelerator"):
        arguments.update(device=None, iterator_train=sampler_as_iterator)
    return type(template)(**arguments).initialize()


def train(
    net: NeuralNet, sampler: "PairSampler", slices: "SlicedSteps | None" = None
) -> None:
    """Run the skorch fit loop over the sampler's epochs.

    Parameters
    ----------
    net : NeuralNet
        Initialised.
    sampler : PairSampler
    slices : SlicedSteps, default=None
        Takes the steps in several processes.
    """
    accelerator = getattr(net, "accelerator", None)
    if accelerator is not None:
        net._initialize_accelerator()  # skorch does so for new nets only
    with one_thread(), _cuda_graph(net, sampler.device):
        if slices is not None:
            net._slices = slices
        try:
            net.partial_fit(sampler, epochs=sampler.n_epochs)
        finally:
            net.__dict__.pop("_slices", None)
    if accelerator is not None:
        accelerator.free_memory()  # its wrappers are not part of the model


@contextmanager
def _cuda_graph(net: NeuralNet, device: torch.device) -> Iterator[None]:
    """Compute loss and gradients by a CUDA graph, if the device and the net allow it."""
    own = type(net) is NCFNet and type(net.criterion_) is TermSum
    if own and LossGraph.is_supported(net, device):
        net._graph = LossGraph(net)
    try:
        yield
    finally:
        net.__dict__.pop("_graph", None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: for small matrices, synchronising several costs more than it gains.

    The number of threads changes rounding, and training amplifies rounding errors: with
    one thread the result does not depend on the machine's number of threads.

    Yields
    ------
    None
    """
    with threadpool_limits(limits=1, user_api="openmp"):
        # After a call of torch.set_num_threads, torch's MKL ignores the OpenMP limit.
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


def _is_raised_by_statement(error: BaseException) -> bool:
    """Whether the innermost frame of the traceback stopped at a raise statement."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    code, place = traceback.tb_frame.f_code.co_code, traceback.tb_lasti
    return place >= 0 and dis.opname[code[place]] == "RAISE_VARARGS"
