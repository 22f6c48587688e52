"""A test stated in Python's words, run to its verdict: what the pytest plug-in calls.

    one = run_trial({"workload": "register", "nemesis": "partition,kill"}, store=Path("store"), seed=7)
    one.valid, one.sentence, one.history

The words are those of ``splitbrain run``.  A workload, a system and faults may also be the objects
themselves, or what makes them, instead of names:

    run_trial({"workload": my_workload, "system": MyStore}, ...)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from splitbrain import catalog as names
from splitbrain.catalog import Catalog
from splitbrain.checkers.verdict import Anomaly, Result, Verdict
from splitbrain.commands.run import Finished, run_spec
from splitbrain.commands.specify import make_spec
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError, UnknownName
from splitbrain.history.history import History
from splitbrain.loading import NAME
from splitbrain.results.runs import read_run

__all__ = ["DEFAULTS", "TrialResult", "run_trial"]

DEFAULTS: Final[Mapping[str, Any]] = {
    "workload": None,
    "system": "minitikv",
    "on": "sim",
    "nodes": 5,
    "concurrency": "10",
    "rate": 100.0,
    "time_limit": 20.0,
    "nemesis": "none",
    "nemesis_interval": None,
    "faults": None,
    "skip_unsupported": False,
    "seed": None,
    "bugs": (),
    "options": {},
    "load": (),
}
"""What is not said means the same as for ``splitbrain run``, but on ``sim``, for 20 s."""


class TrialResult:
    """A finished run: its verdict, its evidence, and where everything lies.

    Attributes:
        finished: as ``splitbrain run`` tells it.
        looked: somebody asked for the verdict or for the evidence of it.
        command: ``splitbrain run ...`` again; None if objects were given, which have no name there.
    """

    def __init__(self, finished: Finished, *, command: str | None) -> None:
        self.finished = finished
        self.looked = False
        self.command = command
        self._history: History | None = None

    @property
    def verdict(self) -> Verdict:
        """valid, invalid or unknown."""
        return self.result.verdict

    @property
    def valid(self) -> bool:
        """Whether all that was promised held, in a run that was a test at all."""
        return self.verdict == "valid"

    @property
    def invalid(self) -> bool:
        """Whether a promise was broken."""
        return self.verdict == "invalid"

    @property
    def unknown(self) -> bool:
        """Whether nothing can be said; ``reason`` says why."""
        return self.verdict == "unknown"

    @property
    def reason(self) -> str | None:
        """Why the verdict is unknown, in a fixed word such as ``vacuous``."""
        return self.result.reason

    @property
    def result(self) -> Result:
        """The whole result, with those of all checkers."""
        self.looked = True
        return self.finished.result

    @property
    def anomalies(self) -> tuple[Anomaly, ...]:
        """What should not have happened."""
        return tuple(_anomalies(self.result))

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of the anomalies, such as ``stale-read``."""
        return frozenset(anomaly.kind for anomaly in self.anomalies)

    @property
    def history(self) -> History:
        """All that happened, read from disk when it is first asked for."""
        if self._history is None:
            self._history = read_run(self.directory).history
        return self._history

    @property
    def sentence(self) -> str:
        """The verdict in a sentence."""
        return self.finished.sentence

    @property
    def seed(self) -> int:
        """By which the run is repeated."""
        return self.finished.spec.seed

    @property
    def spec(self) -> TestSpec:
        """The test as data."""
        return self.finished.spec

    @property
    def directory(self) -> Path:
        """The run directory."""
        return self.finished.directory

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.finished.report

    def __repr__(self) -> str:
        return f"<{self.sentence} (seed {self.seed}, {self.report})>"


def _anomalies(result: Result) -> Iterable[Anomaly]:
    if not result.checkers:
        return result.anomalies
    return [found for part in result.checkers.values() for found in _anomalies(part)]


