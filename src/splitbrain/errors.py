"""Every exception that splitbrain raises on purpose, and whose fault each one is.

    SplitbrainError
    ├── RequestError        (exit 2)  the request is malformed: the caller mends it
    │   ├── UnknownName               no workload, fault, system, bug ... of that name
    │   ├── MalformedFile             file, line, what is wrong
    │   ├── PluginError               a mistake in a file given by --load: file and line
    │   └── NewerStore                a run directory written by a newer version
    ├── CannotError         (exit 4)  well-formed, but this machine or substrate cannot do it
    │   ├── Unsupported               a fault or ability that the substrate lacks, and what would help
    │   ├── NodeFailed                a node did not come up: the end of its log
    │   └── HostError                 a port taken, a full disk, no permission
    └── HarnessError        (exit 4)  the harness or a plug-in broke its contract

    Definite                          raised by a client: the operation certainly did not happen
    Undetermined                      raised by a client: it may have happened, now or later

Each message is one line: what is wrong, where, and how to mend it.  The command line prints it as
it is and exits with ``exit_code``; nothing else in the tree knows exit codes of errors.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "CannotError",
    "Definite",
    "HarnessError",
    "HostError",
    "MalformedFile",
    "NewerStore",
    "NodeFailed",
    "PluginError",
    "RequestError",
    "SplitbrainError",
    "Undetermined",
    "UnknownName",
    "Unsupported",
    "whose",
]

_OURS = str(Path(__file__).parent)


class SplitbrainError(Exception):
    """Base of all errors that are told to the user as one line."""

    exit_code = 4


class RequestError(SplitbrainError):
    """The request is malformed; nothing was started."""

    exit_code = 2


class UnknownName(RequestError):
    """A name that the catalogue does not hold, with the nearest ones that it does."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.kind = kind
        self.name = name
        self.near = tuple(near)


class MalformedFile(RequestError):
    """A file that cannot be read as what it should be."""

    def __init__(self, path: object, line: int | None, problem: str) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {problem}")
        self.path = str(path)
        self.line = line
        self.problem = problem


class PluginError(RequestError):
    """A plug-in file given by ``--load`` does not load; names its file and line."""

    def __init__(self, path: object, line: int | None, problem: str) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {problem}")
        self.path = str(path)
        self.line = line


class NewerStore(RequestError):
    """A run directory whose format is newer than this program."""


class CannotError(SplitbrainError):
    """The request is well-formed, but cannot be done here."""


class Unsupported(CannotError):
    """An ability that the substrate lacks, and what would make it possible."""


class NodeFailed(CannotError):
    """A node did not come up, or ended before it was ready; carries the end of its log."""

    def __init__(self, node: str, problem: str, log_tail: Sequence[str] = ()) -> None:
        tail = "".join(f"\n    {line}" for line in log_tail)
        super().__init__(f"node {node}: {problem}{tail}")
        self.node = node
        self.log_tail = tuple(log_tail)


class HostError(CannotError):
    """The machine refuses: a port is taken, a disk is full, a permission is missing."""


class HarnessError(SplitbrainError):
    """The harness or a plug-in broke its contract; the history so far is kept."""


class Definite(Exception):
    """Raised by a client: the operation certainly did not and will not happen (-> ``fail``).

    ``code`` is a short fixed word such as ``cas-mismatch`` or ``no-leader``; a workload lists the
    codes that count as answers.  ``observed`` is what the refusal told about the state, if it did.
    """

    def __init__(self, code: str, detail: str = "", *, observed: object = None) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.observed = observed


class Undetermined(Exception):
    """Raised by a client: the operation may have happened, or may happen yet (-> ``info``)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


def whose(thing: object) -> str:
    """The name of an object's class (or of a function) and, unless it is ours, its file and line.

    >>> from splitbrain.history.op import Op
    >>> whose(Op(process=0, type="invoke", f="read"))
    'Op'
    """
    import inspect

    if inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismethod(thing):
        named: Any = thing
    else:
        named = type(thing)
    name = getattr(named, "__qualname__", repr(named))
    module = sys.modules.get(getattr(named, "__module__", ""))
    file = getattr(module, "__file__", None)
    if file is None or file.startswith(_OURS):
        return name
    try:
        return f"{name} ({file}:{inspect.getsourcelines(named)[1]})"
    except (OSError, TypeError):  # its source cannot be read
        return f"{name} ({file})"
