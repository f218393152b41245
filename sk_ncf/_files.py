"""Files that are replaced whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

__all__ = ["write_atomically"]

SUFFIX = ".part"  # of a file that is being written
MAX_NAME = 48  # characters of the name that its temporary file repeats


def write_atomically(
    path: str | os.PathLike[str],
    *parts: bytes | memoryview,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a file so that `path` never holds half of it.

    The new content goes to a temporary file ``<name>.<random>.part`` in the same folder
    and is flushed to the disk before that file is renamed to `path`. If anything fails,
    an older file at `path` is unchanged and the temporary file is removed.

    Parameters
    ----------
    path : str or path-like
    *parts : bytes or memoryview
        The content, in order.
    check : callable, default=None
        Called with the path of the finished temporary file; if it raises, `path` is not
        replaced.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    name = f"{path.name[:MAX_NAME]}.{secrets.token_hex(8)}{SUFFIX}"
    temporary = path.with_name(name)
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    with contextlib.suppress(OSError):  # some systems cannot open a folder
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Write the entry of a renamed file to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
