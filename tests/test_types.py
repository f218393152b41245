"""mypy on scripts of users: what is right passes, what is wrong is found."""

import re
import sys
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

ROOT = Path(__file__).parents[1]
RIGHT = """
import numpy as np
import pandas as pd
import torch
from numpy.random import RandomState
from sklearn.linear_model import LogisticRegression

from sk_ncf import (
    MMD, Cost, Lp, NCFNet, NCFTransport, Objective, SemiDual, load, save
)
from sk_ncf.datasets import make_convex_map
from sk_ncf.diagnostics import Diagnostics
from sk_ncf.metrics import l2_uvp
from sk_ncf.plotting import TransportDisplay

NCFTransport(max_iter=400)
NCFTransport(cost=Lp(1.5), ensemble_size=1, hidden_layer_sizes=(64, 64))
NCFTransport(cost="lp", cost_params={"p": 1.2}, learning_rate_init=1e-3)
NCFTransport(class_conditional="per_class", classifier=LogisticRegression())
NCFTransport(class_conditional=True, objective=SemiDual(mmd_weight=1.0))
NCFTransport(class_conditional="shared", objective="mmd", batch_size=128)
NCFTransport(output_distribution=lambda size, random_state: random_state.rand(*size))
NCFTransport(skorch_net=NCFNet(), callbacks=[], device=torch.device("cpu"))
NCFTransport(random_state=RandomState(0), checkpoint_dir="folder", verbose=1)


class Quartic(Cost):
    def lagrangian(self, v: torch.Tensor) -> torch.Tensor:
        return v.square().sum(-1) / 2 + v.pow(4).sum(-1) / 4


rows = make_convex_map(Quartic(), 100, 2, random_state=0)
X, Y = rows.X, rows.X_target
fitted: NCFTransport = NCFTransport(cost=Quartic()).fit(X, X_target=Y)
fitted.fit(pd.DataFrame(X), X_target=Y.tolist(), sample_weight=np.ones(100))
fitted.fit(X, ["a"] * 100, X_target=Y, y_target=[None] * 100, sample_domain=1)
mapped: np.ndarray = fitted.transform(X)
back: np.ndarray = fitted.inverse_transform(mapped, sample_label=1)
half: np.ndarray = fitted.interpolate(X, 0.5)
score: float = fitted.score(X, X_target=Y) + fitted.transport_cost(X)
found: Diagnostics = fitted.diagnostics(X, X_target=Y, random_state=0)
f, g = fitted.dual_potentials(X, X_target=Y)
error: float = l2_uvp(mapped, rows.forward(X)) + found.forward.error + float(f.sum())
save(fitted, "file")
loaded: NCFTransport = load("file")
TransportDisplay.from_estimator(fitted, X)
"""
WRONG = {  # a line, and what mypy is to say of it
    'NCFTransport(objective="duall")': "Argument \"objective\".*'duall'",
    "NCFTransport(max_iters=3)": 'Unexpected keyword argument "max_iters"',
    'NCFTransport(max_iter="many")': 'Argument "max_iter"',
    'NCFTransport(class_conditional="label")': 'Argument "class_conditional"',
    'NCFTransport(cost="l2")': 'Argument "cost"',
    "NCFTransport().fit(X, X_targets=X)": 'Unexpected keyword argument "X_targets"',
    "NCFTransport().diagnostics(X, X)": "Too many positional arguments",
    "name: str = NCFTransport().fit(X).transform(X)": "Incompatible types",
    "NCFTransport().diagnostics(X).told_apart": 'has no attribute "told_apart"',
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """What mypy says of both scripts, by file and line."""
    folder = tmp_path_factory.mktemp("types")
    right, wrong = folder / "right.py", folder / "wrong.py"
    right.write_text(RIGHT)
    head = ["import numpy as np", "from sk_ncf import NCFTransport", "X = np.eye(2)"]
    wrong.write_text("\n".join([*head, *WRONG]) + "\n")
    config = folder / "mypy.ini"
    config.write_text(
        "[mypy]\nignore_missing_imports = True\nfollow_imports_for_stubs = True\n"
        f"python_executable = {sys.executable}\nmypy_path = {ROOT}\n"
        "[mypy-sk_ncf.*]\nignore_errors = True\n"
        "[mypy-torch.*,sklearn.*,skorch.*,pandas.*,scipy.*]\nfollow_imports = skip\n"
    )
    out, err, _ = api.run(
        [str(right), str(wrong), "--config-file", str(config)]
        + ["--cache-dir", str(folder / "cache"), "--no-error-summary"]
    )
    assert not err
    return [line for line in out.splitlines() if "error:" in line]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "sk_ncf").exists(), reason="installed elsewhere")
def test_a_script_that_uses_the_public_names_rightly_has_the_types_it_says(complaints):
    assert not [line for line in complaints if "right.py" in line]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "message"), WRONG.items())
def test_a_wrong_call_is_found(code, message, complaints):
    line = 4 + list(WRONG).index(code)
    found = [text for text in complaints if f"wrong.py:{line}:" in text]
    assert len(found) == 1
    assert re.search(message, found[0])
