import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[1] / "examples"
NEEDS = {
    "pipeline_recipes.py": ["palmerpenguins"],
    "plot_domain_adaptation.py": ["palmerpenguins"],
}


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.py")), ids=lambda p: p.name)
def test_example_runs_without_a_warning_and_saves_its_picture(script, tmp_path):
    for module in NEEDS.get(script.name, []):
        pytest.importorskip(module)
    picture = tmp_path / "picture.png"
    paths = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, script, "--save", picture],
        env={
            **os.environ,
            "SK_NCF_QUICK": "1",
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    assert result.stdout
    assert picture.stat().st_size > 10_000
