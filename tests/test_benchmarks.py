"""The scripts whose figures the documentation quotes can be run."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = sorted(
    path for path in FOLDER.rglob("*.py") if "ArgumentParser" in path.read_text()
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_explains_itself(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    for path in FOLDER.rglob("*.py"):  # tests have a problems.py of their own
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    before = set(sys.modules)
    try:
        module = importlib.import_module(script.stem)
        with pytest.raises(SystemExit) as stop:
            module.main()
    finally:
        for name in set(sys.modules) - before:
            if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
    assert stop.value.code == 0
    assert f"usage: {script.name}" in capsys.readouterr().out
