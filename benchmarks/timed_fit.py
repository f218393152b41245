"""One timed fit, of whichever sk_ncf the interpreter finds; called by speed.py.

    python timed_fit.py rows.npz result.npz '{"random_state": 0}'

Reads the rows, fits a default NCFTransport in one thread, and writes its CPU seconds, the
numbers of its steps, and the mapped test rows. It runs releases from 0.1.0 on, whose
parameters had other names, and therefore imports nothing else of this folder.
"""

import json
import sys
import time
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport

WARM_UP = {"max_iter": 3}  # the first fit of a process also loads libraries


def estimator(params):
    """An estimator with these parameters, under the names of the release."""
    params = {"device": "cpu", **params}
    old = "n_members" in NCFTransport().get_params()
    if old and params.get("class_conditional") == "per_class":
        params["class_conditional"] = "label"
    return NCFTransport(**params)


def main(rows, result, params):
    """Fit and map."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows, params = dict(np.load(rows)), json.loads(params)
    fit = {
        name: rows[name] for name in ("X", "X_target", "y", "y_target") if name in rows
    }
    labels = "y" in rows
    with threadpool_limits(1):
        estimator({**params, **WARM_UP}).fit(**fit)
        start = time.process_time()
        fitted = estimator(params).fit(**fit)
        seconds = time.process_time() - start
        forward = {"sample_label": rows["y_forward"]} if labels else {}
        inverse = {"sample_label": rows["y_inverse"]} if labels else {}
        np.savez(
            result,
            seconds=seconds,
            n_iter=fitted.n_iter_,
            best_iter=np.max(fitted.best_iter_),
            stop_reason=fitted.stop_reason_,
            forward=fitted.transform(rows["X_forward"], **forward),
            inverse=fitted.inverse_transform(rows["X_inverse"], **inverse),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
