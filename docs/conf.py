"""Sphinx: `python -m sphinx -W --keep-going docs docs/_build/html` builds the pages.

No example runs and nothing is loaded from the network: record_examples.py and
make_pictures.py have written the results before.
"""

import atexit
import configparser
import importlib.util
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import inventories
import record_examples
from PIL import Image

import sk_ncf

# The one address that source, edit and issue links are made of is `url` in setup.cfg.
setup_cfg = configparser.ConfigParser()
setup_cfg.read(HERE.parent / "setup.cfg", encoding="utf-8")
REPOSITORY = setup_cfg["metadata"]["url"]

project = "sk_ncf"
author = "sk_ncf developers"
project_copyright = author
version = release = sk_ncf.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "figures.md",  # its parts are included by the pages
    "auto_examples/index.rst",  # examples.md has the sections
    "auto_examples/*.py",
    "auto_examples/*.ipynb",
    "auto_examples/*.md5",
]
templates_path = ["_templates"]
default_role = None

# Markdown, with formulas between dollars and links to every heading.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {
    "release": release,
    "source_link": f"[source code]({REPOSITORY})",
    "issues_link": f"[issues]({REPOSITORY}/issues)",
}
math_eqref_format = "({number})"
suppress_warnings = ["myst.header"]  # a page may include a part of another file

# Docstrings.
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# Documented by scikit-learn, which the page of a class links to.
autosummary_context = {
    "of_sklearn": [
        "get_feature_names_out",
        "get_metadata_routing",
        "get_params",
        "set_callbacks",
        "set_output",
        "set_params",
    ],
}

# Links to the names of other packages, from a list that is in this folder.
_folder = tempfile.mkdtemp()
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
_other = tomllib.loads((HERE / "inventories.toml").read_text(encoding="utf-8"))
intersphinx_mapping = inventories.write(_other, _folder)

# Examples: their code, their notebooks, and the recorded output below each cell.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "plot_gallery": False,
    "ignore_pattern": r"__init__\.py",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "minigallery_sort_order": "record_examples.gallery_order",
    "backreferences_dir": "backreferences",
    "doc_module": ("sk_ncf",),
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
}
# Which part of the first figure makes a thumbnail: left, top, right, bottom.
THUMBNAILS = {
    "pipeline_recipes": (0, 0, 0.5, 1),
    "plot_adapted_classifier": 2,
    "plot_checkerboard": (0.25, 0, 0.75, 0.5),
    "plot_class_conditional": (0.5, 0, 1, 1),
    "plot_color_transfer": (0.333, 0, 1, 1),
    "plot_computation": (0, 0, 0.34, 0.5),
    "plot_domain_adaptation": (0.5, 0, 1, 1),
    "plot_fashion_to_digits": (0, 0, 1, 0.5),
    "plot_gaussians": (0, 0, 0.36, 1),
    "plot_general_costs": (0, 0, 0.67, 0.5),
    "plot_swiss_roll_moons": (0.45, 0, 1, 0.85),
    "plot_two_moons": (0.65, 0.08, 1, 0.9),
}
THUMBNAIL_SIZE = 480, 320

# Code blocks: what is copied leaves out prompts.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Pages.
html_theme = "furo"
html_title = f"sk_ncf {release}"
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "source_view_link": REPOSITORY + "/blob/main/docs/{filename}",
    "source_edit_link": REPOSITORY + "/edit/main/docs/{filename}",
    "top_of_page_buttons": ["view", "edit"],
}
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


def _literal(text):
    """reST of what a cell has printed."""
    block = "".join(f"    {line}\n" for line in text.splitlines())
    return f".. rst-class:: sphx-glr-script-out\n\n.. code-block:: none\n\n{block}\n"


def _picture(path, title):
    kind = "photographs" if path.endswith(".jpg") else "diagram"
    return f".. image:: /recorded/{path}\n   :alt: {title}\n   :class: {kind}\n\n"


def _show_recorded(app, docname, source):
    """Put what a cell printed and drew below the cell."""
    folder, _, name = docname.rpartition("/")
    head, cells = record_examples.read(name)
    if folder != "auto_examples" or not cells:
        return
    marker = ".. GENERATED FROM PYTHON SOURCE LINES"
    first, *blocks = source[0].split(marker)
    end = ".. _sphx_glr_download_"
    blocks[-1], _, footer = blocks[-1].partition(end)
    title = re.search(r"\n([^\n]+)\n=====", first)[1].replace("`", "")
    for k, (text, figures) in cells.items():
        pictures = [_picture(figure, f"Figure of: {title}") for figure in figures]
        output = [_literal(text)] if text else []
        block = blocks[k - 1].rstrip()  # the docstring is block 0, without a marker
        blocks[k - 1] = "\n".join([block, "", *output, *pictures, ""])
    seconds = head.split(", code")[0]
    note = f"\nRecorded by ``python docs/record_examples.py {name}``: {seconds}.\n\n"
    source[0] = marker.join([first, *blocks]) + note + end + footer


def _thumbnails(app):
    """Thumbnails from the recorded figures."""
    for path in (HERE / "auto_examples" / "images" / "thumb").glob("*_thumb.png"):
        name = path.name.removeprefix("sphx_glr_").removesuffix("_thumb.png")
        part = THUMBNAILS.get(name, (0, 0, 1, 1))
        number, part = (part, (0, 0, 1, 1)) if isinstance(part, int) else (1, part)
        found = list(record_examples.RECORDED.glob(f"{name}_{number}.*"))
        if found:
            with Image.open(found[0]) as figure:
                w, h = figure.size
                box = part[0] * w, part[1] * h, part[2] * w, part[3] * h
                cut = figure.convert("RGB").crop(tuple(map(int, box)))
                cut.thumbnail(THUMBNAIL_SIZE)
                page = Image.new("RGB", THUMBNAIL_SIZE, "white")
                x, y = (
                    (a - b) // 2 for a, b in zip(THUMBNAIL_SIZE, cut.size, strict=True)
                )
                page.paste(cut, (x, y))
                page.save(path)


def _edit_links(app, pagename, templatename, context, doctree):
    """Generated pages are edited in the file that they are made from."""
    folder, _, name = pagename.rpartition("/")
    if folder == "auto_examples":
        for kind, verb in (("view", "blob"), ("edit", "edit")):
            link = f"{REPOSITORY}/{verb}/main/examples/{name}.py"
            context[f"theme_source_{kind}_link"] = link
    elif folder == "api" or pagename.startswith(("_modules", "genindex", "search")):
        context["page_source_suffix"] = ""


def setup(app):
    """Connect what is above."""
    app.connect("autodoc-skip-member", _leave_out)
    app.connect("source-read", _show_recorded)
    app.connect("builder-inited", _thumbnails, priority=900)
    app.connect("html-page-context", _edit_links)
