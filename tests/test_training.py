"""Risk, ends of a fit, the user's own parts in it, and what it shows."""

import signal

import numpy as np
import pytest
import torch
from fits import fitted, problem, quick, start_map, two_samples
from problems import PROBLEMS
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn

from sk_ncf import NCFTransport
from sk_ncf._training import compression
from sk_ncf._training.budget import MIN_EPOCH as EPOCH
from sk_ncf._training.budget import epoch_length
from sk_ncf._training.held_out_risk import held_out_risk
from sk_ncf._training.net import NCFNet
from sk_ncf.datasets import make_gaussians
from sk_ncf.metrics import l2_uvp

X, Y = two_samples()
SCORED = [problem for problem in PROBLEMS if "user's" not in problem.name]
PROBLEM = next(p for p in PROBLEMS if p.name == "gaussian")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 4])
def test_between_gaussians_of_many_rows_no_network_is_better_by_chance(seed):
    rows = make_gaussians(4096, 2, random_state=seed)
    transport = NCFTransport(random_state=0)
    with pytest.warns(ConvergenceWarning, match="returns the Gaussian map"):
        transport.fit(rows.X, X_target=rows.X_target)
    assert transport.map_kind_ == "gaussian"


# The risk.


@pytest.mark.parametrize("problem", SCORED, ids=repr)
def test_exact_potential_scores_best_among_bent_ones(problem):
    x = problem.sample(100)
    y, weight = problem.T(x), torch.full((1, 100), 0.01, dtype=torch.float64)

    def criterion(bend):
        return (
            held_out_risk(problem.flow(bend), x, y, weight, weight).criterion().item()
        )

    for bend in (-0.1, -0.03, 0.03, 0.1):
        assert criterion(bend) > criterion(0.0)


def test_risk_of_weighted_rows_is_that_of_repeated_rows():
    count = torch.arange(1, 5).repeat(5)
    x, flow = PROBLEM.sample(20), PROBLEM.flow(bend=0.3)
    y, weight = PROBLEM.T(x) + 0.1, (count / count.sum()).double()[None]
    many = [z.repeat_interleave(count, 1) for z in (x, y)]
    equal = torch.full((1, count.sum()), 1 / count.sum(), dtype=torch.float64)
    ours = held_out_risk(flow, x, y, weight, weight)
    wanted = held_out_risk(flow, *many, equal, equal)
    assert ours.value().item() == pytest.approx(wanted.value().item())
    assert ours.criterion().item() == pytest.approx(wanted.criterion().item())


# Stops, and the user's own parts.


class At(Callback):
    """Does something at the end of the epoch of that number, and counts epochs."""

    def __init__(self, epoch=None, action=None):
        self.epoch, self.action = epoch, action

    def initialize(self):
        self.count = 0
        return self

    def on_epoch_end(self, net, **kwargs):
        self.count += 1
        if self.count == self.epoch:
            self.action()


def _interrupt():
    signal.raise_signal(signal.SIGINT)  # what Ctrl-C sends


def _error(transport, rows):
    fresh = rows.sample_pairs(1000, random_state=1)
    return l2_uvp(transport.transform(fresh[0]), fresh[1])


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_fit_keeps_the_best_weights_so_far_and_says_so():
    rows = problem("elastic")
    data = {"X": rows.X, "X_target": rows.X_target}
    transport = quick(1000, cost="elastic", callbacks=[At(2, _interrupt)])
    n_steps = 2 * epoch_length(1000)
    with pytest.warns(ConvergenceWarning, match=f"interrupted after {n_steps} steps"):
        transport.fit(**data)
    assert transport.stop_reason_ == "interrupted"
    assert 0 < transport.best_iter_ <= transport.n_iter_ == n_steps
    assert _error(transport, rows) < 0.7 * _error(
        start_map(cost="elastic").fit(**data), rows
    )


