"""A checker that sees only some functions of the clients: dumps are no business of a set's.

>>> from splitbrain.checkers.unique_ids import UniqueIdsChecker
>>> ops = [Op(process=0, type=kind, f=f, value=7) for f in ("generate", "dump")
...        for kind in ("invoke", "ok")]
>>> Only(UniqueIdsChecker(), "generate").check(History(ops), {}, Budget()).verdict
'valid'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.verdict import Checker, Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op

__all__ = ["Except", "Only"]


class Only:
    """Judges the client events of some functions, and all of the nemesis's.

    Args:
        checker: that judges.
        functions: what it is to see.
    """

    def __init__(self, checker: Checker, *functions: str) -> None:
        self._checker = checker
        self._functions = frozenset(functions)

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """The checker's answer about that view."""
        return self._checker.check(history.filter(self._wanted), options, budget)

    def _wanted(self, op: Op) -> bool:
        return op.process == NEMESIS or op.f in self._functions


class Except:
    """Judges all but the client events of one function.

    Args:
        checker: that judges.
        f: what it is not to see.
    """

    def __init__(self, checker: Checker, f: str) -> None:
        self._checker = checker
        self._f = f

    def check(self, history: History, options: Mapping[str, Any], budget: Budget) -> Result:
        """The checker's answer about that view."""
        return self._checker.check(history.filter(self._wanted), options, budget)

    def _wanted(self, op: Op) -> bool:
        return op.process == NEMESIS or op.f != self._f
