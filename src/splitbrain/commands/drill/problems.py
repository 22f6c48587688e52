"""What is wrong with a drill's file: all of it at once, each mistake with its line.

>>> print(Problem(line=4, scenario="stale", text="unknown key 'seds'; did you mean seeds?")
...       .words("smoke.toml"))
smoke.toml:4: scenario 'stale': unknown key 'seds'; did you mean seeds?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from splitbrain.errors import RequestError

__all__ = ["MalformedDrill", "Problem", "unknown_key"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake.

    Attributes:
        line: where, counted from 1.
        scenario: whose, empty for the file's own.
        text: what is wrong and how to mend it.
        exit_code: 2 for what is malformed, 4 for what this machine cannot do.
    """

    line: int
    text: str
    scenario: str = ""
    exit_code: int = 2

    def words(self, path: object) -> str:
        """One line, with the file's name."""
        whose = f"scenario {self.scenario!r}: " if self.scenario else ""
        return f"{path}:{self.line}: {whose}{self.text}"


class MalformedDrill(RequestError):
    """A drill's file that cannot be run; nothing was started.

    It exits with 4 only if the file is well-formed throughout and this machine cannot do what it
    asks for: a mistake in the file is mended first.
    """

    def __init__(self, path: object, problems: Sequence[Problem]) -> None:
        unique = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
        self.problems = tuple(unique)
        self.lines = tuple(problem.words(path) for problem in unique)
        self.exit_code = min(problem.exit_code for problem in unique)
        super().__init__("\n".join(self.lines))


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that nobody knows, with the nearest that are known.

    >>> unknown_key("worklod", ["workload", "on"])
    "unknown key 'worklod'; did you mean workload?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return f"unknown key {key!r}; {hint}"
