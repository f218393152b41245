"""A short run of the fuzzer, and proof that it finds what it looks for."""

import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch):
    if not (FOLDER / "fuzz.py").exists():
        pytest.skip("the benchmarks are not in this checkout")
    monkeypatch.syspath_prepend(FOLDER)
    pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    return importlib.import_module("fuzz")


def test_only_documented_exceptions_leave_the_package(fuzz, capsys):
    failed = fuzz.main(["--calls", "300", "--check"])
    assert not failed, capsys.readouterr().out


def _undocumented():
    raise KeyError("rows")


def _global_generator():
    np.random.uniform()


FAULTS = {
    "KeyError": _undocumented,
    "settings changed": _global_generator,
    "not finite": lambda: np.array([1.0, np.nan]),
    "RuntimeWarning": lambda: np.log(np.zeros(2)).sum() * 0,
}


@pytest.mark.parametrize("what", FAULTS)
def test_the_fuzzer_finds_the_fault(what, fuzz, monkeypatch):
    monkeypatch.setattr(fuzz, "draw", lambda k: fuzz.Call("f", FAULTS[what], (), {}))
    report, before = fuzz.Report(), np.random.get_state()
    fuzz.run(0, report)
    np.random.set_state(before)
    assert what in {found for _, found, _ in report.findings}
