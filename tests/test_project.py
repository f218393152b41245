"""What surrounds the package: addresses, citation, figures, metadata."""

import configparser
import inspect
import re
import runpy
from pathlib import Path

import pytest

import sk_ncf

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FIGURES = DOCS / "figures.md"
BLOCK = re.compile(r"<!-- ([\w-]+): begin -->\n(.*?)<!-- \1: end -->", re.S)


def _text(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not in this checkout")
    return path.read_text(encoding="utf-8")


def _url():
    config = configparser.ConfigParser()
    config.read_string(_text(ROOT / "setup.cfg"))
    return config["metadata"]["url"]


def test_readme_on_a_package_index_has_no_relative_address():
    absolute = runpy.run_path(str(ROOT / "setup.py"))["absolute"]
    text = absolute(_text(ROOT / "README.md"), _url())
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 10
    assert all(link.startswith("https://") for link in links)
    assert "$" not in text  # no formulas, which an index does not set


def test_the_address_of_the_repository_is_the_same_everywhere():
    others = ["CITATION.cff", "CONTRIBUTING.md", "README.md", "SECURITY.md"]
    for name in others:
        found = re.findall(r"https://github\.com/[\w-]+/sk_ncf", _text(ROOT / name))
        assert set(found) <= {_url()}, name
    assert f"repository-code: {_url()}\n" in _text(ROOT / "CITATION.cff")


def test_citation_has_the_version_of_the_package():
    assert f"\nversion: {sk_ncf.__version__}\n" in _text(ROOT / "CITATION.cff")


def test_every_parameter_of_the_estimator_is_in_one_group_of_its_docstring():
    groups = re.findall(r"^- [\w ]+: ((?:[^;.]|\n)+)[;.]$", _groups(), re.M)
    listed = re.findall(r"`(\w+)`", " ".join(groups))
    parameters = inspect.signature(sk_ncf.NCFTransport).parameters
    assert sorted(listed) == sorted(parameters)


def _groups():
    text = inspect.getdoc(sk_ncf.NCFTransport)  # as indented in every Python
    return text[text.index("parameters by purpose") : text.index("----------")]


def test_every_measured_figure_has_its_command_and_its_page():
    blocks = dict(BLOCK.findall(_text(FIGURES)))
    pages = "".join(p.read_text(encoding="utf-8") for p in DOCS.rglob("*.md"))
    assert len(blocks) > 10
    for name, text in blocks.items():
        script = re.search(r"```bash\npython (\S+)", text)[1]
        if (ROOT / "benchmarks" / "peers").exists():
            assert (ROOT / script).exists(), script
        assert f'"<!-- {name}: begin -->"' in pages, name


def test_readme_repeats_rows_of_the_table_of_peers():
    peers = dict(BLOCK.findall(_text(FIGURES)))["peers"].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in peers]
    known = [[row[0], row[1], row[2], *row[4:]] for row in cells if len(row) == 6]
    readme = _text(ROOT / "README.md").splitlines()
    rows = [line for line in readme if line.startswith("|") and "---" not in line]
    assert len(rows) > 3
    for row in rows:
        assert [cell.strip() for cell in row.strip("|").split("|")] in known


GUIDE = sorted(page for page in DOCS.glob("guide/*.md") if page.stem != "index")


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_every_page_of_the_guide_has_a_picture_with_a_description(page):
    pictures = re.findall(r"```\{image\} (\S+)\n:alt: (.+)\n```", _text(page))
    assert pictures
    for path, _ in pictures:
        assert (page.parent / path).resolve().exists(), path


# The prose of the pages, in the words that readers search for.
UNUSUAL = (
    r"\blaws?\b(?! of)|\bleads? home\b|\ba side\b|has but|carr(y|ies|ied)\b|torn map"
)


def test_pages_use_the_terms_of_the_field():
    pages = [
        ROOT / "README.md",
        *(p for p in DOCS.glob("*.md")),
        *DOCS.glob("guide/*.md"),
    ]
    text = {page.name: _text(page) for page in pages}
    text["examples"] = "".join(p.read_text() for p in (ROOT / "examples").glob("*.py"))
    found = {name: re.search(UNUSUAL, words, re.I) for name, words in text.items()}
    assert not {name: match[0] for name, match in found.items() if match}