def run_trial(
    given: Mapping[str, Any], *, store: Path, seed: int, beside: Path | None = None
) -> TrialResult:
    """Run a test and judge it.

    Args:
        given: words of DEFAULTS; what is left out is as there.
        store: where run directories are made.
        seed: of the run; a ``seed`` in ``given`` is not considered.
        beside: files named in ``load`` and ``faults`` are looked for here first.

    Raises:
        RequestError: the words make no test; nothing was started.
        CannotError: it cannot be done here.
        HarnessError: the harness or a plug-in broke; the history so far is kept and named.
    """
    _outside_of_a_loop()
    words = _words(given)
    load = tuple(str(_found(path, beside)) for path in _listed(words["load"]))
    catalog = names.load(load, names.builtin())
    catalog, own = _with_objects(words, catalog)
    faults = words["faults"]
    spec = make_spec(
        {
            **words,
            "substrate": words["on"],
            "concurrency": str(words["concurrency"]),
            "nemesis": ",".join(_listed(words["nemesis"])) or "none",
            "faults": None if faults is None else str(_found(faults, beside)),
            "bugs": _listed(words["bugs"]),
            "options": [_pair(name, value) for name, value in words["options"].items()],
            "load": load,
            "seed": seed,
        },
        catalog,
    )
    finished = run_spec(spec, catalog, store)
    return TrialResult(finished, command=None if own else finished.again)


def _outside_of_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RequestError(
        "a test runs its own event loop; call it from a plain function, not async"
    )


def _words(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in DEFAULTS:
            raise UnknownName("argument", name, DEFAULTS)
    words = {**DEFAULTS, **given}
    if words["workload"] is None:
        raise RequestError('no workload is named; say workload="register", for instance')
    if not isinstance(words["options"], Mapping):
        raise RequestError(
            f"options={words['options']!r}: a mapping of names to values is needed"
        )
    if not isinstance(words["skip_unsupported"], bool):
        raise RequestError(f"skip_unsupported={words['skip_unsupported']!r}: True or False")
    for name in ("nodes", "rate", "time_limit", "nemesis_interval"):
        value = words[name]
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise RequestError(f"{name}={value!r}: a number is needed")
    if not isinstance(words["nodes"], int):
        raise RequestError(f"nodes={words['nodes']!r}: a whole number is needed")
    return words


def _listed(value: Any) -> tuple[Any, ...]:
    """One or several.

    >>> _listed("a.py"), _listed(["a", "b"]), _listed("")
    (('a.py',), ('a', 'b'), ())
    """
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(value)
    return () if value in (None, "") else (value,)


def _found(path: Any, beside: Path | None) -> Path | str:
    """The file beside the test if there is one, else the word as it stands."""
    near = None if beside is None else beside / str(path)
    return near if near is not None and near.is_file() else str(path)


def _pair(name: str, value: Any) -> str:
    return f"{name}={str(value).lower() if isinstance(value, bool) else value}"


# --- objects instead of names -------------------------------------------------------------------


def _with_objects(words: dict[str, Any], catalog: Catalog) -> tuple[Catalog, bool]:
    """The catalogue with what was given as objects, which ``words`` then has by name."""
    tables: dict[str, dict[str, Any]] = {"workloads": {}, "systems": {}, "families": {}}
    for word, table in (("workload", "workloads"), ("system", "systems")):
        if not isinstance(words[word], str):
            name = _name_of(words[word], word)
            tables[table][name] = _factory(words[word], word)
            words[word] = name
    faults = []
    for fault in _listed(words["nemesis"]):
        if not isinstance(fault, str):
            name = _name_of(fault, "fault")
            if not isinstance(getattr(fault, "faults", None), frozenset):
                raise RequestError(f"nemesis={fault!r}: it has no frozenset ``faults``")
            tables["families"][name] = fault
            fault = name
        faults.append(fault)
    words["nemesis"] = faults
    changes = {table: {**getattr(catalog, table), **own} for table, own in tables.items()}
    changes["nemeses"] = {**catalog.nemeses, **dict.fromkeys(tables["families"], frozenset())}
    return msgspec.structs.replace(catalog, **changes), any(tables.values())


def _name_of(given: Any, word: str) -> str:
    """``own-`` and what Python calls it, so that it never hides one of ours.

    >>> _name_of(_name_of, "workload"), _name_of(lambda spec: None, "workload")
    ('own-name-of', 'own-workload')
    """
    called = getattr(given, "__name__", None) or getattr(given, "name", None) or word
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(called)).strip("-").lower()
    name = f"own-{word if name in ('', 'lambda') else name}"
    assert NAME.fullmatch(name)
    return name


def _factory(given: Any, word: str) -> Callable[..., Any]:
    """A factory is itself; a workload or system that exists already makes itself."""
    ready = hasattr(given, "checkers") if word == "workload" else hasattr(given, "start")
    if ready and not isinstance(given, type):
        return lambda *_spec: given
    if not callable(given):
        raise RequestError(f"{word}={given!r}: a name, an object, or what makes one is needed")
    made: Callable[..., Any] = given
    return made
