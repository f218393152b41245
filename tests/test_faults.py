"""Processes, threads and workers: what changes nothing, and what dies without harm."""

import os

import joblib
import numpy as np
import pytest
import torch
from fits import quick, two_samples
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits

X, Y = two_samples()


class Killer(Callback):
    """Ends the process it is in, as the system does where memory runs out."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        os._exit(9)


def _scores(search):
    return search.fit(X, X_target=Y).cv_results_["mean_test_score"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs")
def test_a_worker_that_dies_in_a_search_is_an_error_and_the_next_search_works():
    grid = {"callbacks": [None, [Killer()]]}
    search = GridSearchCV(quick(5), grid, cv=2, n_jobs=2, refit=False)
    before = dict(vars(search.estimator))
    with pytest.raises(TerminatedWorkerError, match="terminated"):
        search.fit(X, X_target=Y)
    assert vars(search.estimator) == before
    assert not hasattr(search, "cv_results_")
    search.set_params(param_grid={"callbacks": [None]})
    scores = _scores(search)
    np.testing.assert_array_equal(scores, _scores(search.set_params(n_jobs=1)))


def _mapped(seed):
    with threadpool_limits(1):
        return quick(random_state=seed).fit(X, X_target=Y).transform(X)


@pytest.mark.slow
def test_a_fit_is_the_same_in_another_process():
    there = joblib.Parallel(n_jobs=2)(joblib.delayed(_mapped)(s) for s in (0, 1))
    np.testing.assert_array_equal(there, [_mapped(0), _mapped(1)])


def test_the_number_of_threads_changes_a_map_by_rounding_only():
    """Training makes much of any difference, so there must be none while it lasts."""
    before, maps = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            with threadpool_limits(n_threads, user_api="blas"):
                transport = quick(30, hidden_layer_sizes=(64, 64), batch_size=256)
                maps.append(transport.fit(X, X_target=Y).transform(X))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*maps, rtol=1e-6, atol=1e-6)


def test_a_warm_start_is_the_same_each_time():
    maps = []
    for _ in range(2):
        transport = quick(warm_start=True).fit(X, X_target=Y)
        maps.append(transport.fit(X + 0.1, X_target=Y).transform(X))
    np.testing.assert_array_equal(*maps)
