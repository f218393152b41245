"""Where training runs. What needs a GPU is skipped where there is none."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from fits import COSTS, quick, two_samples
from skorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import Potential
from sk_ncf._training import cuda_graphs, soap
from sk_ncf._training.callbacks.gradient_clipping import ClipPerPotential
from sk_ncf._training.callbacks.learning_rate import LinearDecay
from sk_ncf._training.callbacks.model_selection import Stop
from sk_ncf._training.callbacks.weight_average import WeightAverage
from sk_ncf._training.devices import move_to_device, resolve_device
from sk_ncf._training.net import NCFNet, TermSum, build_net
from sk_ncf._training.objective import MinibatchLoss
from sk_ncf.costs import Lp
from sk_ncf.costs._affine import AffineCost
from sk_ncf.costs._registry import make_cost
from sk_ncf.objectives import MMD, SemiDual

X, Y = two_samples()
META = torch.device("meta")
OBJECTIVES = {
    "semi_dual": SemiDual(momentum_weight=0.3, mmd_weight=1.0),
    "mmd": MMD(mmd_weight=1.0),
}
GPUS = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
on_gpu = pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not there, reason=f"no {name} here")
        )
        for name, there in GPUS.items()
    ],
)


# On a device that holds no values, which no step may ask for.


class Crossings(TorchDispatchMode):
    """Counts the copies from one device to another."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            given = args[0] if function is torch.ops.aten._to_copy.default else args[1]
            self.count += given.device != out.device
        return out


def _affine(cost=None):
    shift = torch.tensor([0.3, -0.2], dtype=torch.float64)
    return AffineCost(cost or Lp(1.5), shift, 1.5, 2.0)


def _net(cost, objective="semi_dual"):
    flow = CharacteristicFlow(Potential(2, (8, 8)), cost)
    rules = [
        ("schedule", LinearDecay(100)),
        ("clip", ClipPerPotential()),
        ("average", WeightAverage()),
    ]
    module = MinibatchLoss(flow, OBJECTIVES[objective])
    return build_net(
        NCFNet(optimizer__basis_every=3),
        module,
        rules,
        [("stop", Stop(None))],
        lr=0.1,
        device="meta",
        seed=0,
        verbose=0,
    )


@pytest.mark.slow
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_reads_no_value_and_moves_none(objective, cost):
    """It runs where there are no values; a cost has moved its constants by then."""
    net = _net(_affine(make_cost(cost, COSTS[cost])), objective)
    rows = {"x": (1, 6, 2), "y": (1, 5 + (objective == "mmd"), 2), "t": (1, 6)}
    batch = {name: torch.empty(shape, device=META) for name, shape in rows.items()}
    batch = batch, torch.empty((), device=META)
    net.notify("on_train_begin")
    with Crossings() as crossings:
        net.history.new_epoch()
        for k in range(5):  # the optimiser renews its basis in the fourth
            if k == 1:
                assert crossings.count > 0
                crossings.count = 0
            net.notify("on_batch_begin", batch=batch, training=True)
            step = net.train_step(batch)
            net.notify("on_batch_end", batch=batch, training=True, **step)
    assert crossings.count == 0


def test_constants_of_a_cost_are_moved_once_and_never_pickled():
    cost, rows = _affine(), torch.empty(3, 2, device=META)
    cost.lagrangian(rows)
    with Crossings() as crossings:
        cost.lagrangian(rows)
    assert crossings.count == 0
    for twin in (
        copy.copy(cost),
        copy.deepcopy(cost),
        pickle.loads(pickle.dumps(cost)),
    ):
        v = torch.ones(3, 2)
        assert twin.lagrangian(v).device.type == "cpu"
        assert all(not z.is_meta for z in _tensors(twin))


def _tensors(holder, seen=None):
    """Floating-point tensors in a tree of objects."""
    seen = set() if seen is None else seen
    if id(holder) in seen or isinstance(holder, type):
        return
    seen.add(id(holder))
    if isinstance(holder, torch.Tensor):
        if holder.is_floating_point():
            yield holder
        return
    parts = holder if isinstance(holder, (list, tuple)) else []
    parts = holder.values() if isinstance(holder, dict) else parts
    for part in [*parts, *getattr(holder, "__dict__", {}).values()]:
        yield from _tensors(part, seen)


