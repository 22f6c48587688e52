"""The agent as one file, ``python3 -I agent.pyz``, for machines without splitbrain.

The same sources give the same bytes, so that a copy that is already there can be told by its digest.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

__all__ = ["bundle"]

_AGENT = Path(__file__).parent.parent / "agent"
_PACKAGE = "splitbrain_agent"
_START = f"from {_PACKAGE}.main import main\n\nmain()\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""


def bundle() -> bytes:
    """A zip application that holds the agent and nothing else."""
    files = {"__main__.py": _START.encode()}
    for path in sorted(_AGENT.glob("*.py")):
        if path.name != "__main__.py":
            files[f"{_PACKAGE}/{path.name}"] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # Unix, whatever made it
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED  # zlib's versions differ in their bytes
            archive.writestr(entry, data)
    return buffer.getvalue()
