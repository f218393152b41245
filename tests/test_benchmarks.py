"""The scripts whose figures the documentation quotes can be run."""

import contextlib
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = sorted(
    path for path in FOLDER.rglob("*.py") if "ArgumentParser" in path.read_text()
)


@contextlib.contextmanager
def importable(monkeypatch, folder):
    """Modules of a folder of benchmarks can be imported, and are forgotten after."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.syspath_prepend(folder)
    for path in FOLDER.rglob("*.py"):  # tests have a problems.py of their own
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_explains_itself(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with importable(monkeypatch, script.parent):
        module = importlib.import_module(script.stem)
        with pytest.raises(SystemExit) as stop:
            module.main()
    assert stop.value.code == 0
    assert f"usage: {script.name}" in capsys.readouterr().out


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of the folder by name."""
    with importable(monkeypatch, FOLDER):
        yield importlib.import_module


def test_real_tables_print_one_row_a_pair_and_a_verdict(benchmark, capsys, tmp_path):
    methods = ["no map", "quantile", "linear", "sk_ncf"]
    budget = ["--quick", "--max-iter", "5", "--max-rows", "100"]
    log = ["--log", str(tmp_path / "log.jsonl")]
    options = ["--pairs", "diabetes", "--methods", *methods, *budget, *log]
    benchmark("tables").main(options)
    printed = capsys.readouterr().out
    assert "diabetes" in printed.splitlines()[4]
    assert "1 of 1 clean fits" in printed or "0 of 1 clean fits" in printed
    benchmark("tables").main([*options, "--report"])  # the log is all it needs
    assert capsys.readouterr().out == printed


@pytest.mark.slow
def test_speed_prints_ratios_of_two_checkouts_and_goes_on_from_its_log(
    benchmark, capsys, tmp_path
):
    log = tmp_path / "log.jsonl"
    trial = ["--max-iter", "3", "--seeds", "0", "--log", str(log)]
    names = ["--problems", "gaussians d=2 n=20"]
    options = ["--against", str(FOLDER.parent), *trial, *names]
    benchmark("speed").main(options)
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].startswith("| gaussians d=2 n=20 | 1 |")
    assert "| 1.000 | 1.000 |" in printed  # the same code: the same error
    results = log.read_text()
    benchmark("speed").main(options)
    assert capsys.readouterr().out == printed
    assert log.read_text() == results


def test_random_tables_print_the_number_that_repeats_a_case(benchmark, capsys):
    budget = ["--max-iter", "5", "--members", "1", "--max-rows", "80"]
    benchmark("hostile_data").main(["--start", "2", "--fits", "1", *budget])
    printed = capsys.readouterr().out
    assert "1 cases, 2 fits: 0 exceptions, 0 with non-finite output" in printed
    assert "| 2 |" in printed


def test_a_random_table_is_the_same_again(benchmark):
    case = benchmark("tabular.generated").case
    np.testing.assert_array_equal(case(3).source.rows, case(3).source.rows)


def test_corrupt_rows_are_added_to_the_training_rows_alone(benchmark):
    measures = benchmark("tabular.measures")
    rng = np.random.default_rng(0)
    case = measures.split([rng.standard_normal((n, 3)) for n in (2400, 600)], 0)
    worse = measures.corrupted(case, "both", 1e3, 0)
    np.testing.assert_array_equal(worse.X[: len(case.X)], case.X)
    np.testing.assert_allclose(np.linalg.norm(worse.X[len(case.X) :], axis=1), 1e3)
    assert (len(worse.X), len(worse.Y)) == (1201, 301)
    assert worse.X_fresh is case.X_fresh
    assert worse.Y_fresh is case.Y_fresh


def test_three_seeds_go_through_all_corrupt_rows(benchmark):
    measures = benchmark("tabular.measures")
    seen = {pair for seed in range(3) for pair in measures.corruptions(seed)}
    assert len(seen) == len(measures.SIDES) * len(measures.DISTANCES)


def test_energy_distance_of_two_samples_is_the_noise_floor_on_average(benchmark):
    measures, rng = benchmark("tabular.measures"), np.random.default_rng(0)
    pairs = [np.split(rng.standard_normal((60, 2)), [20]) for _ in range(1000)]
    mean = np.mean([measures.energy(x, y) for x, y in pairs])
    floor = measures.noise_floor(rng.standard_normal((2000, 2)), 20, 40)
    assert mean == pytest.approx(floor, rel=0.05)  # three standard errors


