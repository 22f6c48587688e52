"""Where a run's files lie, and which ports its nodes have.

::

    <run>/logs/n1.log      standard output and error of n1, and of the proxies
    <run>/data/n1/         what n1 keeps; removed at the end unless ``keep-data``
    <run>/config/n1/       the program's files
    <run>/events/n1.jsonl  what n1 says of itself
    <sockets>/n1           n1's control socket, in a short private directory

A node's port is chosen by the kernel and *held* for the whole run: a bound socket that does not
listen.  While it is held nobody is given the port by chance, neither as a listening port nor for an
outgoing connection, also while the node is dead.  The node itself can still listen there, for both
sockets have SO_REUSEADDR.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from splitbrain.contracts.journal import Journal
from splitbrain.errors import HostError
from splitbrain.substrates.tools.private import make_private, private_path, remove_private

__all__ = ["HeldPort", "Places"]

HOST = "127.0.0.1"


class HeldPort:
    """A port of the loopback that is kept for one node: ``wanted``, or with 0 one that is free."""

    def __init__(self, wanted: int = 0) -> None:
        try:
            self._socket = _bind(wanted)
        except OSError as error:
            if wanted:
                raise HostError(
                    f"port {wanted} of {HOST} cannot be had: {error.strerror}; look with "
                    f"'ss -tanp sport = :{wanted}' who holds it, or choose another port-base"
                ) from error
            raise HostError(
                f"no port to be had on {HOST}: {error.strerror}; look with 'ss -tan' who holds "
                "them, and wait or end it"
            ) from error
        self.number: int = self._socket.getsockname()[1]

    def check_free(self, node: str) -> None:
        """Raise HostError if some program listens there, or keeps others from doing so."""
        try:
            _bind(self.number).close()
        except OSError as error:
            raise HostError(
                f"node {node}: port {self.number} is taken by another program ({error.strerror}); "
                f"look with 'ss -ltnp sport = :{self.number}' and end it, or start again"
            ) from error

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def _bind(port: int) -> socket.socket:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, port))
    except OSError:
        holder.close()
        raise
    return holder


class Places:
    """The directories of one run; each that lies outside the run directory is journaled."""

    def __init__(
        self, directory: str | None, label: str, journal: Journal, nodes: Sequence[str]
    ) -> None:
        self._label = label
        self._journal = journal
        self._made: list[tuple[int, str]] = []
        self.sockets = self._make("sockets")
        self.run = os.path.abspath(directory) if directory is not None else self._make("run")
        try:
            for kind in ("logs", "events"):
                (Path(self.run) / kind).mkdir(parents=True, exist_ok=True)
            for node in nodes:
                for kind in ("data", "config"):
                    (Path(self.run) / kind / node).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.remove(keep_data=True)
            raise HostError(
                f"cannot make {error.filename}: {error.strerror}; choose another --store"
            ) from error

    def log(self, name: str) -> str:
        """The log of a node, or of the proxies."""
        return str(Path(self.run) / "logs" / f"{name}.log")

    def data(self, node: str) -> str:
        """The node's data directory."""
        return str(Path(self.run) / "data" / node)

    def config(self, node: str) -> str:
        """The node's configuration directory."""
        return str(Path(self.run) / "config" / node)

    def events(self, node: str) -> str:
        """The file to which the node appends what it says of itself."""
        return str(Path(self.run) / "events" / f"{node}.jsonl")

    def control(self, node: str) -> str:
        """The node's control socket."""
        return str(Path(self.sockets) / node)

    def remove(self, *, keep_data: bool) -> None:
        """Remove what was made outside the run directory, and the nodes' data."""
        if not keep_data:
            shutil.rmtree(Path(self.run) / "data", ignore_errors=True)
        while self._made:
            number, path = self._made.pop()
            if not remove_private(path, self._label):
                raise HostError(
                    f"cannot remove {path}: it is not what this run made; look at it"
                )
            self._journal.undone(number)

    def _make(self, purpose: str) -> str:
        path = private_path(purpose, self._label)
        number = self._journal.intent(
            "make-directory", target=path, label=self._label, undo="remove-directory"
        )
        try:
            make_private(path, self._label)
        except HostError:
            self._journal.undone(number)
            self.remove(keep_data=True)
            raise
        self._made.append((number, path))
        self._journal.done(number)
        return path
