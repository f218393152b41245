"""The recipes: pipelines, frames, grids and processes, with metadata routing on and off."""

import numpy as np
import pytest
import sklearn
import torch
from fits import COSTS, problem, quick, two_samples
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from sk_ncf import AdaptedClassifier, Lp
from sk_ncf._training.net import NCFNet

X, Y = two_samples()
routing = pytest.mark.parametrize("routed", [False, True], ids=["unrouted", "routed"])
FOLDS = KFold(2, shuffle=True, random_state=0)


@pytest.fixture
def routed_metadata():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def _domains(n=300, seed=0):
    """Two classes; the target is the source stretched, turned in the mean and moved."""
    rng = np.random.default_rng(seed)
    y, y_target = np.arange(n) % 2, np.arange(n + 50) % 2
    draw = lambda y: rng.standard_normal((len(y), 2)) + 4 * np.c_[y, -y]
    return draw(y), y, 3 * draw(y_target) + [20, -30], y_target


def _classifier():
    return LogisticRegression()


def _adapting(**params):
    return quick(default_domain="target", **params)


# 1 and 2.


@routing
def test_recipe_1_source_rows_become_target_rows(routed):
    with sklearn.config_context(enable_metadata_routing=routed):
        mapped = quick().fit(X, X_target=Y).transform(X)
        again = quick().fit_transform(X, X_target=Y)
    np.testing.assert_allclose(mapped.mean(axis=0), Y.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(mapped.std(axis=0), Y.std(axis=0), rtol=0.2)
    np.testing.assert_array_equal(mapped, again)


@routing
def test_recipe_2_new_rows_are_moved_to_a_frozen_model(routed):
    Xs, ys, X_new, y_new = _domains()
    trained = make_pipeline(StandardScaler(), _classifier()).fit(Xs, ys)
    assert trained.score(X_new, y_new) < 0.8
    with sklearn.config_context(enable_metadata_routing=routed):
        pipeline = make_pipeline(quick(), FrozenEstimator(trained))
        if routed:
            pipeline.fit(X_new, X_target=Xs)
        else:
            pipeline.fit(X_new, ncftransport__X_target=Xs)
        assert np.mean(pipeline.predict(X_new) == y_new) > 0.95


# 3 and 4.


def test_recipe_3_a_classifier_trained_on_mapped_rows_predicts_the_target(
    routed_metadata,
):
    Xs, ys, Xt, yt = _domains()
    steps = [("scale", StandardScaler()), ("map", _adapting()), ("clf", _classifier())]
    pipeline = Pipeline(steps, transform_input=["X_target"])
    pipeline.fit(Xs, ys, X_target=Xt)
    assert pipeline.score(Xt, yt) > 0.95
    without = make_pipeline(StandardScaler(), _classifier()).fit(Xs, ys)
    assert without.score(Xt, yt) < 0.8


def test_recipe_3_without_routing_the_target_goes_to_the_step_by_its_name():
    Xs, ys, Xt, yt = _domains()
    pipeline = make_pipeline(_adapting(), _classifier())
    pipeline.fit(Xs, ys, ncftransport__X_target=Xt)
    assert pipeline.score(Xt, yt) > 0.95


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"),
    reason="scikit-learn before 1.8 does not hand sample_domain on when it scores",
)
def test_recipe_3_is_tuned_on_source_rows_that_are_mapped(routed_metadata):
    """sample_domain=1: the folds are source rows, which are mapped before scoring."""
    Xs, ys, Xt, yt = _domains()
    steps = [("scale", StandardScaler()), ("map", _adapting()), ("clf", _classifier())]
    pipeline = Pipeline(steps, transform_input=["X_target"])
    search = GridSearchCV(
        pipeline, {"clf__C": [1e-6, 1.0]}, cv=FOLDS, error_score="raise"
    )
    search.fit(Xs, ys, X_target=Xt, sample_domain=1)
    assert search.cv_results_["mean_test_score"].max() > 0.95
    assert search.best_estimator_.score(Xt, yt) > 0.95


def _both_domains():
    Xs, ys, Xt, yt = _domains()
    rows = np.concatenate([Xs, Xt])
    labels = np.r_[ys, np.full(len(Xt), -1)]
    return rows, labels, np.repeat([1, -2], [len(Xs), len(Xt)]), Xt, yt


def test_recipe_4_in_skada():
    skada = pytest.importorskip("skada")
    rows, labels, domain, Xt, yt = _both_domains()
    pipeline = skada.make_da_pipeline(StandardScaler(), _adapting(), _classifier())
    pipeline.fit(rows, labels, sample_domain=domain)
    assert np.mean(pipeline.predict(Xt) == yt) > 0.95


@pytest.mark.parametrize("kind", ["class maps", "classifier"])
def test_recipe_4_in_skada_class_by_class(kind):
    skada = pytest.importorskip("skada")
    rows, labels, domain, Xt, yt = _both_domains()
    steps = [_adapting(class_conditional=True), _classifier()]
    if kind == "classifier":
        steps = [AdaptedClassifier(_classifier(), random_state=0)]
    pipeline = skada.make_da_pipeline(StandardScaler(), *steps)
    pipeline.fit(rows, labels, sample_domain=domain)
    assert np.mean(pipeline.predict(Xt) == yt) > 0.95


