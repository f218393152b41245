"""Scikit-learn classifiers as bytes, by skops, under its rules of what is trusted."""

import io
import zipfile

import numpy as np

__all__ = ["ModelFileError", "skops_bytes", "skops_object"]


class ModelFileError(ValueError):
    """A file that :func:`sk_ncf.save` did not write: damaged, too new or another's."""


def skops_bytes(name, value):
    """A scikit-learn object as an array of bytes that skops can read again.

    Raises
    ------
    ValueError
        If it cannot; the message has the name and the types that are not trusted.
    ImportError
        If skops is not installed.
    """
    skops = _skops(name)
    try:
        blob = skops.dumps(value)
        unknown = skops.get_untrusted_types(data=blob)
    except Exception as error:  # of an object that is put together in its own way
        raise ValueError(f"{name}={value!r} cannot be saved: {error}") from error
    if unknown:
        raise ValueError(
            f"{name}={value!r} cannot be saved: skops does not trust {unknown}, and so "
            "would not load it. Fit with another classifier, save with "
            "classifiers=False (sample_label is then needed to map rows), or use pickle."
        )
    return np.frombuffer(blob, dtype=np.uint8)


def skops_object(blob):
    """The object, if all it holds is of types that skops trusts by default.

    Raises
    ------
    ModelFileError
        If it is not, or the bytes are no such object.
    ImportError
        If skops is not installed.
    """
    skops = _skops("a classifier of the file")
    blob = blob.tobytes()
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            stored = {part.compress_type for part in archive.infolist()}
        if not stored <= {zipfile.ZIP_STORED}:  # may unpack to any size
            raise ModelFileError("a classifier in it is compressed, as save never does")
        unknown = skops.get_untrusted_types(data=blob)
        if unknown:
            raise ModelFileError(f"skops does not trust its classifier's {unknown}")
        return skops.loads(blob, trusted=[])
    except ModelFileError:
        raise
    except Exception as error:  # whatever a parser says of a file that is none
        raise ModelFileError(f"skops cannot read its classifier: {error}") from error


def _skops(name):
    try:
        import skops.io
    except ImportError:
        raise ImportError(
            f"{name} is a scikit-learn object, which needs skops to be saved and loaded: "
            "pip install skops, or pass classifiers=False, after which sample_label is "
            "needed to map rows."
        ) from None
    return skops.io
