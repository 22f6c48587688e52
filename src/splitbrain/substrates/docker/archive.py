"""Files on their way into a container and out of it, as the engine carries them: tar archives."""

from __future__ import annotations

import io
import os
import tarfile

__all__ = ["pack", "unpack", "unpack_to"]


def pack(name: str, content: bytes) -> bytes:
    """One file, ours by owner.

    >>> unpack(pack("a", b"text"))
    b'text'
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        entry.uid, entry.gid = os.getuid(), os.getgid()
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def unpack(packed: bytes) -> bytes | None:
    """The content of the first entry; None if that is no file."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        first = archive.next()
        file = archive.extractfile(first) if first is not None else None
        return file.read() if file is not None else None


def unpack_to(packed: bytes, directory: str) -> None:
    """Write all of it below a directory; what would lie elsewhere is refused."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(directory, filter="data")