@pytest.mark.parametrize("cost", ["sqeuclidean", "lp"])
def test_all_that_a_net_has_learnt_is_moved(cost):
    stream = quick(cost=cost, ensemble_size=2).partial_fit(X, X_target=Y)
    net = copy.deepcopy(stream.net_)
    held = list(_tensors(net.callbacks_)) + list(_tensors(net.optimizer_.state))
    assert len(held) > 20
    # As between devices with values, the parameters stay the same objects.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        move_to_device(net, META)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    for part in (net.module_.flow.potential, net.callbacks_, net.optimizer_):
        moved = list(_tensors(part))
        assert moved
        assert all(value.is_meta for value in moved)
    assert net.device == "meta"
    assert all(not value.is_meta for value in _tensors(stream.net_.optimizer_.state))


class Pickled(Callback):
    """Pickles the net in training."""

    def on_epoch_begin(self, net, **kwargs):
        pickle.dumps(net)


class Losses(Callback):
    """The losses of all steps."""

    def initialize(self):
        self.all = []
        return self

    def on_batch_end(self, net, loss=None, **kwargs):
        self.all.append(loss.item())


def test_loss_of_an_epoch_is_the_mean_of_its_steps():
    transport = quick(20, callbacks=[("losses", Losses())]).fit(X, X_target=Y)
    losses = dict(transport.net_.callbacks_)["losses"].all
    counts = transport.history_[:, "train_batch_count"]
    assert len(losses) == sum(counts) == 20
    last = losses[-counts[-1] :]
    assert transport.history_[-1, "train_loss"] == pytest.approx(np.mean(last))


def test_bases_that_a_device_cannot_factorise_are_factorised_on_the_cpu(monkeypatch):
    wanted = quick().fit(X, X_target=Y).transform(X)
    monkeypatch.setattr(soap, "NO_FACTORISATIONS", {"cpu"})
    np.testing.assert_array_equal(quick().fit(X, X_target=Y).transform(X), wanted)


# Recorded steps.


def _played_back(function):
    """As a CUDA graph: the results of all calls lie in the tensors of the first one."""
    first = []

    def replay():
        result = function()
        tensors = list(_tensors(result))
        if not first:
            first[:] = [result, tensors]
        for kept, value in zip(first[1], tensors, strict=True):
            kept.detach().copy_(value.detach())
        replay.calls += 1
        return first[0]

    replay.calls, replay.function = 0, function
    return replay


@pytest.fixture
def replays(monkeypatch):
    """Replays of what is recorded, on the CPU as on a GPU."""
    made = []

    def recorded(function, device):
        made.append(_played_back(function))
        return made[-1]

    monkeypatch.setattr(cuda_graphs, "DEVICES", {"cpu"})
    monkeypatch.setattr(cuda_graphs, "call_on_side_stream", lambda f, device: f())
    monkeypatch.setattr(cuda_graphs, "capture_graph", recorded)
    return made


RECORDED = {
    "dual": {},
    "mmd": {"objective": "mmd", "cost": "lp"},
    "members": {
        "ensemble_size": 3,
        "cost": "quadratic_form",
        "cost_params": COSTS["quadratic_form"],
    },
    "returns": {"learning_rate_init": 1e4, "max_iter": 600},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Training diverged")
@pytest.mark.parametrize("options", RECORDED.values(), ids=RECORDED)
def test_recorded_steps_are_the_steps(options, request):
    options = {"max_iter": 130, "device": "cpu", "callbacks": [Pickled()], **options}
    wanted = quick(**options).fit(X, X_target=Y)
    replays = request.getfixturevalue("replays")
    found = quick(**options).fit(X, X_target=Y)
    np.testing.assert_array_equal(found.transform(X), wanted.transform(X))
    assert found.n_iter_ == wanted.n_iter_
    assert sum(replay.calls for replay in replays) > 1.5 * (found.n_iter_ - 50)


def test_streams_and_classes_are_recorded_too(request):
    y = np.arange(80) % 2
    options = {"class_conditional": "per_class", "batch_size": 8, "device": "cpu"}

    def fed():
        transport = quick(**options)
        for k in range(3):
            transport.partial_fit(X + k, y, X_target=Y[:80], y_target=y)
        return transport.transform(X, sample_label=y)

    wanted = fed()
    replays = request.getfixturevalue("replays")
    np.testing.assert_array_equal(fed(), wanted)
    assert replays


class Shifted(Lp):
    """A cost of the user's, whose code may read values."""


def test_code_of_the_users_is_not_recorded(replays):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, x, t):
            return torch.tanh(self.layer(torch.cat([x, t[:, None]], 1)))

    class Doubled(NCFNet):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            return 2 * super().get_loss(y_pred, y_true)

    adam = {"optimizer": torch.optim.Adam}  # is not recorded itself
    for options in (
        {"cost": Shifted(1.5), "skorch_net": NCFNet(**adam)},
        {"skorch_net": NCFNet(Own, **adam)},
        {"skorch_net": NCFNet(criterion=type("Sum", (TermSum,), {}), **adam)},
        {"skorch_net": Doubled(**adam)},
    ):
        quick(**options, device="cpu").fit(X, X_target=Y)
        assert not any("_run" in str(replay.function) for replay in replays)
    quick(skorch_net=NCFNet(**adam), device="cpu").fit(X, X_target=Y)
    assert any("_run" in str(replay.function) for replay in replays)


