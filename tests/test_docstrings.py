"""numpydoc on every public object: every check but those left out for a reason."""

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass

import pytest

import sk_ncf

numpydoc_validate = pytest.importorskip("numpydoc.validate")

NOT_ASKED = {
    "EX01",  # not every method needs an example: the class has one
    "SA01",  # nor a See Also section
    "ES01",  # nor more than the line that says it
    "GL08",  # what a subclass overrides keeps the docstring of its base
    "PR01",  # the tensors x, y, v, p, t are explained once for a module
    "PR02",
    "PR07",  # "flow : CharacteristicFlow" says it all
    "PR08",  # a description may start with a symbol, in lower case
    "RT01",  # the summary line says what is returned, with its shape
    "RT02",  # "self : NCFTransport", as scikit-learn writes it
    "RT03",
    "SS02",  # a summary may start with a symbol or an equation
    "SS05",  # "Minus the risk" is no verb in the third person
}
# What a user calls documents every parameter and what it returns.
DOOR = ("costs", "datasets", "diagnostics", "estimator", "persistence", "plotting")
DOOR_ASKS = {"PR01", "PR02", "RT01"}
COST_METHODS = ["hamiltonian", "lagrangian", "momentum", "pairwise", "velocity"]


def _is_documented(obj):
    return inspect.isclass(obj) or inspect.isfunction(obj)


def _public_objects():
    for info in pkgutil.iter_modules(sk_ncf.__path__):
        module = importlib.import_module(f"sk_ncf.{info.name}")
        for name in module.__all__:
            obj = getattr(module, name)
            if _is_documented(obj):
                yield f"{module.__name__}.{name}"
            if inspect.isclass(obj):
                for key, member in vars(obj).items():
                    callable_ = inspect.isfunction(member) or isinstance(
                        member, classmethod | staticmethod
                    )
                    if callable_ and not key.startswith("_"):
                        yield f"{module.__name__}.{name}.{key}"


def _is_at_the_door(path):
    _, module, name, *method = path.split(".")
    owner = getattr(importlib.import_module(f"sk_ncf.{module}"), name)
    if module == "costs" and method:
        return False  # tensors: one line with their shapes
    # A dataclass is documented by its attributes.
    return module in DOOR and not is_dataclass(owner)


def _complaints(path, leave_out):
    errors = numpydoc_validate.validate(path)["errors"]
    return [f"{code}: {text}" for code, text in errors if code not in leave_out]


@pytest.mark.parametrize("path", sorted(_public_objects()))
def test_docstring_follows_numpydoc(path):
    assert not _complaints(path, NOT_ASKED)


@pytest.mark.parametrize(
    "path",
    sorted(path for path in _public_objects() if _is_at_the_door(path)),
)
def test_docstring_at_the_door_names_every_parameter_and_result(path):
    assert not _complaints(path, NOT_ASKED - DOOR_ASKS)


@pytest.mark.parametrize("method", COST_METHODS)
def test_every_cost_documents_what_it_computes(method):
    """An override without a docstring of its own shows that of the base class."""
    for name in sk_ncf.costs.__all__:
        assert inspect.getdoc(getattr(getattr(sk_ncf.costs, name), method))


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.iter_modules(sk_ncf.__path__)]
)
def test_names_that_a_module_exports_exist(module):
    module = importlib.import_module(f"sk_ncf.{module}")
    assert all(hasattr(module, name) for name in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    assert module.__doc__
