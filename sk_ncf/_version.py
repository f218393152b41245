"""The version of the package, and the warning about models of another version."""

import warnings

from sklearn.exceptions import InconsistentVersionWarning

__all__ = ["InconsistentPackageVersionWarning", "__version__", "check_version"]

__version__ = "0.2.0.dev0"


class InconsistentPackageVersionWarning(InconsistentVersionWarning):
    """A model is opened by another version of sk_ncf than the one that saved it.

    A scikit-learn `InconsistentVersionWarning`, so that one filter covers both packages.

    Parameters
    ----------
    estimator_name : str
    current_version : str
        Version of the installed sk_ncf.
    original_version : str
        Version that saved the model; "unknown" if the model does not say.
    """

    def __init__(
        self, *, estimator_name: str, current_version: str, original_version: str
    ) -> None:
        self.estimator_name = estimator_name
        self.current_version = current_version
        self.original_version = original_version

    def __str__(self) -> str:
        return (
            f"This {self.estimator_name} was saved by sk_ncf {self.original_version} and "
            f"is opened by sk_ncf {self.current_version}. It may fail or give other "
            "results. Install the version that saved it, or fit it again."
        )


def check_version(estimator_name: str, version: str | None, stacklevel: int) -> None:
    """Warn if a model was saved by another version of the package.

    Parameters
    ----------
    estimator_name : str
    version : str or None
        Version that saved the model; None if the model does not say.
    stacklevel : int
        As in :func:`warnings.warn`, counted from the caller.
    """
    if version == __version__:
        return
    warnings.warn(
        InconsistentPackageVersionWarning(
            estimator_name=estimator_name,
            current_version=__version__,
            original_version="unknown" if version is None else version,
        ),
        stacklevel=stacklevel + 1,
    )
