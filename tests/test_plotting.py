import numpy as np
import pytest

from sk_ncf import NCFTransport

plt = pytest.importorskip("matplotlib.pyplot")

from sk_ncf.plotting import TrainingDisplay, TransportDisplay  # noqa: E402


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    plt.switch_backend("Agg")

    def show(*args, **kwargs):
        raise AssertionError("a Display must not call show")

    monkeypatch.setattr(plt, "show", show)
    yield
    plt.close("all")


def _fitted(d, **params):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, d)), 2 * rng.standard_normal((50, d)) + 3
    return NCFTransport(max_iter=20, random_state=0, **params).fit(X, X_target=Y), X, Y


@pytest.mark.parametrize("kind", ["forward", "inverse"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_draws_into_the_axes_it_was_given(d, kind):
    estimator, X, Y = _fitted(d)
    figure, (ax, other) = plt.subplots(1, 2)
    display = TransportDisplay.from_estimator(estimator, X, Y, kind=kind, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.collections
    assert not other.collections
    figure.canvas.draw()


def test_makes_a_figure_where_none_is_given():
    estimator, X, Y = _fitted(2)
    display = TransportDisplay.from_estimator(estimator, X, Y)
    again = display.plot(s=4, alpha=1.0, legend=False)
    assert again is display
    assert len(plt.get_fignums()) == 2
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize("kind", ["forward", "inverse"])
def test_plane_of_many_features_holds_the_principal_components_of_both_sides(kind):
    estimator, X, Y = _fitted(5)
    display = TransportDisplay.from_estimator(estimator, X, Y, kind=kind)
    both = np.concatenate([X, Y])
    both = both - both.mean(axis=0)
    points = np.concatenate([display.start, display.other])
    values = np.linalg.svd(both, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), values)
    assert "component 1" in display.ax_.get_xlabel()


def test_arrows_are_the_straight_lines_from_rows_to_their_images():
    estimator, X, Y = _fitted(2)
    display = TransportDisplay.from_estimator(
        estimator, X, Y, n_arrows=7, random_state=0
    )
    assert len(display.arrows) == 7
    np.testing.assert_allclose(display.start, X)
    np.testing.assert_allclose(display.end, estimator.transform(X))


def test_source_rows_are_mapped_whatever_the_default_domain():
    estimator, X, Y = _fitted(2, default_domain="target")
    display = TransportDisplay.from_estimator(estimator, X, Y)
    np.testing.assert_allclose(display.end, estimator.transform(X, sample_domain=1))
    assert not np.allclose(display.end, X)


def test_target_rows_may_be_missing_going_forward_only():
    estimator, X, _ = _fitted(3)
    display = TransportDisplay.from_estimator(estimator, X)
    assert display.other is None
    with pytest.raises(ValueError, match="X_target"):
        TransportDisplay.from_estimator(estimator, X, kind="inverse")
    with pytest.raises(ValueError, match="kind must be"):
        TransportDisplay.from_estimator(estimator, X, kind="both")


def test_columns_of_a_frame_name_the_axes():
    pandas = pytest.importorskip("pandas")
    _, X, Y = _fitted(2)
    X, Y = (pandas.DataFrame(Z, columns=["length", "depth"]) for Z in (X, Y))
    estimator = NCFTransport(max_iter=20, random_state=0).fit(X, X_target=Y)
    ax = TransportDisplay.from_estimator(estimator, X, Y).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "depth")


def test_training_is_shown_by_step_with_the_kept_one():
    estimator, _, _ = _fitted(2)
    figure, ax = plt.subplots()
    display = TrainingDisplay.from_estimator(estimator, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.steps[-1] == estimator.n_iter_
    assert display.kept == estimator.best_iter_
    assert len(display.risk) == len(display.train_loss) == len(estimator.history_)


def test_a_fit_without_steps_has_no_training_to_show():
    X = np.zeros((2, 2))
    estimator = NCFTransport().fit(X, X_target=X + 1)
    with pytest.raises(ValueError, match="history_ is empty"):
        TrainingDisplay.from_estimator(estimator)
