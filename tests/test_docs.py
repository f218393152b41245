"""Every Python block of the README and of the pages runs, page by page, in order."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from fits import crossing_classes, two_samples
from sklearn.linear_model import LogisticRegression

from sk_ncf import NCFTransport

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
NEEDS = {
    "coming_from": ["ot"],
    "large_data": ["accelerate", "distributed"],
    "getting_started": ["matplotlib"],
    "quickstart": ["matplotlib"],
    "saving": ["skops"],
}
# So that a fit takes a fraction of a second; other parameters of a page count.
SHORT = {"(2000, 2)": "(200, 2)", "(3000, 2)": "(220, 2)", "(1000, 2)": "(150, 2)"}
SMALL = {
    "max_iter": 10,
    "hidden_layer_sizes": (8, 8),
    "batch_size": 32,
    "max_potential_rows": 64,
}


def _blocks(page):
    """Code and the number of the line before it, for a traceback that can be read."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield match[1], text.count("\n", 0, match.start(1))


FIRST_PAGES = {"README", "quickstart", "getting_started"}  # the others with -m slow
WITH_CODE = [
    pytest.param(page, marks=[] if page.stem in FIRST_PAGES else pytest.mark.slow)
    for page in PAGES
    if any(_blocks(page))
]


def _names(folder):
    """What the pages take for granted: samples, with labels, and a classifier in use."""
    X, Y = two_samples(200, 220)
    Xs, Xt, ys = crossing_classes(200, 2)
    return {
        "X": X,
        "Y": Y,
        "X_fresh": two_samples(100, seed=1)[0],
        "Y_fresh": two_samples(100, 100, seed=1)[1],
        "Xs": Xs,
        "ys": ys,
        "Xt": Xt,
        "yt": ys,
        "X_train": Xs,
        "X_new": Xt,
        "y_new": ys,
        "classifier": LogisticRegression().fit(Xs, ys),
        "folder": folder,
    }


@pytest.fixture
def small(monkeypatch):
    """Small networks and few steps as the defaults of the estimator."""
    for name, value in SMALL.items():
        monkeypatch.setitem(NCFTransport.__init__.__kwdefaults__, name, value)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: p.stem)
def test_code_of_the_page_runs_in_order_without_a_warning(page, small, tmp_path):
    for module in NEEDS.get(page.stem, []):
        pytest.importorskip(module)
    names = {"__name__": "page", **_names(tmp_path)}
    for code, line in _blocks(page):
        for rows, fewer in SHORT.items():
            code = code.replace(rows, fewer)
        exec(compile("\n" * line + code, page, "exec"), names)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def test_the_pages_have_code():
    assert len(WITH_CODE) > 8 or not (ROOT / "docs").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_relative_links_of_the_page_lead_to_a_file(page):
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


FAULTS = {
    "": 0,
    '<img src="there.png"><a href="#top">': 0,
    '<a href="https://example.org">': 0,
    '<img src="missing.png">': 1,
    '<script src="https://example.org/a.js"></script>': 1,
    '<link rel="stylesheet" href="//example.org/a.css">': 1,
    '<a href="page.html#nowhere">': 1,
    '<a href="missing.html">': 1,
}


@pytest.mark.parametrize("html", FAULTS)
def test_the_check_of_built_pages_finds_what_is_broken(html, tmp_path):
    script = ROOT / "docs" / "check_pages.py"
    if not script.exists():
        pytest.skip("the documentation is not in this checkout")
    (tmp_path / "there.png").touch()
    (tmp_path / "page.html").write_text(f"<html><body>{html}</body></html>")
    found = runpy.run_path(str(script))["main"](tmp_path)
    assert found == FAULTS[html]
