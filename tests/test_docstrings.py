"""numpydoc validates every documented object; checks left out have their reason."""

import importlib
import inspect
import pkgutil
import types
from dataclasses import is_dataclass

import pytest

import sk_ncf

numpydoc_validate = pytest.importorskip("numpydoc.validate")

LEFT_OUT = {
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
# Functions and classes that users call document every parameter and what they return.
USERS_NEED = {"PR01", "PR02", "RT01"}
# Their methods and functions take tensors: one line with the shapes is enough.
TENSOR_CLASSES = (sk_ncf.Cost, sk_ncf.Objective, sk_ncf.NCFNet)
TENSOR_FUNCTIONS = "sk_ncf.objectives."
COST_METHODS = ["hamiltonian", "lagrangian", "momentum", "pairwise", "velocity"]


def _is_public(name):
    return not any(part.startswith("_") for part in name.split("."))


def _modules():
    """Every module by name, the public ones first."""
    found = [m.name for m in pkgutil.walk_packages(sk_ncf.__path__, "sk_ncf.")]
    return sorted(["sk_ncf", *found], key=lambda name: (not _is_public(name), name))


def _documented_objects():
    """Path to object: every class, its methods and every function, once."""
    objects, seen = {}, set()
    for name in _modules():
        module = importlib.import_module(name)
        for key in getattr(module, "__all__", ()):
            obj = getattr(module, key)
            documented = inspect.isclass(obj) or inspect.isfunction(obj)
            if not documented or obj in seen:
                continue
            seen.add(obj)
            objects[f"{name}.{key}"] = obj
            if inspect.isclass(obj):
                objects.update(_methods(f"{name}.{key}", obj))
    return objects


def _methods(path, owner):
    kinds = (types.FunctionType, classmethod, staticmethod)
    for key, member in vars(owner).items():
        if isinstance(member, kinds) and not key.startswith("_"):
            yield f"{path}.{key}", getattr(owner, key)


def _is_for_users(path):
    if not _is_public(path):
        return False
    parent = OBJECTS.get(path.rpartition(".")[0])
    if inspect.isclass(parent) and issubclass(parent, TENSOR_CLASSES):
        return False
    if path.startswith(TENSOR_FUNCTIONS) and inspect.isfunction(OBJECTS[path]):
        return False
    # A dataclass is documented by its attributes.
    return not (is_dataclass(OBJECTS[path]) or is_dataclass(parent))


def _complaints(path, leave_out):
    if "As in :meth:" in inspect.getdoc(OBJECTS[path]):
        leave_out = leave_out | {"PR04"}  # their types are given there
    errors = numpydoc_validate.validate(path)["errors"]
    return [f"{code}: {text}" for code, text in errors if code not in leave_out]


OBJECTS = _documented_objects()


@pytest.mark.parametrize("path", OBJECTS)
def test_docstring_follows_numpydoc(path):
    assert not _complaints(path, LEFT_OUT)


@pytest.mark.parametrize("path", list(filter(_is_for_users, OBJECTS)))
def test_docstring_for_users_documents_every_parameter_and_result(path):
    assert not _complaints(path, LEFT_OUT - USERS_NEED)


@pytest.mark.parametrize("path", list(filter(_is_for_users, OBJECTS)))
def test_signature_that_help_shows_names_types_of_arrays_in_one_word(path):
    try:
        signature = inspect.signature(OBJECTS[path])
    except ValueError:  # an exception's, which Python does not know
        return
    assert "numpy._typing" not in str(signature)


@pytest.mark.parametrize("method", COST_METHODS)
def test_every_cost_documents_what_it_computes(method):
    """An override without a docstring of its own shows that of the base class."""
    for name in sk_ncf.costs.__all__:
        cost = getattr(sk_ncf.costs, name)
        assert inspect.getdoc(getattr(cost, method))


@pytest.mark.parametrize("module", _modules())
def test_names_that_a_module_exports_exist(module):
    module = importlib.import_module(module)
    is_room = hasattr(module, "__path__")  # a private folder need not export names
    names = getattr(module, "__all__", ()) if is_room else module.__all__
    assert all(hasattr(module, name) for name in names)
    assert len(set(names)) == len(names)
    assert module.__doc__
