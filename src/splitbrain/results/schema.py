"""Published JSON schemas of what splitbrain writes for other programs, made from its own types.

    result.schema.json    a run's result.json
    verdict.schema.json   what ``run --json`` and ``check --json`` print
    drill.schema.json     a drill's drill.json, and what ``drill --json`` prints

They ship with the package (``results/schemas``) and are kept as files, so that other programs can read
them without this one; a test makes them again and compares (``pytest --rewrite`` writes them).
Fields may be added: a reader passes over those that it does not know.

    >>> load("result")["$id"]
    'urn:splitbrain:schema:result'
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

import msgspec

from splitbrain.checkers.verdict import Anomaly, Result, Verdict
from splitbrain.results.drill.record import DrillRecord, RunRecord, ScenarioRecord

__all__ = [
    "SCHEMAS",
    "DrillOutput",
    "SeveralOutput",
    "VerdictOutput",
    "load",
    "schema",
    "text_of",
]

Word = Verdict | Literal["error"]


class VerdictOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run --json`` or ``check --json`` says of one run or file.

    Attributes:
        verdict: the verdict, or ``error`` where there is none.
        summary: the verdict or the error in one sentence.
        reason: for unknown, a fixed word.
        run: the run directory; null for a history file.
        seed: of the run; null for a history file.
        ops: how many client operations were invoked.
        seconds: length of the run on its substrate's clock, or wall time that checking took.
        anomalies: of all checkers, in one list.
        checkers: each checker's answer, by name.
        faults: for each kind of fault, how often it was applied, shown effective, masked.
        path: for ``check``: the path that was checked.
        problems: for an error in a drill's file: each mistake with its line.
    """

    verdict: Word
    summary: str
    reason: str | None
    run: str | None
    seed: int | None
    ops: int
    seconds: float | None
    anomalies: tuple[Anomaly, ...]
    checkers: Mapping[str, Result]
    faults: Mapping[str, Any]
    path: str | msgspec.UnsetType = msgspec.UNSET
    problems: tuple[Mapping[str, Any], ...] | msgspec.UnsetType = msgspec.UNSET


class SeveralOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` says of several runs or files.

    Attributes:
        verdict: the worst: invalid, error, unknown, valid.
        results: one for each, in order.
    """

    verdict: Word
    results: tuple[VerdictOutput, ...]


class DrillOutput(DrillRecord, frozen=True, kw_only=True):
    """A drill: ``drill.json``, and, with three fields more, what ``drill --json`` prints.

    Attributes:
        name: of the drill.
        file: the TOML file that describes it.
        directory: where its outputs lie.
        started: UTC, ISO 8601.
        command: the command line that runs it again.
        shard: such as ``2/4``; empty if it is whole.
        unknown_fails: whether undecided scenarios make the drill fail.
        finished: false while it goes on, and for ever if it was killed.
        exit: the exit code.
        verdicts: how many runs gave which verdict.
        counts: how many scenarios have which status.
    """

    exit: int | msgspec.UnsetType = msgspec.UNSET
    verdicts: Mapping[str, int] | msgspec.UnsetType = msgspec.UNSET
    # The base has a method of this name; as a field it exists in the schema alone.
    counts: Mapping[str, int] | msgspec.UnsetType = msgspec.UNSET  # type: ignore[assignment]


_VERSIONS = (
    "A file has no version of its own: `format` in spec.json, beside it, tells the version of the "
    "run directory, and this schema is that of format 1."
)
SCHEMAS: Mapping[str, tuple[str, str, tuple[type, ...]]] = {
    "result": ("A run's result.json", _VERSIONS, (Result,)),
    "verdict": (
        "What splitbrain run --json and splitbrain check --json print",
        "One object on stdout; over several runs or files, one that holds the others.",
        (VerdictOutput, SeveralOutput),
    ),
    "drill": (
        "A drill's drill.json, and what splitbrain drill --json prints",
        "Fields that are left out have their default.",
        (DrillOutput,),
    ),
}
_KNOWN: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        Result, Anomaly, VerdictOutput, SeveralOutput, DrillOutput, ScenarioRecord, RunRecord,
    )
}  # fmt: skip


def schema(name: str) -> dict[str, Any]:
    """The schema of that name (see ``SCHEMAS``), made anew from the types."""
    title, description, kinds = SCHEMAS[name]
    refs, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for kind, definition in definitions.items():
        _describe(definition, _KNOWN[kind])
    top = refs[0] if len(refs) == 1 else {"anyOf": list(refs)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:splitbrain:schema:{name}",
        "title": title,
        "description": description,
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


def text_of(name: str) -> str:
    """The file of a schema."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def load(name: str) -> dict[str, Any]:
    """The schema that was shipped."""
    place = resources.files(__package__).joinpath("schemas", f"{name}.schema.json")
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def _describe(definition: dict[str, Any], kind: type) -> None:
    """Put what the docstring says of each attribute beside its property."""
    text = inspect.getdoc(kind) or ""
    summary, _, rest = text.partition("\nAttributes:\n")
    definition["description"] = _words(summary)
    said = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", rest, flags=re.MULTILINE))
    for name, inner in definition.get("properties", {}).items():
        if name in said:
            inner["description"] = _words(said[name])


def _words(text: str) -> str:
    """A docstring's words as JSON's readers know them."""
    return " ".join(text.split()).replace("``", "`").replace("None", "null")
