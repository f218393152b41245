"""Calls that look right and are not: each gets an error or a warning that says so."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from fits import crossing_classes, quick, refused, start_map, two_samples
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import EarlyStopping

X, Y = two_samples()


@pytest.fixture(scope="module")
def fitted():
    return start_map().fit(X, X_target=Y)


def test_score_refuses_target_rows_in_the_place_of_y(fitted):
    refused(fitted, "score", {"X": X, "y": Y}, "looks like target rows.*X_target=")


def test_one_feature_and_equal_length_do_not_hide_target_rows():
    one = X[:, :1]
    refused(quick(), "fit", {"X": one, "y": one + 1}, "looks like target rows")


def test_labels_without_class_conditional_are_warned_of():
    rows, target, y = crossing_classes(60)
    with pytest.warns(UserWarning, match="not used.*class_conditional=True") as caught:
        quick(2).fit(rows, y, X_target=target, y_target=y)
    assert caught[0].filename == __file__


def test_frames_and_arrays_together_are_warned_of_by_the_name_of_the_target():
    frame = pd.DataFrame(X, columns=["a", "b"])
    with pytest.warns(UserWarning, match="^X_target does not have feature names"):
        quick(2).fit(frame, X_target=Y)
    with pytest.warns(UserWarning, match="^X_target has feature names"):
        quick(2).fit(X, X_target=pd.DataFrame(Y, columns=["a", "b"]))


@pytest.mark.parametrize("method", ["fit", "score"])
def test_columns_of_the_target_in_another_order_are_an_error_about_the_target(method):
    frame = pd.DataFrame(X, columns=["a", "b"])
    transport = start_map().fit(frame, X_target=pd.DataFrame(Y, columns=["a", "b"]))
    other = pd.DataFrame(Y, columns=["b", "a"])
    refused(
        transport, method, {"X": frame, "X_target": other}, "^X_target: The feature"
    )


@pytest.mark.parametrize("name", ["X", "X_target", "sample_weight", "target_weight"])
def test_masked_values_are_refused(name):
    given = {"X": X, "X_target": Y}
    given |= {"sample_weight": np.ones(len(X)), "target_weight": np.ones(len(Y))}
    masked = np.ma.masked_less(given[name], np.sort(given[name].ravel())[3] + 1e-9)
    refused(quick(), "fit", {**given, name: masked}, f"{name}.*masked")


def test_masked_arrays_without_masked_values_are_arrays(fitted):
    mapped = fitted.transform(np.ma.masked_array(X, mask=False))
    np.testing.assert_array_equal(mapped, fitted.transform(X))


def test_labels_minus_one_and_one_are_told_how_to_recode():
    rows, target, y = crossing_classes(60, 2)
    signs = 2 * y - 1
    given = {"X": rows, "y": signs, "X_target": target, "y_target": signs}
    refused(quick(class_conditional=True), "fit", given, "If -1 is a class, recode")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_of_single_precision_are_mapped_in_single_precision(dtype, fitted):
    rows = torch.from_numpy(X).to(dtype)
    mapped = fitted.transform(rows)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, fitted.transform(rows.float().numpy()))


def test_early_stopping_of_skorch_works_and_is_no_interruption():
    stop = EarlyStopping(patience=1, threshold=1e9, threshold_mode="abs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transport = quick(200, callbacks=[stop]).fit(X, X_target=Y)
    assert transport.stop_reason_ == "callback"
    assert transport.n_iter_ < 200


def test_a_warning_points_to_the_line_of_the_user():
    transport = quick(200, learning_rate_init=1e30)
    with pytest.warns(ConvergenceWarning, match="diverged") as caught:
        transport.fit(X, X_target=Y)
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.slow
def test_a_log_that_is_no_terminal_has_no_colours_and_no_bar_in_its_lines(new_process):
    assert "train_loss" in new_process["printed"]
    assert "\x1b" not in new_process["printed"]


def test_the_import_does_not_warn_without_notebook_widgets(new_process):
    """In a process where any warning of the import is an error."""
    assert "tqdm.auto" not in new_process["imported"]


def test_displays_without_matplotlib_name_the_extra(monkeypatch, fitted):
    from sk_ncf.plotting import TransportDisplay

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'sk_ncf\[plot\]'"):
        TransportDisplay.from_estimator(fitted, X)


def standardized(rows):
    return (rows - rows.mean(axis=0)) / rows.std(axis=0)


def test_a_scaler_that_saw_one_side_only_is_warned_of():
    raw = 100 + 5 * Y
    with pytest.warns(UserWarning, match="source rows has mean 0.*transform_input"):
        start_map().fit(standardized(X), X_target=raw)
    with pytest.warns(UserWarning, match="target rows has mean 0"):
        start_map().fit(raw, X_target=standardized(X))


def test_units_that_differ_by_orders_are_warned_of():
    with pytest.warns(UserWarning, match="factor of 1000"):
        start_map().fit(X, X_target=[5000, 20_000] * Y)


@pytest.mark.parametrize("scale", [[1, 1e6], [0.2, 5], [3, 3]])
def test_samples_that_are_scaled_alike_give_no_warning(scale):
    start_map().fit(X, X_target=Y * scale)
    start_map().fit(standardized(X), X_target=standardized(Y))
    start_map().fit(standardized(X), X_target=Y + 2)
