"""Displays: what they show, and into which axes they draw."""

import functools
import warnings

import numpy as np
import pytest
from fits import quick

from sk_ncf import NCFTransport

plt = pytest.importorskip("matplotlib.pyplot")

from sk_ncf.plotting import (  # noqa: E402
    InterpolationDisplay,
    QuantileDisplay,
    TrainingDisplay,
    TransportDisplay,
)


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    plt.switch_backend("Agg")

    def show(*args, **kwargs):
        raise AssertionError("a Display must not call show")

    monkeypatch.setattr(plt, "show", show)
    yield
    plt.close("all")


@functools.cache
def _fitted(d, **params):
    """A fit and its rows, made once; not to be changed by a test."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, d)), 2 * rng.standard_normal((50, d)) + 3
    return NCFTransport(max_iter=20, random_state=0, **params).fit(X, X_target=Y), X, Y


@pytest.mark.parametrize("kind", ["forward", "inverse"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_draws_into_the_axes_it_was_given(d, kind):
    estimator, X, Y = _fitted(d)
    figure, (ax, other) = plt.subplots(1, 2)
    display = TransportDisplay.from_estimator(
        estimator, X, X_target=Y, kind=kind, ax=ax
    )
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.collections
    assert not other.collections
    figure.canvas.draw()


def test_makes_a_figure_if_none_is_given():
    estimator, X, Y = _fitted(2)
    display = TransportDisplay.from_estimator(estimator, X, X_target=Y)
    again = display.plot(s=4, alpha=1.0, legend=False)
    assert again is display
    assert len(plt.get_fignums()) == 2
    assert display.ax_.get_legend() is None


@pytest.mark.parametrize("kind", ["forward", "inverse"])
def test_plane_of_many_features_holds_the_principal_components_of_both_samples(kind):
    estimator, X, Y = _fitted(5)
    display = TransportDisplay.from_estimator(estimator, X, X_target=Y, kind=kind)
    both = np.concatenate([X, Y])
    both = both - both.mean(axis=0)
    points = np.concatenate([display.start, display.reference])
    values = np.linalg.svd(both, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), values)
    assert "principal component 1" in display.ax_.get_xlabel()


def test_draws_into_axes_that_share_both_directions():
    estimator, X, Y = _fitted(2)
    figure, axes = plt.subplots(1, 2, sharex=True, sharey=True)
    for ax in axes:
        TransportDisplay.from_estimator(estimator, X, X_target=Y, ax=ax)
    figure.canvas.draw()


def test_contour_lines_reach_the_frame_and_the_frame_holds_all_rows():
    estimator, X, Y = _fitted(2)
    display = TransportDisplay.from_estimator(estimator, X, X_target=Y, contours=True)
    display.figure_.canvas.draw()
    (x, y, _), ax = display.levels, display.ax_
    np.testing.assert_allclose(
        [*ax.get_xlim(), *ax.get_ylim()], [x[0], x[-1], y[0], y[-1]]
    )
    rows = np.concatenate([display.start, display.end, display.reference])
    assert (rows.min(axis=0) >= [x[0], y[0]]).all()
    assert (rows.max(axis=0) <= [x[-1], y[-1]]).all()


def test_features_of_arrays_have_names_and_units_on_every_display():
    estimator, X, Y = _fitted(2)
    ax = TransportDisplay.from_estimator(estimator, X, X_target=Y).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")
    display = InterpolationDisplay.from_estimator(estimator, X, X_target=Y)
    assert display.axes_[0].get_xlabel() == "feature 0"
    assert display.axes_[0].get_ylabel() == "feature 1"
    assert len(display.axes_[0].get_xticks())
    (legend,) = display.figure_.legends
    assert "to be matched" in " ".join(text.get_text() for text in legend.texts)


def test_arrows_are_the_straight_lines_from_rows_to_their_images():
    estimator, X, Y = _fitted(2)
    display = TransportDisplay.from_estimator(
        estimator, X, X_target=Y, n_arrows=7, random_state=0
    )
    assert len(display.arrows) == 7
    np.testing.assert_allclose(display.start, X)
    np.testing.assert_allclose(display.end, estimator.transform(X))


def test_source_rows_are_mapped_whatever_the_default_domain():
    estimator, X, Y = _fitted(2, default_domain="target")
    display = TransportDisplay.from_estimator(estimator, X, X_target=Y)
    np.testing.assert_allclose(display.end, estimator.transform(X, sample_domain=1))
    assert not np.allclose(display.end, X)


def test_target_rows_may_be_missing_going_forward_only():
    estimator, X, _ = _fitted(3)
    display = TransportDisplay.from_estimator(estimator, X)
    assert display.reference is None
    with pytest.raises(ValueError, match="X_target"):
        TransportDisplay.from_estimator(estimator, X, kind="inverse")
    with pytest.raises(ValueError, match="kind must be"):
        TransportDisplay.from_estimator(estimator, X, kind="both")


def test_columns_of_a_frame_name_the_axes():
    pandas = pytest.importorskip("pandas")
    _, X, Y = _fitted(2)
    X, Y = (pandas.DataFrame(Z, columns=["length", "depth"]) for Z in (X, Y))
    estimator = quick().fit(X, X_target=Y)
    ax = TransportDisplay.from_estimator(estimator, X, X_target=Y).ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "depth")


def test_training_curves_are_shown_by_step_with_the_best_one():
    estimator, _, _ = _fitted(2)
    figure, ax = plt.subplots()
    display = TrainingDisplay.from_estimator(estimator, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.steps[-1] == estimator.n_iter_
    assert display.best_iter == estimator.best_iter_
    assert (
        len(display.validation_risk)
        == len(display.train_loss)
        == len(estimator.history_)
    )


def test_a_fit_without_steps_has_no_training_curves():
    X = np.zeros((2, 2))
    estimator = NCFTransport().fit(X, X_target=X + 1)
    with pytest.raises(ValueError, match="history_ is empty"):
        TrainingDisplay.from_estimator(estimator)


def test_every_class_has_its_own_best_step_in_the_training_display():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 2)), np.arange(80) % 2
    estimator = quick(class_conditional="per_class")
    estimator.fit(X, y, X_target=X + 3, y_target=y)
    display = TrainingDisplay.from_estimator(estimator)
    np.testing.assert_array_equal(display.best_iter, estimator.best_iter_)
    display.figure_.canvas.draw()


@pytest.mark.parametrize("kind", ["forward", "inverse"])
def test_contour_lines_are_those_of_the_potential_the_map_is_the_gradient_of(kind):
    estimator, X, Y = _fitted(2)
    display = TransportDisplay.from_estimator(
        estimator, X, X_target=Y, kind=kind, contours=True, n_arrows=0
    )
    x, y, u = display.levels
    assert u.shape == (len(y), len(x))
    i, j = 40, 30
    f, g = estimator.dual_potentials([[x[j], y[i]]], X_target=[[x[j], y[i]]])
    np.testing.assert_allclose(u[i, j], -f[0] if kind == "forward" else g[0])
    # Squared Euclidean cost: the displacement is the gradient (central differences).
    slope = [
        (u[i, j + 1] - u[i, j - 1]) / (x[j + 1] - x[j - 1]),
        (u[i + 1, j] - u[i - 1, j]) / (y[i + 1] - y[i - 1]),
    ]
    at = np.array([[x[j], y[i]]])
    there = estimator.transform(at) if kind == "forward" else at
    back = at if kind == "forward" else estimator.inverse_transform(at)
    np.testing.assert_allclose((there - back)[0], slope, rtol=0.02, atol=0.02)


def test_contour_lines_need_a_plane_and_one_potential():
    estimator, X, Y = _fitted(3)
    with pytest.raises(ValueError, match="two features, got 3"):
        TransportDisplay.from_estimator(estimator, X, X_target=Y, contours=True)
    y = np.arange(80) % 2
    X = np.random.default_rng(0).standard_normal((80, 2))
    estimator = quick(5, class_conditional="per_class")
    estimator.fit(X, y, X_target=X + 3, y_target=y)
    with pytest.raises(ValueError, match="one potential"):
        TransportDisplay.from_estimator(estimator, X, contours=True)


def test_class_given_decides_where_a_row_is_drawn():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 2)), np.arange(80) % 2
    goal = X + np.where(y, 5, -5)[:, None]
    estimator = quick(5, class_conditional="per_class")
    estimator.fit(X, y, X_target=goal, y_target=y)
    for display in (TransportDisplay, InterpolationDisplay):
        shown = display.from_estimator(estimator, X, sample_label=1 - y)
        np.testing.assert_allclose(
            shown.end, estimator.transform(X, sample_label=1 - y)
        )


@pytest.mark.parametrize("kind", ["forward", "inverse"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_interpolation_has_a_panel_for_every_time(d, kind):
    estimator, X, Y = _fitted(d)
    times = (0, 0.3, 1)
    figure, axes = plt.subplots(1, 3)
    display = InterpolationDisplay.from_estimator(
        estimator, X, X_target=Y, kind=kind, times=times, axes=axes
    )
    assert display.figure_ is figure
    assert all(ours is given for ours, given in zip(display.axes_, axes, strict=True))
    for ax, t in zip(axes, times, strict=True):
        shown = ax.collections[-1].get_offsets()
        wanted = display.start + t * (display.end - display.start)
        np.testing.assert_allclose(shown, wanted)
    figure.canvas.draw()


def test_interpolation_is_that_of_the_estimator():
    estimator, X, _ = _fitted(2)
    display = InterpolationDisplay.from_estimator(estimator, X, times=(0.3,))
    shown = display.axes_[0].collections[-1].get_offsets()
    np.testing.assert_allclose(shown, estimator.interpolate(X, 0.3))


def test_interpolation_says_what_is_wrong_with_its_arguments():
    estimator, X, Y = _fitted(2)
    for times in ((), (0.5, 1.5)):
        with pytest.raises(ValueError, match="times must be"):
            InterpolationDisplay.from_estimator(estimator, X, X_target=Y, times=times)
    with pytest.raises(ValueError, match="axes must be 5"):
        InterpolationDisplay.from_estimator(
            estimator, X, X_target=Y, axes=plt.subplots(1, 2)[1]
        )


def test_animation_goes_from_the_rows_to_their_images(tmp_path):
    estimator, X, Y = _fitted(2)
    display = InterpolationDisplay.from_estimator(estimator, X, X_target=Y)
    figure, ax = plt.subplots(figsize=(2, 2))
    animation = display.animate(n_frames=3, ax=ax)
    animation.save(tmp_path / "rows.gif", writer="pillow")
    assert (tmp_path / "rows.gif").stat().st_size > 1000
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), display.end)
    assert ax.get_title() == "t = 1.00"


def test_quantiles_are_those_of_source_mapped_and_target_rows():
    estimator, X, Y = _fitted(8)
    display = QuantileDisplay.from_estimator(estimator, X, X_target=Y, features=[5, 0])
    share = np.arange(1, 100) / 100
    rows = (X, estimator.transform(X), Y)
    shown = (display.before, display.after, display.target)
    for Z, Q in zip(rows, shown, strict=True):
        np.testing.assert_allclose(Q, np.quantile(Z[:, [5, 0]], share, axis=0))
    assert list(display.names) == ["feature 5", "feature 0"]
    assert [ax.get_title() for ax in display.axes_] == display.names
    display.figure_.canvas.draw()


def test_quantiles_show_the_six_features_farthest_from_their_target():
    estimator, X, Y = _fitted(8)
    Y = Y.copy()
    Y[:, [2, 7]] = X[:50, [2, 7]]
    display = QuantileDisplay.from_estimator(estimator, X, X_target=Y)
    assert [int(name.split()[1]) for name in display.names] == [0, 1, 3, 4, 5, 6]
    assert len(display.figure_.axes) == 6
    with pytest.raises(ValueError, match="axes must be 6"):
        display.plot(plt.subplots(1, 2)[1])


def test_a_time_that_is_no_number_is_refused():
    estimator, X, Y = _fitted(2)
    for times in ([0.0, np.zeros(2)], [2.0], ["now"]):
        with pytest.raises(ValueError, match="times must be numbers"):
            InterpolationDisplay.from_estimator(estimator, X, X_target=Y, times=times)


def test_quantiles_of_a_constant_target_are_shown():
    estimator, X, Y = _fitted(8)
    goal = np.zeros_like(Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = QuantileDisplay.from_estimator(estimator, 1e20 * X, X_target=goal)
    assert len(display.names) == 6


@pytest.mark.parametrize(
    "display", [TransportDisplay, InterpolationDisplay, QuantileDisplay]
)
@pytest.mark.parametrize("n_rows, n_features", [(0, 2), (50, 3)])
def test_target_rows_are_checked_and_errors_mention_their_name(
    display, n_rows, n_features
):
    estimator, X, _ = _fitted(2)
    with pytest.raises(ValueError, match="X_target"):
        display.from_estimator(estimator, X, X_target=np.zeros((n_rows, n_features)))