@pytest.mark.parametrize("name", ["CircularValidation", "PredictionEntropyScorer"])
def test_scorers_of_skada_need_no_target_labels(name):
    skada = pytest.importorskip("skada")
    rows, labels, domain, _, _ = _both_domains()
    pipeline = skada.make_da_pipeline(StandardScaler(), _adapting(), _classifier())
    split = skada.model_selection.SourceTargetShuffleSplit(1, random_state=0)
    scorer = getattr(skada.metrics, name)()
    found = cross_validate(
        pipeline,
        rows,
        labels,
        params={"sample_domain": domain},
        scoring=scorer,
        cv=split,
        error_score="raise",
    )
    assert np.isfinite(found["test_score"]).all()


def test_recipe_4_as_skada_calls_it():
    """Rows of both domains in one array, masked labels, then target rows alone."""
    rows, labels, domain, Xt, yt = _both_domains()
    scaler, transport = StandardScaler(), _adapting()
    scaled = scaler.fit_transform(rows)
    moved = transport.fit_transform(scaled, labels, sample_domain=domain)
    np.testing.assert_array_equal(moved[domain < 0], scaled[domain < 0])
    classifier = _classifier().fit(moved[domain > 0], labels[domain > 0])
    test_rows = transport.transform(
        scaler.transform(Xt), sample_domain=np.full(350, -2)
    )
    assert classifier.score(test_rows, yt) > 0.95


# 5.


GRIDS = {
    "cost and rate": (
        {},
        {"cost": ["sqeuclidean", "elastic"], "learning_rate_init": [1e-3, 1e-2]},
    ),
    "parameter of the cost": ({"cost": Lp()}, {"cost__p": [1.3, 2.0]}),
    "optimiser of the net": (
        {"skorch_net": NCFNet(optimizer=torch.optim.AdamW)},
        {"skorch_net__optimizer__weight_decay": [0.0, 0.5]},
    ),
}


def _search(name, **options):
    params, grid = GRIDS[name]
    search = GridSearchCV(
        quick(**params), grid, cv=FOLDS, refit=False, error_score="raise", **options
    )
    return search.fit(X, X_target=Y).cv_results_["mean_test_score"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parameter of the cost", "optimiser of the net"])
def test_recipe_5_parameters_inside_the_cost_and_the_net_are_searched(name):
    assert np.isfinite(_search(name)).all()
    params, grid = GRIDS[name]
    key, values = next(iter(grid.items()))
    for value in values:
        transport = clone(quick(**params)).set_params(**{key: value})
        transport.fit(X, X_target=Y)
        if key == "cost__p":
            assert transport.cost_.p == value
        else:
            (group,) = transport.net_.optimizer_.param_groups
            assert group["weight_decay"] == value


@pytest.fixture(scope="module")
def one_process():
    return _search("cost and rate", n_jobs=1)


@pytest.mark.slow
def test_recipe_5_processes_change_nothing(one_process):
    scores = _search("cost and rate", n_jobs=2)
    np.testing.assert_allclose(scores, one_process, rtol=1e-6)


@pytest.mark.slow
def test_search_ranks_a_map_that_learns_above_one_that_does_not():
    rows = problem("elastic")
    params = {"cost": "elastic", "cost_params": COSTS["elastic"]}
    transport = quick(100, ensemble_size=1, **params)
    grid = {"learning_rate_init": [1e-8, 1e-2]}
    search = GridSearchCV(transport, grid, cv=FOLDS, refit=False)
    search.fit(rows.X, X_target=rows.X_target)
    assert search.best_params_ == {"learning_rate_init": 1e-2}


# Frames.


def _frames(library):
    names = ["length", "depth"]
    return [library.DataFrame(dict(zip(names, Z.T, strict=True))) for Z in (X, Y)]


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_frames_come_back_as_frames_with_their_names(name):
    library = pytest.importorskip(name)
    source, target = _frames(library)
    transport = quick().set_output(transform=name).fit(source, X_target=target)
    assert transport.feature_names_in_.tolist() == ["length", "depth"]
    assert transport.get_feature_names_out().tolist() == ["length", "depth"]
    mapped = transport.transform(source)
    assert isinstance(mapped, library.DataFrame)
    assert list(mapped.columns) == ["length", "depth"]
    wanted = quick().fit(X, X_target=Y).transform(X)
    np.testing.assert_allclose(mapped.to_numpy(), wanted)
    if name == "pandas":
        labelled = transport.transform(source.set_index(np.arange(80) + 5))
        assert labelled.index[0] == 5


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_columns_in_another_order_are_refused(name):
    library = pytest.importorskip(name)
    source, target = _frames(library)
    swapped = target[["depth", "length"]]
    with pytest.raises(ValueError, match="feature names should match"):
        quick().fit(source, X_target=swapped)
    with pytest.raises(ValueError, match="feature names should match"):
        quick().fit(source, X_target=target).transform(source[["depth", "length"]])


def test_frame_rows_and_array_rows_are_the_same_rows():
    pandas = pytest.importorskip("pandas")
    source, target = _frames(pandas)
    by_frame = quick().fit(source, X_target=target)
    same = quick().fit(X, X_target=Y)
    np.testing.assert_allclose(by_frame.transform(source), same.transform(X))
