"""``--archive FILE``: what was not as expected, in one file to be carried away.

It holds the drill's own pages and, for each run that was not as expected, its report, history,
spec, faults, events, journal, result and logs, at the same paths below one directory, so that the
links of the index page work in it as they did in the store.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from splitbrain.errors import HostError, RequestError

__all__ = ["check_archive", "write_archive"]

_TAR, _ZIP = (".tar.gz", ".tgz"), (".zip",)


def check_archive(path: Path) -> None:
    """Refuse, before anything starts, a file that could not be written at the end.

    Raises:
        RequestError: the suffix says no format, or its directory is not there.
    """
    if not path.name.endswith(_TAR + _ZIP):
        raise RequestError(f"--archive {path}: the name must end in .tar.gz, .tgz or .zip")
    if not path.parent.is_dir():
        raise RequestError(f"--archive {path}: {path.parent} is no directory; make it first")


def write_archive(path: Path, directory: Path, runs: Iterable[Path]) -> int:
    """Write the archive of a drill and some of its runs; returns the number of files in it.

    Raises:
        HostError: it cannot be written; what was there before is left.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        files = list(_files(directory, runs))
        add_all = _write_tar if path.name.endswith(_TAR) else _write_zip
        add_all(fresh, [(file, _name(directory, file)) for file in files])
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise HostError(f"cannot write the archive {path}: {error.strerror}") from error
    return len(files)


def _files(directory: Path, runs: Iterable[Path]) -> Iterator[Path]:
    for where in (directory, *runs):
        for parent in (where, where / "logs"):
            if parent.is_dir():
                yield from (one for one in sorted(parent.iterdir()) if _is_plain(one))


def _is_plain(path: Path) -> bool:
    """A file of its own: no link, and none that is just being written."""
    return path.is_file() and not path.is_symlink() and not path.name.startswith(".")


def _name(directory: Path, file: Path) -> str:
    return str(Path(f"{directory.parent.name}-{directory.name}") / file.relative_to(directory))


def _write_tar(path: Path, files: list[tuple[Path, str]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        _each(files, lambda file, name: archive.add(file, name, recursive=False))


def _write_zip(path: Path, files: list[tuple[Path, str]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        _each(files, archive.write)


def _each(files: list[tuple[Path, str]], add: Callable[[Path, str], None]) -> None:
    """Add each; one that another drill's pruning has just taken is passed over."""
    for file, name in files:
        with contextlib.suppress(FileNotFoundError):
            add(file, name)
