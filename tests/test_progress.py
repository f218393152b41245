"""Progress of a fit: the package's own bar, and what scikit-learn's callbacks hear."""

import pytest
from fits import quick, two_samples
from sklearn.model_selection import GridSearchCV, KFold

from sk_ncf._training import fit_callbacks
from sk_ncf._training.budget import MIN_EPOCH as EPOCH
from sk_ncf._training.callbacks.progress import ProgressBar

X, Y = two_samples()


def _shown(capsys, delay, monkeypatch, max_iter=EPOCH, **params):
    def bar(schedule):
        return ProgressBar(schedule, delay=delay)

    monkeypatch.setattr(fit_callbacks, "ProgressBar", bar)
    quick(max_iter, **params).fit(X, X_target=Y)
    return "".join(capsys.readouterr())


def test_bar_shows_loss_risk_and_time_left_on_a_fit_longer_than_its_delay(
    capsys, monkeypatch
):
    shown = _shown(capsys, 0.0, monkeypatch, max_iter=200, verbose=1)
    for part in ("NCF", "loss=", "risk=", "/200", "step/s", "<"):
        assert part in shown


def test_bar_arrives_at_the_end_of_the_fit(capsys, monkeypatch):
    assert f"{EPOCH}/{EPOCH}" in _shown(capsys, 0.0, monkeypatch, verbose=1)


@pytest.mark.parametrize(("delay", "verbose"), [(1000.0, 1), (0.0, 0)])
def test_nothing_is_shown_on_a_short_fit_nor_without_verbose(
    delay, verbose, capsys, monkeypatch
):
    assert _shown(capsys, delay, monkeypatch, verbose=verbose) == ""


class Recorder:
    """Counts the tasks of the fits it hears of."""

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        """Nothing."""

    def teardown(self, estimator, context):
        """Nothing."""

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.ended.append(context.task_name)


@pytest.fixture
def callback_module():
    return pytest.importorskip("sklearn.callback")


def test_epochs_are_told_to_scikit_learns_callbacks(callback_module):
    recorder = Recorder()
    transport = quick(2 * EPOCH).set_callbacks(recorder).fit(X, X_target=Y)
    assert recorder.begun.count("epoch") == len(transport.history_) == 2


def test_every_task_that_scikit_learn_hears_begin_is_heard_to_end(callback_module):
    recorder = Recorder()
    quick(2 * EPOCH).set_callbacks(recorder).fit(X, X_target=Y)
    assert sorted(recorder.ended) == sorted(recorder.begun)


def test_a_search_shows_scikit_learns_progress_bar(callback_module, capsys):
    pytest.importorskip("rich")
    grid = {"cost": ["sqeuclidean", "elastic"]}
    search = GridSearchCV(quick(), grid, cv=KFold(2), refit=False)
    bar = callback_module.ProgressBar(max_propagation_depth=None)
    search.set_callbacks(bar).fit(X, X_target=Y)
    shown = "".join(capsys.readouterr())
    assert shown.count("NCFTransport") >= 4  # one for every fold of every cost
    assert "100%" in shown