def test_a_linear_map_reaches_the_moments_of_the_target(benchmark):
    linear_map = benchmark("tabular.methods").linear_map
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((50, 3)) @ rng.standard_normal((3, 3)) for _ in "XY")
    X, Y = (np.c_[Z, Z[:, 0] - Z[:, 1], np.full(50, 2.0)] for Z in (X, Y))
    mapped = linear_map(X[:, :3], Y[:, :3])(X[:, :3])
    np.testing.assert_allclose(mapped.mean(axis=0), Y[:, :3].mean(axis=0))
    np.testing.assert_allclose(np.cov(mapped.T), np.cov(Y[:, :3].T))
    assert np.isfinite(linear_map(X, Y)(X)).all()  # singular covariances


@pytest.mark.parametrize(
    ("own", "corrupt", "text"),
    [
        (1.0, 1.4, "pass"),
        (2.0, 2.0, "2 x the best"),
        (5.0, 5.0, "5 x the best, 1.2 x no map, 1.7 x linear"),
        (1.0, 80.0, "corrupt 80 x clean"),
    ],
)
def test_a_verdict_names_the_conditions_that_are_missed(benchmark, own, corrupt, text):
    report = benchmark("tabular.report")
    others = {"no map": 4.0, "quantile": 1.5, "linear": 3.0, "exact plan": 1.0}
    row = {"seed": 0, "corruption": "clean", "floor": 0.2}
    rows = [row | {"method": m, "energy": e} for m, e in others.items()]
    rows.append(row | {"method": "sk_ncf", "energy": own})
    rows.append(rows[-1] | {"corruption": "target 20", "energy": corrupt})
    assert report.verdict(rows).text == text


def test_other_tasks_are_adapted_and_their_tables_written(benchmark, capsys, tmp_path):
    options = ["--others", "--tasks", "iris", "--classifiers", "logistic", "--quick"]
    options += ["--methods", "source only", "AdaptedClassifier, no"]
    benchmark("domain_adaptation").main([*options, "--out", str(tmp_path)])
    *results, last = capsys.readouterr().out.splitlines()
    assert len(results) == 3
    assert all("iris, narrow -> wide sepals | 0" in line for line in results)
    text = Path(last.removeprefix("Tables: ")).read_text()
    assert "| AdaptedClassifier, no labels | none | 1 |" in text
    assert "| fits | 1 |" in text


def test_classes_of_the_other_tasks_are_those_of_both_sides(benchmark):
    for task in benchmark("adaptation.others").OTHERS:
        if task.missing():
            continue
        pair = task.load()
        np.testing.assert_array_equal(np.unique(pair.ys), np.unique(pair.yt))
        assert np.isfinite(pair.Xs).all(), task.name
        assert np.isfinite(pair.Xt).all(), task.name


def test_the_report_counts_right_choices_of_a_map(benchmark):
    report = benchmark("adaptation.report")
    accuracies = {  # of the source alone, the map, and the choice between them
        "used, helps": (0.5, 0.7, 0.7),
        "used, harms": (0.5, 0.4, 0.4),
        "not used, harms": (0.5, 0.4, 0.5),
        "no difference": (0.5, 0.5, 0.5),
    }
    methods = report.PLAIN[0], report.UNGUARDED, report.GUARDED
    rows = [
        dict(zip(report.KEY, (task, 0, method, "none", "SVC"), strict=True))
        | {"accuracy": accuracy}
        for task, values in accuracies.items()
        for method, accuracy in zip(methods, values, strict=True)
    ]
    lines = [
        line.strip("| ").split(" | ") for line in report.choices(rows).splitlines()
    ]
    assert lines[2:] == [
        ["fits", "4"],
        ["more accurate than source only", "1"],
        ["less accurate", "1"],
        ["least gain (used, harms, 0, SVC)", "-0.100"],
        ["the map changes the accuracy", "3"],
        ["... and the choice is right", "2"],
        ["the map lowers the accuracy", "2"],
        ["... and is used", "1"],
    ]


def test_the_report_compares_networks_on_the_seeds_of_both(benchmark):
    report = benchmark("adaptation.report")
    fits = [(report.GUARDED, 0, 0.8), (report.GUARDED, 1, 0.1)]
    rows = [
        dict(zip(report.KEY, ("crabs", seed, method, "none", "SVC"), strict=True))
        | {"accuracy": accuracy, "fit_seconds": 2.0}
        for method, seed, accuracy in [*fits, (report.NETWORKS, 0, 0.9)]
    ]
    assert report.networks(rows[:2]) == ""
    last = report.networks(rows).splitlines()[-1]
    assert last == "| crabs | SVC | 1 | 0.800 | 0.900 | 2 | 2 |"
