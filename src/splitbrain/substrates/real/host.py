"""What differs from substrate to substrate about one node: the place where it lives.

A *host* is a process's place on this machine, a container, or a machine behind SSH.  It launches the
node's program again and again; each launch gives a *body*, which ends once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from splitbrain.contracts.testbed import ExecResult, Program
from splitbrain.errors import HostError

__all__ = ["Body", "Host", "Paths", "Seen", "write_files"]


class Seen(msgspec.Struct, frozen=True):
    """A living process as the kernel shows it.

    Attributes:
        started: identifies the incarnation.
        stopped: it is stopped or frozen.
        throttled_ns: how long it was held back because its processor time was used up.
    """

    started: str
    stopped: bool
    throttled_ns: int | None = None


class Body(Protocol):
    """One incarnation of a node's program."""

    @property
    def mark(self) -> Mapping[str, Any]:
        """What identifies it, for the journal."""

    @property
    def returncode(self) -> int | None:
        """None while it runs, as far as we were told; negative: ended by that signal."""

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on the event loop once it has ended."""

    @property
    def ended_by(self) -> str:
        """Once it has ended, why, if the kernel or the engine tells; else empty."""

    async def look(self) -> Seen | None:
        """As the kernel shows it now; None once it has ended."""

    async def stop(self, timeout_s: float) -> None:
        """Ask it to end; kill it when that takes longer."""

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""

    async def freeze(self) -> None:
        """Let it do nothing until ``thaw``."""

    async def thaw(self) -> None:
        """Let it go on."""


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node is, and where its files are.

    Attributes:
        address: the advertised host:port.
        data_dir: as the program sees it, like ``config_dir``, ``control_path``, ``events_path``.
        python: the interpreter there that has splitbrain.
        log: file of this machine that has what the node prints.
        events: file of this machine that has what the node says of itself.
        control_file: the control socket on this machine.
    """

    address: str
    data_dir: str
    config_dir: str
    control_path: str
    events_path: str
    python: str
    log: str
    events: str
    control_file: str


class Host(Protocol):
    """Where one node lives."""

    @property
    def paths(self) -> Paths:
        """Fixed for the run."""

    async def launch(self, program: Program, environment: Mapping[str, str]) -> Body:
        """Write the program's files and run it.

        Raises:
            HostError: it cannot be run here.
        """

    async def throttle(self, cores: float | None) -> None:
        """Limit the node's processor time; Unsupported where that cannot be done."""

    async def starve(self) -> None:
        """Take its memory until the kernel kills it; Unsupported where that cannot be done."""

    async def exec(self, argv: Sequence[str], *, timeout_s: float) -> ExecResult:
        """Run a command beside the program."""

    async def put(self, path: str, content: bytes) -> None:
        """Write a file as the program sees it."""

    async def get(self, path: str) -> bytes:
        """Read a file as the program sees it; FileNotFoundError if there is none."""


def write_files(node: str, directory: str, files: Mapping[str, bytes]) -> None:
    """Write a program's files below a directory of this machine.

    Raises:
        HostError: it cannot be done; the message names the node and the file.
    """
    try:
        for name, content in files.items():
            path = Path(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise HostError(
            f"node {node}: cannot write {error.filename}: {error.strerror}; "
            "free space, or choose another --store"
        ) from error
