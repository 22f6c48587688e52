"""Errors that nobody foresaw: what clients raised, by class, with a count and an example.

A client says ``no`` or ``perhaps`` by a code, a short word such as ``no-leader`` or ``timeout``.  Any
other exception makes the operation ``info`` and stands in the history by its class:

    error                              class               harness problem
    timeout: no answer                 - (foreseen)
    ConnectionResetError: by peer      ConnectionResetError  no: the network, unclassified
    KeyError: 'value'                  KeyError              yes: a mistake in the client
    no-client: KeyError: 'port'        KeyError              yes
    no-client: Definite: refused       - (foreseen)

Each unclassified error costs the other checkers an operation of unknown outcome for ever, so it is
worth a look; and one that Python raises for a programmer's mistake says that the *test* is broken,
not the system.

``stats``: {"unhandled": [{"class", "count", "example", "op", "harness"}], "harness_problems": n},
most frequent first; ``op`` is the index of the first completion, ``n`` the operations concerned.
Valid whatever it finds, unless the option ``unhandled`` of ``check`` is ``fail``.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from typing import Any, Final

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import INVALID, VALID, Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

__all__ = ["UnhandledChecker", "error_class", "is_mistake"]

EXAMPLE_MAX: Final = 300
_CODE: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*")
_FORESEEN: Final = frozenset({"Definite", "Undetermined"})
_WORLD: Final = (OSError, EOFError, TimeoutError, MemoryError)
"""Builtin exceptions that tell of the world, not of a mistake."""


class UnhandledChecker:
    """Groups completions by the class of an exception that no client classified."""

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """Look at every completion that is not ok."""
        groups: dict[str, dict[str, Any]] = {}
        for op in history:
            name = _unhandled(op)
            if name is None:
                continue
            group = groups.setdefault(
                name,
                {
                    "class": name,
                    "count": 0,
                    "example": (op.error or "")[:EXAMPLE_MAX],
                    "op": op.index,
                    "harness": is_mistake(name),
                },
            )
            group["count"] += 1
        rows = sorted(groups.values(), key=lambda group: (-group["count"], group["class"]))
        mistakes = sum(group["count"] for group in rows if group["harness"])
        stats = {"unhandled": rows, "harness_problems": mistakes}
        if rows and options.get("unhandled") == "fail":
            found = tuple(_anomaly(group) for group in rows)
            return Result(
                verdict=INVALID, summary=_summary(rows, mistakes), anomalies=found, stats=stats
            )
        return Result(verdict=VALID, summary=_summary(rows, mistakes), stats=stats)


def error_class(error: str) -> str | None:
    """The class of the exception that an error tells of; None if it is a foreseen code.

    >>> error_class("KeyError: 'value'"), error_class("no-leader: by n1")
    ('KeyError', None)
    >>> error_class("no-client: psycopg.OperationalError: refused")
    'psycopg.OperationalError'
    """
    word, _, rest = error.partition(":")
    word = word.strip()
    if word == "no-client":
        return error_class(rest.strip()) if rest.strip() else None
    if not word or _CODE.fullmatch(word) or word in _FORESEEN:
        return None
    return word if _CLASS.fullmatch(word) else "other"


def is_mistake(name: str) -> bool:
    """Whether Python raises this class for a mistake in a program.

    >>> is_mistake("KeyError"), is_mistake("ConnectionResetError"), is_mistake("RpcError")
    (True, False, False)
    """
    kind = getattr(builtins, name, None)
    return (
        isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _WORLD)
    )


def _unhandled(op: Op) -> str | None:
    if op.process == NEMESIS or op.type not in ("fail", "info") or not op.error:
        return None
    return error_class(op.error)


def _summary(rows: list[dict[str, Any]], mistakes: int) -> str:
    if not rows:
        return "every error was foreseen"
    total = sum(row["count"] for row in rows)
    first = (
        f"{total} operations ended in errors that nobody foresaw, most in {rows[0]['class']}"
    )
    return f"{first}; {mistakes} by mistakes in the test itself" if mistakes else first


def _anomaly(group: Mapping[str, Any]) -> Anomaly:
    return Anomaly(
        kind="unhandled-error",
        explanation=f"{group['count']} operations ended in {group['class']}, which the client does "
        f"not handle, first: {group['example']}",
        ops=(group["op"],),
    )
