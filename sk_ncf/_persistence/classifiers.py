"""scikit-learn classifiers as bytes, by skops and its list of trusted types."""

import io
import zipfile
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["ModelFileError", "skops_bytes", "skops_object"]


WITHOUT_CLASSIFIERS = (
    "Fit with another classifier, save with classifiers=False (sample_label is then "
    "needed to map rows), or use pickle."
)


class ModelFileError(ValueError):
    """The file is damaged, of a newer version, or not written by :func:`sk_ncf.save`."""


def skops_bytes(
    name: str, value: Any, own: Sequence[str] = (), way_out: str = WITHOUT_CLASSIFIERS
) -> np.ndarray:
    """A scikit-learn object as an array of bytes that skops can load.

    Parameters
    ----------
    name : str
        In messages.
    value : object
    own : sequence of str, default=()
        Types of this package that are trusted too.
    way_out : str
        What to do if it cannot be saved.

    Raises
    ------
    ValueError
        If skops cannot save it, or would not load it because it has types that skops
        does not trust. The message has the name and the types.
    ImportError
        If skops is not installed.
    """
    skops = _skops(name)
    try:
        blob = skops.dumps(value)
        unknown = set(skops.get_untrusted_types(data=blob)) - set(own)
    except Exception as error:  # code of the object's own may raise anything
        raise ValueError(f"{name}={value!r} cannot be saved: {error}") from error
    if unknown:
        raise ValueError(
            f"{name}={value!r} cannot be saved: skops does not trust {sorted(unknown)} "
            f"and would not load it. {way_out}"
        )
    return np.frombuffer(blob, dtype=np.uint8)


def skops_object(blob: np.ndarray, own: Sequence[str] = ()) -> Any:
    """The object of :func:`skops_bytes`, if skops trusts its types, `own` aside.

    Raises
    ------
    ModelFileError
        If skops does not trust a type, or the bytes are damaged.
    ImportError
        If skops is not installed.
    """
    skops = _skops("a classifier of the file")
    data = blob.tobytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            stored = {part.compress_type for part in archive.infolist()}
        if not stored <= {zipfile.ZIP_STORED}:  # may unpack to any size
            raise ModelFileError(
                "a classifier in it is compressed, which save never writes"
            )
        unknown = sorted(set(skops.get_untrusted_types(data=data)) - set(own))
        if unknown:
            raise ModelFileError(
                f"skops does not trust the types {unknown} of its classifier"
            )
        return skops.loads(data, trusted=list(own))
    except ModelFileError:
        raise
    except Exception as error:  # a parser of damaged data may raise anything
        raise ModelFileError(f"skops cannot read its classifier: {error}") from error


def _skops(name: str) -> ModuleType:
    try:
        import skops.io
    except ImportError:
        raise ImportError(
            f"{name} is a scikit-learn object: saving and loading it needs skops. Run "
            "pip install skops, or pass classifiers=False; sample_label is then needed "
            "to map rows."
        ) from None
    return skops.io
