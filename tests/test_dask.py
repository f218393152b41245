"""Dask: a grid search on a cluster of two processes, arrays and frames in parts."""

import pickle

import numpy as np
import pytest
from fits import quick, two_samples
from sklearn.model_selection import GridSearchCV, KFold

pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
joblib = pytest.importorskip("joblib")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

from distributed import Client, LocalCluster  # noqa: E402

X, Y = two_samples()


of_processes = pytest.mark.slow  # two workers, each of which imports all


@pytest.fixture(scope="module")
def client():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    patient = {
        f"distributed.comm.timeouts.{name}": "120s" for name in ("connect", "tcp")
    }
    with (
        dask.config.set(patient),
        LocalCluster(**options) as cluster,
        Client(cluster, timeout=120) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def transport():
    return quick().fit(X, X_target=Y)


def _scores(**options):
    grid = {"learning_rate_init": [1e-3, 1e-2]}
    folds = KFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(
        quick(), grid, cv=folds, refit=False, error_score="raise", **options
    )
    return search.fit(X, X_target=Y).cv_results_["mean_test_score"]


@of_processes
def test_a_grid_search_on_a_cluster_finds_what_one_process_finds(client):
    assert len(client.run(lambda: None)) == 2
    with joblib.parallel_config("dask"):
        scores = _scores()
    np.testing.assert_allclose(scores, _scores(n_jobs=1), rtol=1e-6)


@of_processes
def test_parts_of_an_array_are_mapped_by_workers_as_the_whole_is(client, transport):
    rows = da.from_array(X, chunks=(30, 2))
    mapped = rows.map_blocks(transport.transform, dtype=rows.dtype)
    assert mapped.chunks == rows.chunks
    np.testing.assert_allclose(mapped.compute(), transport.transform(X), rtol=1e-9)


def test_parts_of_a_frame_are_mapped_as_the_whole_is():
    pandas = pytest.importorskip("pandas")
    names = ["length", "depth"]
    source, target = (pandas.DataFrame(Z, columns=names) for Z in (X, Y))
    transport = quick().set_output(transform="pandas").fit(source, X_target=target)
    parts = dd.from_pandas(source, npartitions=3)
    mapped = parts.map_partitions(transport.transform, meta=source.iloc[:0])
    found = mapped.compute(scheduler="synchronous")
    pandas.testing.assert_frame_equal(found, transport.transform(source))


def test_what_a_worker_is_sent_does_not_grow_with_the_rows_of_the_fit():
    sizes = []
    for n in (2_000, 20_000):
        rows, target = two_samples(n, n, d=8)
        transport = quick(1, ensemble_size=1).fit(rows, X_target=target)
        sizes.append(len(pickle.dumps(transport.transform)))
    assert sizes[1] < min(sizes[0] + 1024 * 8 * 8 * 2, rows.nbytes / 4)
