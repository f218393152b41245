"""Fitted estimators in files that execute nothing when they are read.

A file is one in the safetensors format: arrays, and a header with the text of this
module's metadata, of which `content` is JSON (:mod:`sk_ncf.encoding`) of the state of the
estimator (:mod:`sk_ncf.fitted_state`).
"""

import hashlib
import json
import os
import secrets

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as tensor_bytes

from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.encoding import Decoder, Encoder
from sk_ncf._persistence.restore import estimator_of
from sk_ncf._persistence.state import state_of

__all__ = ["FORMAT_VERSION", "load", "save"]

FORMAT = "sk_ncf"
FORMAT_VERSION = 1
DTYPES = {"BOOL", "F16", "F32", "F64"} | {
    f"{s}{n}" for s in "IU" for n in (8, 16, 32, 64)
}
# What reading a value raises that is not what it should be.
MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


def save(estimator, path, *, classifiers=True):
    """Save a fitted estimator to a file that :func:`load` reads without running code.

    The file is written next to `path`, read back and then put in its place: should
    anything fail, an older file of that name is what it was.

    Kept are the parameters, the map, the fitted attributes, and the rows that `score`
    and `partial_fit` need; not kept is `net_`, which is None afterwards. After
    :meth:`~sk_ncf.NCFTransport.partial_fit` the state of the optimiser and the rows held
    out are not kept either: a stream goes on from the weights, as it does after a fit.

    Parameters
    ----------
    estimator : NCFTransport
        A fitted one. Its cost must be a built-in one, its output distribution a named
        one; it has no `net` or `callbacks`.
    path : str or path-like
        Name of the file, by convention one that ends in ``.safetensors``.
    classifiers : bool, default=True
        Whether to save scikit-learn's classifiers too (`classifier`, and the fitted
        ones that name the class of rows), by skops. If False, a loaded class-conditional
        estimator needs `sample_label` to map rows, and its `classifier` is None.

    Raises
    ------
    TypeError
        If it is no NCFTransport.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If it has what takes code of its own to be read back; the message names what.
    ImportError
        If there are classifiers to be saved, but skops is not installed.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : The way back.

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
    state = state_of(estimator, classifiers)
    encoder = Encoder()
    content = {group: encoder(values, (group,)) for group, values in state.items()}
    metadata = _metadata(json.dumps(content, allow_nan=False), encoder.arrays)
    _replace(os.path.realpath(path), tensor_bytes(encoder.arrays, metadata))


def load(path, *, classifiers=True):
    """Load an estimator that was saved by :func:`save`.

    Nothing in the file is executed. Its arrays and values are checked; that a digest
    agrees tells that it is not damaged, not who wrote it.

    Parameters
    ----------
    path : str or path-like
    classifiers : bool, default=True
        Whether to load scikit-learn's classifiers too, which takes skops; those of types
        that skops does not trust are refused. If False, they are None.

    Returns
    -------
    estimator : NCFTransport
        Fitted, as it was saved, but for `net_`, which is None.

    Raises
    ------
    ModelFileError
        If the file is damaged, of a newer version or not a file of :func:`save`, or
        holds values that no fit has. It is a ValueError.
    ImportError
        If it has classifiers, but skops is not installed.
    OSError
        If the file cannot be opened.

    See Also
    --------
    save : Writes such a file.
    """
    try:
        content, arrays = _read(path)
        decoder = Decoder(arrays, classifiers)
        state = {group: decoder(value) for group, value in content.items()}
        if decoder.arrays:
            raise ModelFileError(f"nothing uses its arrays {sorted(decoder.arrays)}")
        return estimator_of(state, classifiers)
    except MISFITS as error:
        reason = str(error)
        if not isinstance(error, ModelFileError):
            reason = f"it holds what no fit has ({type(error).__name__}: {error})"
        raise ModelFileError(
            f"{os.fspath(path)!r} cannot be loaded: {reason}"
        ) from error


def _read(path):
    """The content and the arrays of a file that is whole."""
    with open(path, "rb"):  # that there is no such file is no fault of the file
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_version(metadata)
            arrays = {name: _array(file, name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"it is no file in the safetensors format, or damaged ({error})"
        ) from error
    content = metadata.get("content", "")
    if _metadata(content, arrays, metadata["written_by"]) != metadata:
        raise ModelFileError("it is damaged: the digest of its content is another")
    return json.loads(content), arrays


def _array(file, name):
    """A copy of an array, of a type that `save` writes."""
    dtype = file.get_slice(name).get_dtype()
    if dtype not in DTYPES:
        raise ModelFileError(f"its array {name} is of the type {dtype}")
    return np.array(file.get_tensor(name))


def _check_version(metadata):
    if metadata.get("format") != FORMAT:
        raise ModelFileError("it is not a file of sk_ncf.save")
    version = int(metadata["format_version"])
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"it has version {version} of the format, written by sk_ncf "
            f"{metadata.get('written_by')!r}; this is an older sk_ncf, which reads "
            f"version {FORMAT_VERSION}: install a newer one"
        )
    if version < 1:
        raise ModelFileError(f"there is no version {version} of the format")


def _metadata(content, arrays, written_by=None):
    """Version, content and the digest of everything."""
    from sk_ncf import __version__  # which imports this module first

    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "written_by": __version__ if written_by is None else written_by,
        "content": content,
    }
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return {**metadata, "sha256": digest.hexdigest()}


def _replace(path, data):
    """Put a file in the place of another, whole or not at all."""
    temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _read(temporary)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
