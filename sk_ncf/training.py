"""Training, hosted by skorch: the objective as a module, the rules as callbacks."""

import re
from contextlib import contextmanager

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PassthroughScoring
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.__config__ import parallel_info

from sk_ncf import losses
from sk_ncf.devices import drawn
from sk_ncf.graphs import LossGraph
from sk_ncf.optimizer import SOAP
from sk_ncf.potential import ModulePotential, Potential

__all__ = [
    "MANY_ROWS",
    "NCFNet",
    "Objective",
    "TermSum",
    "auto_members",
    "auto_settings",
    "auto_weights",
    "build_net",
    "build_potential",
    "train",
]


MANY_ROWS = 30_000  # a budget sees them too few times to learn them by heart
MILLION = 1_000_000  # rows whose places every member would keep
FEW_FEATURES = 4  # which narrow potentials are enough for


class Objective(nn.Module):
    """The weighted terms of the loss of one minibatch pair.

    A potential that is shared by classes (one potential, rows of several classes) sees
    the rows of all, and is matched class by class.

    Parameters
    ----------
    flow : CharacteristicFlow
    objective : {"dual", "mmd"}
    weights : dict
        Weight of each term: hj, momentum, dual, hopf_lax, mmd. A term of weight 0 is
        not computed.
    kernel : {"energy", "gaussian", "laplace"}
        Kernel of the mmd term.
    max_pairs : int
        Source rows that enter the pair matrix at most.
    """

    def __init__(self, flow, objective, weights, kernel="energy", max_pairs=512):
        super().__init__()
        self.flow = flow
        self.objective = objective
        self.weights = weights
        self.kernel = kernel
        self.max_pairs = max_pairs

    def forward(
        self, x: Tensor, y: Tensor, t: Tensor, present: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted terms, each of shape [K], by name; 0 for classes not present."""
        terms = self.dual(x, y) if self.objective == "dual" else self.mmd(x, y, t)
        if present is not None and len(present) > 1:
            share = present / present.mean().clamp_min(1 / len(present))
            terms = {n: share * v if len(v) > 1 else v for n, v in terms.items()}
        return {name: self.weights[name] * term for name, term in terms.items()}

    def dual(self, x, y):
        """The four terms read off the characteristics, and the matching term if any."""
        from_x, from_y = self.flow.characteristics(x, y)
        rows = slice(self.max_pairs)
        pairs = self.flow.cost.pairwise(x[:, rows], y)
        pairs = from_x.u[:, rows].unsqueeze(-1) + pairs  # u(x_i, 0) + c(x_i, y_j)
        terms = {
            "hj": losses.hj_residual(from_x, from_y),
            "momentum": losses.momentum_residual(from_x, from_y),
            "dual": losses.semi_dual(from_x, from_y, pairs),
            "hopf_lax": losses.hopf_lax_violation(pairs, from_y.u),
        }
        if self.weights["mmd"]:
            terms["mmd"] = self.matching(x, y, from_x.end, from_y.end)
        return terms

    def mmd(self, x, y, t):
        """The paper's two terms: implicit residual between the samples, and matching."""
        between = x + t.unsqueeze(-1) * (y - x)
        n_potentials = self.flow.potential.n_classes
        between, t, from_x, to_y = (
            z.reshape(n_potentials, -1, *z.shape[2:]) for z in (between, t, x, y)
        )
        residual = losses.implicit_residual(self.flow, between, t)
        heads, feet = self.flow.head(from_x), self.flow.foot(to_y)
        return {
            "hj": residual.square().mean(-1),
            "mmd": self.matching(x, y, heads.view_as(x), feet.view_as(y)),
        }

    def matching(self, x, y, heads, feet):
        """Distance of the mapped rows to the rows they should look like, both ways."""
        forward = losses.mmd(heads, y, self.kernel, unbiased=True)
        return forward + losses.mmd(feet, x, self.kernel, unbiased=True)


class TermSum:
    """The criterion: the sum of the terms, averaged over the class axis.

    No module, as it has no weights: several processes could not agree on them.
    """

    def __call__(self, terms, _):
        """Scalar loss."""
        return sum(term.mean() for term in terms.values())


class NCFNet(NeuralNet):
    """The skorch net that hosts the training; give one as ``net=`` to change it.

    Everything skorch offers can be set on it: ``optimizer``, ``optimizer__*``,
    ``callbacks``, ``module`` (your own potential, a ``torch.nn.Module`` class mapping
    (x, t) of shapes (n, d) and (n,) to (n,)) and ``module__*``. Learning rate, steps,
    batch size, device and seed are those of the estimator.

    Parameters
    ----------
    module : type or torch.nn.Module, default=None
        None takes :class:`~sk_ncf.potential.Potential`.
    criterion : type, default=TermSum
    **kwargs
        Any parameter of :class:`skorch.NeuralNet`; the optimiser is
        :class:`~sk_ncf.optimizer.SOAP` unless given.
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


def build_potential(template, n_features, hidden_layer_sizes, seed, n_members=1):
    """The potential: the module of the user's net, or :class:`Potential`.

    Initial weights depend on `seed` alone and leave the global generator as it was.
    """
    if template is None or template.module is None:
        generator = torch.Generator().manual_seed(seed)
        return Potential(n_features, hidden_layer_sizes, n_members, generator=generator)
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


def auto_members(n_samples, n_features):
    """How many potentials "auto" stands for, with n distinct rows, without classes.

    Rows that are seen often are learnt by heart. What is learnt wrongly then differs
    between potentials of other weights and other rows, and their mean has less of it.
    In few dimensions several narrow ones cost no more than one, and vary less by seed.
    """
    many = MILLION if n_features <= FEW_FEATURES else MANY_ROWS
    return 4 if n_samples < many else 1


def auto_weights(objective, class_conditional):
    """What "auto" stands for in `momentum_weight` and `mmd_weight`.

    Rows of one class are few: there the distance of the mapped rows to the others keeps
    the semi-dual from learning them by heart, and the momentum the inverse near the map.
    A map that is shared by classes has nothing else to tell it where they belong.
    """
    mmd = {("dual", False): 0.0, ("dual", True): 10.0, ("mmd", False): 10.0}
    classes = bool(class_conditional)
    return {
        "momentum": 1.0 if classes else 0.3,
        "mmd": mmd.get((objective, classes), 30.0),
    }


def auto_settings(n_samples, n_features, n_members, n_classes, shared):
    """What "auto" stands for in the other parameters.

    The more classes, the less each of their potentials has to learn and the fewer rows
    of it there are.
    """
    width = 96 if n_features <= 16 else 128
    depth, batch_size = 4, 256
    if shared:
        width, batch_size = 192, max(32, 512 // n_classes)
    elif n_classes > 1:
        width, depth = (64 if n_classes <= 4 else 48), 3
        batch_size = max(24, batch_size // n_classes)
    elif n_members > 1:
        width, depth, batch_size = (64 if n_features <= FEW_FEATURES else width), 3, 128
    return {
        "hidden_layer_sizes": (width,) * depth,
        "learning_rate_init": 5e-3,
        "batch_size": batch_size,
        "max_iter": int(min(5_000, max(1_000, 2_500 * (n_samples / 4096) ** 0.25))),
    }
