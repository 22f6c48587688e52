"""Clients that other people wrote, in environments and processes of their own, against our nodes.

Each is installed from PyPI into a virtual environment in pytest's cache, once; where that cannot be
done, its tests are skipped with pip's reason.  A script beside this file runs there and takes commands
on stdin, one JSON object a line, and answers each on stdout:

    {"id": 1, "verb": "put", "arguments": ["6b", "76"]}       bytes are in hex
    {"id": 1, "result": null}
    {"id": 2, "error": "...", "unknown": true}                 may have been done all the same
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rpc.processes import Cluster

HERE = Path(__file__).parent
INSTALL_S = 240
missing: dict[str, str] = {}  # why a client could not be installed; asked once a process

# Name -> (what pip installs, the script that speaks for it and its first arguments).
CLIENTS = {
    "rust": ("tikv-client==0.0.4", ("rust_client.py", "raw")),
    "rust-txn": ("tikv-client==0.0.4", ("rust_client.py", "txn")),
    "python": ("tikv-python==0.1.1", ("python_client.py",)),
}


class ForeignError(Exception):
    """The foreign client reported an error; ``unknown``: the operation may have been done."""

    def __init__(self, text: str, *, unknown: bool) -> None:
        super().__init__(text)
        self.unknown = unknown


def plain(value: Any) -> Any:
    """Bytes of a command, in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


class Foreign:
    """A running script."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def __call__(self, verb: str, *arguments: Any, within_s: float = 30.0) -> Any:
        """Run one command; ForeignError if it failed."""
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        line = json.dumps({"id": number, "verb": verb, "arguments": plain(arguments)})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        return await asyncio.wait_for(future, within_s)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            future = self._waiting.pop(told["id"])
            if "error" in told:
                future.set_exception(ForeignError(told["error"], unknown=told["unknown"]))
            else:
                future.set_result(told["result"])
        for future in self._waiting.values():
            future.set_exception(AssertionError("the foreign client's process has ended"))

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader


def installed(cache: Path, name: str) -> Path:
    """The python of the client's environment; skips where it cannot be made."""
    requirement, _ = CLIENTS[name]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = cache / f"{requirement.replace('==', '-')}-py{version}"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several workers makes it
        if not (place / ".installed").exists() and requirement not in missing:
            missing[requirement] = install(requirement, place)
    if reason := missing.get(requirement):
        pytest.skip(f"{requirement} cannot be installed here: {reason}")
    return place / "bin" / "python"


def install(requirement: str, place: Path) -> str:
    """Make an environment; why it could not be made, or empty."""
    shutil.rmtree(place, ignore_errors=True)
    python = str(place / "bin" / "python")
    options = ["-q", "--only-binary=:all:", "--retries", "1", "--timeout", "10"]
    pip = [python, "-m", "pip", "install", *options, requirement]
    for command in ([sys.executable, "-m", "venv", str(place)], pip):
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"not within {INSTALL_S} s"
        if ran.returncode:
            return " ".join((ran.stderr or ran.stdout).strip().splitlines()[-1:])
    (place / ".installed").touch()
    return ""


Opened = Callable[..., contextlib.AbstractAsyncContextManager[Foreign]]


@pytest.fixture
def foreign(request: pytest.FixtureRequest) -> Opened:
    """``async with foreign("rust", addresses) as call``: a client that has connected."""
    cache = request.config.cache
    assert cache is not None
    place = cache.mkdir("interop")

    @contextlib.asynccontextmanager
    async def opened(name: str, addresses: list[str]) -> AsyncIterator[Foreign]:
        python = await asyncio.to_thread(installed, place, name)
        script, *first = CLIENTS[name][1]
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(HERE / script),
            *first,
            *addresses,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        client = Foreign(process)
        try:
            yield client
        finally:
            await client.close()

    return opened


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()
