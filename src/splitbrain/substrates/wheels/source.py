"""What nodes run: the rooms of this very splitbrain that they need, as a wheel.

A node of minitikv needs ``cluster``, ``env`` and ``errors``, and four of the packages that splitbrain
is installed with; the agent beside it, ``substrates.agent``, needs none.  Nothing else goes in, so it
is small, and what was made of it is *stale* only when what runs there has changed: it is kept under
the digest of all this.

The wheel is packed from the package as it lies on the disk.  So nodes run exactly the code that this
process would run, whether splitbrain was installed from a wheel (which has no source tree to build
from) or is a checkout under work; and no build tool and no network is needed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

import splitbrain
from splitbrain.errors import HostError

__all__ = ["Source", "pins", "read_source", "wheel"]

_PACKAGE = Path(splitbrain.__file__).parent
_ROOMS = (
    "__init__.py",
    "cluster/**/*.py",
    "env/**/*.py",
    "errors.py",
    "substrates/__init__.py",
    "substrates/agent/**/*.py",
)
_NEEDS = frozenset({"grpcio", "msgspec", "protobuf", "sortedcontainers"})
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What nodes run.

    Attributes:
        version: of splitbrain.
        requires: the packages that nodes need, as splitbrain's metadata bounds them.
        files: path below site-packages -> content.
    """

    version: str
    requires: tuple[str, ...]
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all of it."""
        parts = [self.version.encode()]
        parts += [line.encode() for line in self.requires]
        for name, content in sorted(self.files.items()):
            parts += [name.encode(), content]
        whole = hashlib.sha256()
        for part in parts:
            whole.update(b"%d:" % len(part))
            whole.update(part)
        return whole.hexdigest()


def read_source() -> Source:
    """Read what nodes would run now; some 10 ms.

    Raises:
        HostError: splitbrain runs without being installed.
    """
    try:
        ours = importlib.metadata.distribution("splitbrain")
    except importlib.metadata.PackageNotFoundError:
        raise HostError(
            "splitbrain is not installed, so what it needs is unknown: pip install it (or -e .)"
        ) from None
    files = {
        path.relative_to(_PACKAGE.parent).as_posix(): path.read_bytes()
        for pattern in _ROOMS
        for path in sorted(_PACKAGE.glob(pattern))
    }
    return Source(
        version=splitbrain.__version__,
        requires=tuple(line for line in _needed(ours) if _name(line) in _NEEDS),
        files=files,
    )


def wheel(source: Source) -> tuple[str, bytes]:
    """The wheel's file name and content; the same bytes for the same source."""
    about = f"splitbrain-{source.version}.dist-info"
    metadata = [
        "Metadata-Version: 2.1",
        "Name: splitbrain",
        f"Version: {source.version}",
        *(f"Requires-Dist: {line}" for line in source.requires),
    ]
    tag = (
        "Wheel-Version: 1.0\nGenerator: splitbrain\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files = dict(source.files) | {
        f"{about}/METADATA": ("\n".join(metadata) + "\n").encode(),
        f"{about}/WHEEL": tag.encode(),
    }
    record = [f"{name},{_checksum(content)},{len(content)}" for name, content in files.items()]
    record.append(f"{about}/RECORD,,")
    files[f"{about}/RECORD"] = ("\n".join(record) + "\n").encode()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return f"splitbrain-{source.version}-py3-none-any.whl", whole.getvalue()


def _checksum(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def pins(requires: tuple[str, ...]) -> tuple[str, ...]:
    """``name==version`` of all that these requirements have brought into this environment."""
    found: dict[str, str] = {}
    waiting = list(requires)
    while waiting:
        name = _name(waiting.pop())
        if name in found:
            continue
        try:
            one = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # only for another system, or not needed here
        found[name] = one.version
        waiting += _needed(one)
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))


def _needed(one: importlib.metadata.Distribution) -> tuple[str, ...]:
    return tuple(line for line in one.requires or () if not re.search(r"\bextra\s*==", line))


def _name(requirement: str) -> str:
    """The name in it, as indexes spell it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""
