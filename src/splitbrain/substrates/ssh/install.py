"""splitbrain and what its nodes need, carried to hosts that have no internet.

The same wheels that go into a container's image are unpacked here into one archive for each kind of
Python, and unpacked there in the user's cache under its digest: a host that has it is sent nothing.  A
small script beside it stands for the interpreter "that has splitbrain": no pip and no venv is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import shlex
import tarfile
import zipfile

from splitbrain.errors import HostError
from splitbrain.substrates.ssh.access import Access, Facts
from splitbrain.substrates.wheels.house import Python, alone, cache_directory, fetch
from splitbrain.substrates.wheels.source import Source, pins, read_source, wheel

__all__ = ["Installer", "pack"]

_OLDEST = 11
_SECONDS = 120.0


class Installer:
    """Packs once for each kind of Python, sends to as many hosts as need it, all at the same time."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._packed: dict[Python, bytes] = {}
        self._packing = asyncio.Lock()
        self.sent_bytes = 0

    async def python(self, facts: Facts) -> str:
        """The path there of the interpreter that will have splitbrain."""
        if self._source is None:
            self._source = await asyncio.to_thread(read_source)
        kind = _kind(facts)
        requires = self._source.requires
        about = repr((self._source.digest, kind, requires, pins(requires), facts.python))
        digest = hashlib.sha256(about.encode()).hexdigest()[:16]
        return f"{facts.cache}/splitbrain/{digest}/python"

    async def install(self, access: Access) -> None:
        """Let that interpreter be there.

        Raises:
            HostError: its Python is too old, there is no room, or the wheels cannot be had here.
        """
        python = await self.python(access.facts)
        home = python.rpartition("/")[0]
        folder, archive = shlex.quote(home.rpartition("/")[0]), f"{home}.tar.gz"
        there = await access.shells.run(
            f"mkdir -p -m 700 {folder} && [ -x {shlex.quote(python)} ] && echo there"
        )
        if there.out == b"there\n":
            return
        packed = await self._pack(access)
        await access.connection.put(archive, packed)
        self.sent_bytes += len(packed)
        said = await access.shells.run(
            _unpack(access.facts.python, archive, home), timeout_s=_SECONDS
        )
        if said.code:
            why = said.err.decode(errors="replace").strip().split("\n")[-1]
            raise HostError(f"host {access.place}: splitbrain cannot be unpacked there: {why}")

    async def _pack(self, access: Access) -> bytes:
        kind, (major, minor) = _kind(access.facts), access.facts.version
        if kind.minor < _OLDEST:
            raise HostError(
                f"host {access.place}: {access.facts.python} is Python {major}.{minor}, and nodes "
                f"need 3.{_OLDEST} or newer (another one: python=FILE in the hosts file)"
            )
        async with self._packing:
            if kind not in self._packed:
                assert self._source is not None
                self._packed[kind] = await asyncio.to_thread(_packed, self._source, kind)
            return self._packed[kind]


def _kind(facts: Facts) -> Python:
    return Python(facts.version[1], facts.machine, facts.glibc)


def _packed(source: Source, kind: Python) -> bytes:
    with alone(cache_directory()) as cache:
        house = fetch(kind, source.requires, cache / "wheels")
        wheels = [path.read_bytes() for path in sorted(house.glob("*.whl"))]
    return pack([*wheels, wheel(source)[1]])


def pack(wheels: list[bytes]) -> bytes:
    """A compressed tar archive of what pip would install of these wheels into one directory.

    A wheel's files for other places than the packages' (scripts, headers) are left out.
    """
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=6) as archive:
        for content in wheels:
            with zipfile.ZipFile(io.BytesIO(content)) as one:
                for entry in one.infolist():
                    name = _place_of(entry.filename)
                    if name and not entry.is_dir():
                        data = one.read(entry)
                        info = tarfile.TarInfo(f"site/{name}")
                        info.size, info.mode = len(data), 0o644
                        archive.addfile(info, io.BytesIO(data))
    return whole.getvalue()


def _place_of(name: str) -> str:
    """Where a wheel's file belongs below the packages' directory; empty: nowhere.

    >>> [_place_of(f"x-1.data/{name}") for name in ("purelib/x.py", "scripts/x")]
    ['x.py', '']
    """
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, rest = rest.partition("/")
    return rest if kind in ("purelib", "platlib") else ""


def _unpack(python: str, archive: str, home: str) -> str:
    """Unpack aside and rename: another run may do the same, and one killed in the middle harms none."""
    python, archive, there = shlex.quote(python), shlex.quote(archive), shlex.quote(home)
    script = (
        "#!/bin/sh\n"
        f"PYTHONPATH={there}/site${{PYTHONPATH:+:$PYTHONPATH}}\n"
        f'export PYTHONPATH\nexec {python} "$@"\n'
    )
    unpack = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])"
    return (
        f'set -e; aside={there}.$$; mkdir -p "$aside"\n'
        f'{python} -c {shlex.quote(unpack)} {archive} "$aside"\n'
        f'printf %s {shlex.quote(script)} >"$aside/python"; chmod 755 "$aside/python"\n'
        f"rm -f {archive}\n"
        f'mv -T "$aside" {there} 2>/dev/null || rm -rf "$aside"\n'
        f"[ -x {there}/python ]"
    )