@pytest.mark.usefixtures("ctrl_c")
def test_a_fit_interrupted_at_once_keeps_the_start():
    class Impatient(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            _interrupt()

    transport = quick(callbacks=[Impatient()])
    with pytest.warns(ConvergenceWarning, match="those of step 0"):
        transport.fit(X, X_target=Y)
    wanted = start_map().fit(X, X_target=Y).transform(X)
    np.testing.assert_allclose(transport.transform(X), wanted)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_is_told_from_the_stop_of_a_callback_in_an_earlier_call(
    monkeypatch,
):
    def stop():
        raise KeyboardInterrupt

    transport = quick(batch_size=16, callbacks=[At(1, stop)])
    transport.partial_fit(X, X_target=Y)
    monkeypatch.setattr(NCFNet, "train_step_single", lambda *_, **__: _interrupt())
    with pytest.warns(ConvergenceWarning, match="interrupted after 1 steps"):
        transport.partial_fit(X, X_target=Y)
    assert transport.stop_reason_ == "interrupted"


@pytest.mark.parametrize(
    ("objective", "cost"),
    [
        ("semi_dual", "sqeuclidean"),
        pytest.param("mmd", "lp", marks=pytest.mark.slow),
    ],
)
def test_a_diverging_fit_falls_back_to_the_best_weights_and_says_so(objective, cost):
    transport = quick(200, learning_rate_init=1e30, objective=objective, cost=cost)
    with pytest.warns(ConvergenceWarning, match="diverged.*learning_rate_init"):
        transport.fit(X, X_target=Y)
    assert transport.stop_reason_ == "diverged"
    assert transport.n_iter_ < 200
    start = start_map(cost=cost).fit(X, X_target=Y)
    np.testing.assert_allclose(transport.transform(X), start.transform(X), atol=0.5)


def test_early_stopping_ends_a_fit_that_cannot_gain_and_without_it_the_budget_is_spent():
    rng = np.random.default_rng(0)
    rows = {
        "X": rng.standard_normal((500, 2)),
        "X_target": rng.standard_normal((500, 2)),
    }
    patient = {"max_iter": 6 * EPOCH, "n_iter_no_change": 2 * EPOCH, "tol": 0.1}
    early = quick(**patient).fit(**rows)
    assert (early.stop_reason_, early.n_iter_) == ("initialization", 2 * EPOCH)
    late = quick(**patient, early_stopping=False).fit(**rows)
    assert (late.stop_reason_, late.n_iter_) == ("max_iter", 6 * EPOCH)


def test_history_has_a_row_for_every_epoch_with_what_was_measured_in_it():
    transport = fitted()
    history = transport.history_
    assert sum(row["train_batch_count"] for row in history) == transport.n_iter_
    values = np.array([[r["train_loss"], r["risk"], r["valid_loss"]] for r in history])
    assert np.isfinite(values).all()
    assert (values[:, 2] >= values[:, 1] - 1e-6).all()  # the gap is not negative


@pytest.mark.parametrize("max_iter", [1, 30, EPOCH + 50])
def test_a_fit_takes_as_many_steps_as_it_may(max_iter):
    transport = quick(max_iter, early_stopping=False).fit(X, X_target=Y)
    assert transport.n_iter_ == max_iter


@pytest.mark.slow
def test_the_mean_of_members_errs_less_than_its_members_do(monkeypatch):
    """Jensen: the error of a mean is below the mean of the errors."""
    # No network replaces the members.
    monkeypatch.setattr(compression, "LARGEST_DISTANCE", (-1.0, -1.0))
    rows = problem("sqeuclidean")
    together = quick(ensemble_size=3).fit(rows.X, X_target=rows.X_target)
    potential = together.flow_.potential
    x, mapped = rows.sample_pairs(500, random_state=1)
    frame = together.preconditioners_[0]
    start = torch.from_numpy(frame.source.forward(x)).float()
    with torch.no_grad():
        _, p = potential.members.value_and_gradient(
            start.expand(3, -1, -1), torch.zeros(len(x))
        )
    ends = [frame.target.inverse((start + q).double().numpy()) for q in p]
    np.testing.assert_allclose(
        together.transform(x), np.mean(ends, axis=0), rtol=1e-4, atol=1e-4
    )
    errors = [l2_uvp(end, mapped) for end in ends]
    assert l2_uvp(together.transform(x), mapped) < np.mean(errors)


def test_members_need_the_potential_of_the_package():
    class Module(nn.Module):
        def forward(self, x, t):
            return x.square().sum(-1)

    with pytest.raises(ValueError, match="ensemble_size must be 1 or 'auto'.*got 2"):
        quick(skorch_net=NCFNet(Module), ensemble_size=2).fit(X, X_target=Y)


@pytest.mark.parametrize("ensemble_size", [1, 3])
def test_a_stream_goes_on_with_the_members_it_began_with(ensemble_size):
    transport = quick(ensemble_size=ensemble_size)
    transport.partial_fit(X, X_target=Y)
    shape = transport.net_.module_.flow.potential.output_weight.shape
    transport.partial_fit(X, X_target=Y)
    assert shape[0] == ensemble_size
    assert transport.net_.module_.flow.potential.output_weight.shape == shape


def test_callbacks_see_every_epoch():
    counter = At().initialize()
    transport = quick(2 * EPOCH, callbacks=[("counter", counter)]).fit(X, X_target=Y)
    assert counter.count == len(transport.history_) == 2
    assert transport.callbacks == [("counter", counter)]


class Perceptron(nn.Module):
    """A user's own potential."""

    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, x, t):
        return self.layers(torch.cat([x, t.unsqueeze(-1)], -1))


NETS = {
    "optimiser": NCFNet(optimizer=torch.optim.RMSprop),
    "module": NCFNet(module=Perceptron, module__width=24),
    "skorch's net": NeuralNet(Perceptron, nn.MSELoss, optimizer=torch.optim.Adam),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_a_net_of_the_users_own_learns_and_is_not_touched(name):
    rows, net = problem("elastic"), NETS[name]
    data = {"X": rows.X, "X_target": rows.X_target}
    transport = quick(200, cost="elastic", skorch_net=net).fit(**data)
    assert _error(transport, rows) < 0.7 * _error(
        start_map(cost="elastic").fit(**data), rows
    )
    assert transport.net_ is not net
    assert isinstance(transport.net_, type(net))
    assert not net.initialized_
    short = [quick(skorch_net=net).fit(X, X_target=Y).transform(X) for _ in range(2)]
    np.testing.assert_array_equal(*short)


def test_module_of_the_net_has_the_parameters_it_was_given():
    transport = quick(skorch_net=NETS["module"]).fit(X, X_target=Y)
    assert transport.flow_.potential.module.layers[0].out_features == 24
