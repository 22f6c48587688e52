"""The wheels of what nodes need, for the Python of the base, fetched by pip on this machine.

They are fetched here, not in the build, because here pip knows its way (proxies, certificates, an
index of one's own), and kept in the user's cache: a second image needs no network.  Where the base
has the minor version of the Python that runs us, the wheels have the versions that are installed
here; else the newest that fit.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from splitbrain.errors import HostError
from splitbrain.substrates.wheels.source import pins

__all__ = ["Python", "alone", "arguments", "cache_directory", "fetch"]

_OLDEST_GLIBC = 17
_SECONDS = 600


class Python(msgspec.Struct, frozen=True):
    """The Python of a base.

    Attributes:
        minor: 11 for Python 3.11.
        machine: such as ``x86_64``.
        glibc: 36 for glibc 2.36; 0 where the C library is another.
    """

    minor: int
    machine: str
    glibc: int

    @property
    def words(self) -> str:
        """For a progress line."""
        return f"Python 3.{self.minor}, {self.machine}"


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/splitbrain``, by default below ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "splitbrain"


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[Path]:
    """Make the cache, and let what fills it, for this user, follow one another.

    Raises:
        HostError: it cannot be written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "image.lock").open("w")
    except OSError as error:
        raise HostError(
            f"cannot write {cache}: {error.strerror} (XDG_CACHE_HOME says where to)"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache


def arguments(python: Python) -> list[str]:
    """Pip's words for "wheels alone, for that Python"; older platforms than glibc 2.17 are history.

    >>> arguments(Python(11, "x86_64", 17))[-4:]
    ['--platform', 'manylinux_2_17_x86_64', '--platform', 'manylinux2014_x86_64']
    """
    words = ["--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", f"3.{python.minor}"]
    for minor in range(python.glibc, _OLDEST_GLIBC - 1, -1):
        words += ["--platform", f"manylinux_2_{minor}_{python.machine}"]
    return [*words, "--platform", f"manylinux2014_{python.machine}"]


def fetch(python: Python, requires: tuple[str, ...], cache: Path) -> Path:
    """The directory of wheels below ``cache``, filled if it is not there yet.

    Raises:
        HostError: pip is missing, or could not get them; tells pip's own reason.
    """
    exact = pins(requires) if python.minor == sys.version_info.minor else ()
    digest = hashlib.sha256(repr((python, requires, exact)).encode()).hexdigest()[:16]
    kind = f"cp3{python.minor}-{python.machine}-"
    ready = cache / f"{kind}{digest}"
    if ready.is_dir():
        return ready
    partial = cache / f"{kind}partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _download(python, requires, exact, partial)
        for old in cache.glob(f"{kind}*"):
            if old != partial:
                shutil.rmtree(old, ignore_errors=True)
        partial.rename(ready)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ready


def _download(
    python: Python, requires: tuple[str, ...], exact: tuple[str, ...], to: Path
) -> None:
    pinned = to / "constraints.txt"
    pinned.write_text("\n".join(exact))
    words = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    words += ["--dest", str(to), "--constraint", str(pinned), *arguments(python), *requires]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise HostError(
            f"pip could not fetch the wheels that nodes need in {_SECONDS} s"
        ) from None
    pinned.unlink()
    if done.returncode:
        raise HostError(
            f"pip could not fetch the wheels that nodes need for {python.words}: "
            f"{_reason(done.stderr)}"
        )


def _reason(told: str) -> str:
    if "No module named pip" in told:
        return f"pip is missing: {sys.executable} -m ensurepip installs it"
    lines = [" ".join(line.split()) for line in told.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it told no reason"])[0]
