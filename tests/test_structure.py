"""The structure of the package: imports, public names, sizes, calling conventions."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import sk_ncf
from sk_ncf import plotting

ROOT = Path(sk_ncf.__file__).parent
# A module may import from modules of lower levels and from its own folder.
LEVELS = {
    "_version": 0,
    "_files": 0,
    "_inputs": 0,
    "costs": 1,
    "_flow": 2,
    "_samples": 3,
    "objectives": 4,
    "diagnostics": 5,
    "_training": 6,
    "_classes": 6,
    "estimator": 7,
    "adaptation": 7,
    "_persistence": 8,
    "__init__": 9,
    # Nothing imports these.
    "metrics": 10,
    "datasets": 10,
    "plotting": 10,
}
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES = 350
LONG = {"estimator.py"}  # its parameters and public methods are documented there


def _room(path):
    """The top-level folder or module of a file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imported_rooms(path):
    """Folders and modules of the package that a file imports from, and the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name == "sk_ncf.__version__":  # not a module
                continue
            package, *rest = name.split(".")
            if package == "sk_ncf":
                room = rest[0] if rest and rest[0] in LEVELS else "__init__"
                yield room, node.lineno


def test_every_top_level_name_has_a_level():
    assert {_room(path) for path in FILES} <= set(LEVELS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = _room(path)
    wrong = [
        f"line {line} imports {room}"
        for room, line in _imported_rooms(path)
        if room != own and LEVELS[room] >= LEVELS[own]
    ]
    assert not wrong


def test_no_file_is_long():
    lines = {path.name: len(path.read_text().splitlines()) for path in FILES}
    assert {name for name, n in lines.items() if n > MOST_LINES} <= LONG


def test_tab_completion_shows_public_names_only(new_process):
    folders = {_room(path) for path in FILES}
    modules = {name for name in folders if not name.startswith("_")}
    public = {name for name in sk_ncf.__all__ if not name.startswith("_")}
    # Public modules that `import sk_ncf` does not import are not listed yet.
    assert public <= set(new_process["names"]) <= public | modules


def test_import_leaves_out_the_slow_parts_of_scikit_learn(new_process):
    """They are imported by the fits with classes that need them."""
    slow = ("ensemble", "neighbors", "semi_supervised", "svm")
    assert not {f"sklearn.{name}" for name in slow} & set(new_process["imported"])


def test_a_fit_leaves_out_the_compiler_of_torch(new_process):
    """Its import takes longer than a fit to a few rows."""
    assert not {"torch._dynamo", "sympy"} & set(new_process["after_fit"])


# Calling conventions.

ESTIMATOR = sk_ncf.NCFTransport
METHODS = {
    name: method
    for name, method in inspect.getmembers(ESTIMATOR, inspect.isfunction)
    if not name.startswith(("_", "set_", "get_"))
}
DISPLAYS = {name: getattr(plotting, name).from_estimator for name in plotting.__all__}
KEYWORDS = (
    "X_target",
    "y_target",
    "sample_domain",
    "sample_label",
    "sample_weight",
    "target_weight",
)


@pytest.mark.parametrize("name", [*METHODS, *DISPLAYS])
def test_rows_come_first_and_all_that_describes_them_is_passed_by_keyword(name):
    parameters = inspect.signature({**METHODS, **DISPLAYS}[name]).parameters
    for key in KEYWORDS:
        if key in parameters:
            assert parameters[key].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", [*METHODS, *DISPLAYS])
def test_labels_are_y_and_y_target_or_sample_label(name):
    """scikit-learn routes nothing that is called y to transform: there, sample_label."""
    parameters = inspect.signature({**METHODS, **DISPLAYS}[name]).parameters
    if "sample_label" in parameters:
        assert not {"y", "y_target"} & set(parameters)
    elif "X_target" in parameters and name != "score":
        assert {"y", "y_target"} <= set(parameters)


# Words of the package's prose that readers do not look for, and the usual terms.
UNUSUAL = {
    r"\blaws?\b(?! of large)": "distribution",
    r"\bleads? home\b": "cycle-consistency",
    r"\brows a side\b": "samples",
    r"\bha(s|ve) but one\b": "has only one",
    r"\bwithout a name\b": "unlabelled",
}


@pytest.mark.parametrize("words", UNUSUAL)
def test_prose_uses_the_terms_of_the_field(words):
    found = [path.name for path in FILES if re.search(words, path.read_text(), re.I)]
    assert not found, f"write {UNUSUAL[words]!r}"
