"""The fingerprint of a fit: equal for two fits that would give the same result."""

import hashlib
import pickle
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
from torch import nn

from sk_ncf._samples.sample import Sample, is_equal
from sk_ncf._training.parameters import TransportParameters

__all__ = ["hash_inputs"]

FORMAT = b"sk_ncf checkpoint 3"  # of the state too: another one is not continued
# Parameters that change no result, or whose effect is seen in the rows and weights.
IGNORED_PARAMETERS = {
    "callbacks",
    "checkpoint_dir",
    "device",
    "n_jobs",
    "output_distribution",
    "random_state",
    "verbose",
}


def hash_inputs(
    estimator: TransportParameters,
    samples: Sequence[tuple[Sample | None, Sample | None]],
    pooled: dict[int, Any],
) -> "hashlib.blake2b":
    """A hash of the parameters and samples of a fit, to be updated with its weights.

    Parameters
    ----------
    estimator : NCFTransport
    samples : list of pairs of Sample or None
        Source and target of every class.
    pooled : dict
        Pooled moments of small classes.

    Raises
    ------
    ValueError
        If a parameter cannot be compared with that of another process.
    """
    digest = hashlib.blake2b(FORMAT, digest_size=16)
    digest.update(_hash_parameters(estimator).encode())
    digest.update(joblib.hash(pooled).encode())
    for pair in samples:
        for sample in pair:
            _hash_sample(digest, sample)
    return digest


def _hash_parameters(estimator: TransportParameters) -> str:
    """The same in every process for equal parameters."""
    params = estimator.get_params(deep=False)
    params = {k: v for k, v in params.items() if k not in IGNORED_PARAMETERS}
    if params["skorch_net"] is not None:
        options = params["skorch_net"].get_params(deep=False)
        params["skorch_net"] = (
            type(params["skorch_net"]),
            {
                name: type(value) if isinstance(value, nn.Module) else value
                for name, value in options.items()
                if name != "callbacks"
            },
        )
    try:
        return joblib.hash(params)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "checkpoint_dir needs parameters that can be pickled, to tell this fit from "
            f"others: {error}"
        ) from error


def _hash_sample(
    digest: "hashlib.blake2b", sample: Sample | None, chunk: int = 65536
) -> None:
    """Add all rows and their weights, which takes less time than their moments."""
    if sample is None:
        digest.update(b"none")
        return
    digest.update(repr((sample.X.shape, sample.total)).encode())
    for start in range(0, len(sample), chunk):
        rows = np.ascontiguousarray(sample.X[start : start + chunk])
        digest.update(rows.dtype.str.encode())
        digest.update(rows.data)
    if not is_equal(sample.weight):
        digest.update(np.ascontiguousarray(sample.weight).data)