# Names.


@pytest.mark.parametrize("name", [name for name, there in GPUS.items() if not there])
def test_a_device_that_is_not_there_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"device must be .* got '{name}': "):
        quick(device=name).fit(X, X_target=Y)
    transport = quick().fit(X, X_target=Y)
    mapped = transport.transform(X)
    with pytest.raises(ValueError, match=f"device must be .* got '{name}': "):
        transport.set_params(device=name).transform(X)
    np.testing.assert_array_equal(
        transport.set_params(device="cpu").transform(X), mapped
    )


def test_a_device_without_values_is_refused():
    with pytest.raises(ValueError, match="device must .* got 'meta'"):
        quick(device="meta").fit(X, X_target=Y)


def test_auto_is_cuda_where_there_is_one_and_never_mps():
    assert resolve_device("auto").type == ("cuda" if GPUS["cuda"] else "cpu")


# On a GPU.

LOAD = """
import pickle, sys
import numpy as np, torch
assert not torch.cuda.is_available()
transport = pickle.load(open(sys.argv[1], "rb")).set_params(device="cpu")
X, Y, wanted = np.load(sys.argv[2])
np.testing.assert_allclose(transport.transform(X), wanted, atol=1e-3)
transport.partial_fit(X, X_target=Y)
"""


@on_gpu
@pytest.mark.parametrize("cost", COSTS)
def test_a_map_fitted_on_a_gpu_is_that_of_the_cpu(cost, device):
    options = {"cost": cost, "cost_params": COSTS[cost], "max_iter": 100}
    maps = []
    for place_ in ("cpu", device):
        transport = quick(device=place_, **options).fit(X, X_target=Y)
        maps.append((transport.transform(X), transport.inverse_transform(Y)))
    for one, other in zip(*maps, strict=True):
        assert np.abs(one - other).mean() < 0.05 * one.std()


@on_gpu
@pytest.mark.parametrize("options", RECORDED.values(), ids=RECORDED)
def test_recorded_steps_on_a_gpu_are_those_it_is_told(options, device, monkeypatch):
    if device != "cuda":
        pytest.skip("records nothing")
    options = {**options, "max_iter": 100, "learning_rate_init": 5e-3}
    options["callbacks"] = [Pickled()]
    found = quick(**options, device=device).fit(X, X_target=Y).transform(X)
    monkeypatch.setattr(cuda_graphs, "DEVICES", set())
    wanted = quick(**options, device=device).fit(X, X_target=Y).transform(X)
    assert np.abs(found - wanted).mean() < 0.01 * wanted.std()


@on_gpu
@pytest.mark.parametrize("stream", [False, True])
def test_a_map_fitted_on_a_gpu_is_read_without_one(stream, device, tmp_path):
    transport = quick(device=device, cost="lp")
    fit = transport.partial_fit if stream else transport.fit
    fit(X, X_target=Y[:80])
    for learnt in (transport.flow_, transport.net_.module_):
        assert all(value.device.type == "cpu" for value in learnt.parameters())
    wanted = transport.transform(X)
    (tmp_path / "map").write_bytes(pickle.dumps(transport))
    np.save(tmp_path / "rows.npy", np.stack([X, Y[:80], wanted]))
    subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "map", tmp_path / "rows.npy"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
        timeout=120,
    )
    fit(X, X_target=Y)
