"""Examples run as scripts without arguments and as notebooks, and were recorded."""

import copy
import json
import re
import runpy
import sys
from pathlib import Path

import pytest

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("pandas")

ROOT = Path(__file__).parents[1]
FOLDER, DOCS = ROOT / "examples", ROOT / "docs"
CLOTHES = Path("/usr/share/datasets/fashion-mnist")
NEEDS = {
    "pipeline_recipes": ["palmerpenguins"],
    "plot_adapted_classifier": ["mlxtend"],
    "plot_color_transfer": ["ot"],
    "plot_computation": ["ot"],
    "plot_domain_adaptation": ["palmerpenguins", "ot"],
    "plot_fashion_to_digits": ["mlxtend"],
}
FIRST = "plot_two_moons"  # runs with the other tests
SCRIPTS = [
    pytest.param(path, marks=[] if path.stem == FIRST else [pytest.mark.slow])
    for path in sorted(FOLDER.glob("*.py"))
]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script as the program; returns what it printed."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            assert not stop.code
        return capsys.readouterr().out

    monkeypatch.setenv("SK_NCF_QUICK", "1")
    monkeypatch.setattr(plt, "show", lambda: None)  # there is no window
    yield run
    plt.close("all")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_example_runs_without_arguments_and_without_a_warning(script, run):
    for module in NEEDS.get(script.stem, []):
        pytest.importorskip(module)
    assert run(script)


@pytest.mark.slow
def test_the_color_transfer_writes_its_picture(run, tmp_path):
    pytest.importorskip("ot")
    picture = tmp_path / "picture.png"
    run(FOLDER / "plot_color_transfer.py", "--save", picture)
    assert picture.stat().st_size > 10_000


def test_example_without_its_data_says_so_and_is_no_failure(run, monkeypatch):
    pytest.importorskip("mlxtend")
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: path != CLOTHES and is_dir(path))
    assert run(FOLDER / "plot_fashion_to_digits.py").startswith("Nothing to show")


def _notebook(script):
    """The notebook that the page of an example offers."""
    gallery = pytest.importorskip("sphinx_gallery.gen_gallery")
    from sphinx_gallery import gen_rst, notebook, py_source_parser

    conf = {
        **copy.deepcopy(gallery.DEFAULT_GALLERY_CONF),
        "remove_config_comments": True,
    }
    _, blocks = py_source_parser.split_code_and_text_blocks(str(script))
    outputs = [""] * len(blocks)
    blocks, _ = gen_rst._clean_script_blocks(conf, py_source_parser, blocks, outputs)
    return notebook.jupyter_notebook(blocks, conf, str(script.parent))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_notebook_has_no_switches(script):
    code = "".join(
        "".join(cell["source"])
        for cell in _notebook(script)["cells"]
        if cell["cell_type"] == "code"
    )
    assert not re.search(r"argparse|sys\.argv|SK_NCF_QUICK|sphinx_gallery", code)


# Three that take some seconds at full size.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [FIRST, "plot_swiss_roll_moons", "plot_domain_adaptation"]
)
def test_notebook_runs_as_it_is_downloaded(name, tmp_path, monkeypatch):
    for module in ("ipykernel", *NEEDS.get(name, [])):
        pytest.importorskip(module)
    nbclient, nbformat = map(pytest.importorskip, ("nbclient", "nbformat"))
    monkeypatch.delenv("SK_NCF_QUICK", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel chooses its own
    written = json.dumps(_notebook(FOLDER / f"{name}.py"))
    document = nbformat.reads(written, as_version=4)
    client = nbclient.NotebookClient(
        document, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [out for cell in document.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)


def _recorder():
    script = DOCS / "record_examples.py"
    if not script.exists():
        pytest.skip("the documentation is not in this checkout")
    return runpy.run_path(str(script))


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_recorded_output_is_that_of_this_code(script):
    recorder = _recorder()
    head, cells = recorder["read"](script.stem)
    assert head.endswith(recorder["code_digest"](script)), (
        f"run python docs/record_examples.py {script.stem}"
    )
    figures = [name for _, names in cells.values() for name in names]
    assert figures
    assert all((recorder["RECORDED"] / name).exists() for name in figures)
