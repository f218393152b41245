"""Fitted estimators in files that run no code when they are loaded.

The files are in the safetensors format: arrays, and metadata in the header. The entry
`content` of the metadata is the JSON (:mod:`sk_ncf._persistence.encoding`) of the state
of the estimator (:mod:`sk_ncf._persistence.state`).
"""

import hashlib
import json
import os
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as tensor_bytes

from sk_ncf._files import write_atomically
from sk_ncf._persistence.adapted import adapted_state, is_adapted, restored_adapted
from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.encoding import Decoder, Encoder
from sk_ncf._persistence.restore import restored_estimator
from sk_ncf._persistence.state import estimator_state
from sk_ncf._version import __version__, check_version
from sk_ncf.adaptation import AdaptedClassifier
from sk_ncf.estimator import NCFTransport

__all__ = ["FORMAT_VERSION", "load", "save"]

FORMAT = "sk_ncf"
FORMAT_VERSION = 2  # 1 has only networks, of NCFTransport
DTYPES = {"BOOL", "F16", "F32", "F64"} | {
    f"{s}{n}" for s in "IU" for n in (8, 16, 32, 64)
}
# Errors that an unexpected value in a file leads to.
DECODING_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


def save(
    estimator: NCFTransport | AdaptedClassifier,
    path: str | os.PathLike[str],
    *,
    classifiers: bool = True,
) -> None:
    """Save a fitted estimator to a file that :func:`load` reads without running code.

    The file is written next to `path`, read back, and then renamed. If anything fails,
    an older file at `path` is unchanged.

    The file has the parameters, the map, the other fitted attributes, and the rows that
    `score` and `partial_fit` need. It does not have `net_`, which is None after loading.
    After :meth:`~sk_ncf.NCFTransport.partial_fit`, it does not have the state of the
    optimizer and the validation rows either: the next `partial_fit` of the loaded
    estimator starts from the weights of the map, as it does after a fit.

    Parameters
    ----------
    estimator : NCFTransport or AdaptedClassifier
        Fitted. A transport: with a cost and an objective of this package, an output
        distribution given by name, and no `skorch_net` or `callbacks`. A classifier: with an
        `estimator` that skops trusts, and no transport of your own; it needs skops.
    path : str or path-like
        Name of the file, by convention ending in ``.safetensors``.
    classifiers : bool, default=True
        Whether to save scikit-learn's classifiers (`classifier`, and the fitted ones
        that predict the class of rows), by skops. If False, a loaded class-conditional
        estimator needs `sample_label` to map rows, and its `classifier` is None.

    Raises
    ------
    TypeError
        If the estimator is neither.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If it holds an object that only its own code could rebuild; the message names
        the object.
    ImportError
        If there are classifiers to save and skops is not installed.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Load such a file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import sk_ncf
    >>> rng = np.random.RandomState(0)
    >>> X, Y = rng.randn(100, 2), rng.randn(120, 2) + 3
    >>> transport = sk_ncf.NCFTransport(max_iter=5, random_state=0).fit(X, X_target=Y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sk_ncf.save(transport, f"{folder}/transport.safetensors")
    ...     loaded = sk_ncf.load(f"{folder}/transport.safetensors")
    >>> np.array_equal(loaded.transform(X), transport.transform(X))
    True
    """
    if type(estimator) is AdaptedClassifier:
        state: dict[str, Any] = adapted_state(estimator)
    else:
        state = estimator_state(cast(NCFTransport, estimator), classifiers)
    encoder = Encoder()
    content = {group: encoder(values, (group,)) for group, values in state.items()}
    metadata = _metadata(json.dumps(content, allow_nan=False), encoder.arrays)
    data = tensor_bytes(encoder.arrays, metadata)
    # A link stays, and the file that it points to is replaced.
    write_atomically(os.path.realpath(path), data, check=_read)


def load(path: str | os.PathLike[str], *, classifiers: bool = True) -> Any:
    """Load an estimator that was saved by :func:`save`.

    No code in the file is run, and all of its values are checked. A digest shows that
    the file is not damaged; it does not show who wrote it.

    Parameters
    ----------
    path : str or path-like
    classifiers : bool, default=True
        Whether to load scikit-learn's classifiers, which needs skops. A classifier with
        types that skops does not trust is an error. If False, they become None.

    Returns
    -------
    estimator : NCFTransport or AdaptedClassifier
        Fitted, as it was saved, except for `net_`, which is None.

    Raises
    ------
    ModelFileError
        If the file is damaged, of a newer version, not written by :func:`save`, or holds
        values that no fit has. It is a ValueError.
    ImportError
        If the file has classifiers and skops is not installed.
    OSError
        If the file cannot be opened.

    Warns
    -----
    sklearn.exceptions.InconsistentVersionWarning
        If another version of sk_ncf saved the file.

    See Also
    --------
    save : Save such a file.
    """
    try:
        content, arrays, version = _read(path)
        decoder = Decoder(arrays, classifiers)
        state = {group: decoder(value) for group, value in content.items()}
        if decoder.arrays:
            raise ModelFileError(f"it has unused arrays {sorted(decoder.arrays)}")
        estimator: NCFTransport | AdaptedClassifier
        if is_adapted(state):
            estimator = restored_adapted(state)
        else:
            estimator = restored_estimator(state, classifiers)
    except DECODING_ERRORS as error:
        reason = str(error)
        if not isinstance(error, ModelFileError):
            reason = (
                f"it holds values that no fit has ({type(error).__name__}: {error})"
            )
        raise ModelFileError(
            f"{os.fspath(path)!r} cannot be loaded: {reason}"
        ) from error
    check_version(type(estimator).__name__, version, 2)
    return estimator


def _read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, np.ndarray], str]:
    """The content, the arrays, and the version that wrote them, of an undamaged file."""
    with open(path, "rb"):  # a missing file is an OSError, not a ModelFileError
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_format(metadata)
            arrays = {name: _array(file, name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"it is not in the safetensors format, or damaged ({error})"
        ) from error
    content = metadata.get("content", "")
    versions = metadata["written_by"], metadata["format_version"]
    if _metadata(content, arrays, *versions) != metadata:
        raise ModelFileError("it is damaged: its digest is wrong")
    return json.loads(content), arrays, metadata["written_by"]


def _array(file: Any, name: str) -> np.ndarray:
    """A copy of an array, whose type must be one that `save` writes."""
    dtype = file.get_slice(name).get_dtype()
    if dtype not in DTYPES:
        raise ModelFileError(f"its array {name} has the type {dtype}")
    return np.array(file.get_tensor(name))


def _check_format(metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ModelFileError("it was not written by sk_ncf.save")
    version = int(metadata["format_version"])
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"it has version {version} of the file format and was written by sk_ncf "
            f"{metadata.get('written_by')!r}. This older sk_ncf reads versions up to "
            f"{FORMAT_VERSION}: install a newer one"
        )
    if version < 1:
        raise ModelFileError(f"there is no version {version} of the file format")


def _metadata(
    content: str,
    arrays: dict[str, np.ndarray],
    written_by: str = __version__,
    format_version: str = str(FORMAT_VERSION),
) -> dict[str, str]:
    """Versions, content and the digest of everything."""
    metadata = {
        "format": FORMAT,
        "format_version": format_version,
        "written_by": written_by,
        "content": content,
    }
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return {**metadata, "sha256": digest.hexdigest()}
