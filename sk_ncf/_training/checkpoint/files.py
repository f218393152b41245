"""Checkpoint files: a checksum and the tensors of :func:`torch.save`."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from sk_ncf._files import write_atomically

__all__ = ["read_checkpoint", "write_checkpoint"]

CHECKSUM_BYTES = 32


def write_checkpoint(path: Path, state: Any) -> None:
    """Replace the file at `path` by one with this state, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    write_atomically(path, _checksum(payload), payload)


def read_checkpoint(path: Path, fingerprint: str) -> dict[str, Any]:
    """The state in a file; no code in the file is run.

    Raises
    ------
    ValueError
        If the file is damaged or belongs to another fit.
    FileNotFoundError
        If there is no such file.
    """
    content = path.read_bytes()
    checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    if _checksum(payload) != checksum:
        raise ValueError("its checksum is wrong, the file is damaged.")
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    if state["fingerprint"] != fingerprint:
        raise ValueError("it belongs to another fit.")
    return state


def _checksum(payload: bytes | memoryview) -> bytes:
    return hashlib.blake2b(payload, digest_size=CHECKSUM_BYTES).digest()
