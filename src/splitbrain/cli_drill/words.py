"""What a drill came to, in words, as a table and as an object."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.commands.drill.durations import duration_words, size_words
from splitbrain.commands.drill.plan import Plan, Turn, estimate_s
from splitbrain.commands.drill.verdicts import ANOTHER_SHARD
from splitbrain.commands.drill.whole import Ended
from splitbrain.results.drill.record import ScenarioRecord
from splitbrain.results.prune import Pruned

__all__ = [
    "drill_row",
    "plain_table",
    "plan_rows",
    "plan_words",
    "print_table",
    "pruned_words",
    "seed_words",
    "summary",
]


def pruned_words(pruned: Pruned, *, dry_run: bool = False) -> str:
    """How much was removed, or would be."""
    verb = "would be freed" if dry_run else "freed"
    return f"{len(pruned.removed)} removed, {size_words(pruned.size_bytes)} {verb}"


def plan_words(plan: Plan) -> str:
    """What is about to run, in one line."""
    part = f" (shard {plan.shard})" if plan.shard else ""
    return (
        f"drill {plan.drill.name}{part}: {len(plan.members)} scenarios, {len(plan.turns)} runs, "
        f"about {duration_words(plan.seconds)}"
    )


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """The scenarios of a plan as objects."""
    rows: list[dict[str, Any]] = []
    own: dict[int, list[Turn]] = {place: [] for place in sorted(plan.members)}
    for turn in plan.turns:
        own[turn.scenario].append(turn)
    for place, turns in own.items():
        scenario = plan.drill.scenarios[place]
        rows.append(
            {
                "line": scenario.line,
                "name": scenario.name,
                "workload": scenario.spec.workload,
                "on": scenario.spec.substrate,
                "nemesis": list(scenario.faults),
                "bugs": list(scenario.spec.bugs),
                "expect": scenario.expect,
                "seeds": [turn.seed for turn in turns if not turn.repeated],
                "repeated": [turn.seed for turn in turns if turn.repeated],
                "seconds": round(estimate_s(scenario.spec) * len(turns), 1),
            }
        )
    return rows


def seed_words(seeds: list[int]) -> str:
    """Seeds in words, a row of successive ones by its ends.

    >>> seed_words([1, 2, 3, 7, 9, 10]), seed_words([])
    ('1..3, 7, 9, 10', 'none')
    """
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and parts[-1][-1] + 1 == seed:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    words = [
        f"{part[0]}..{part[-1]}" if len(part) > 2 else ", ".join(map(str, part))
        for part in parts
    ]
    return ", ".join(words) or "none"


_COLUMNS = ("status", "scenario", "expect", "runs", "lost", "recovery", "outage", "available")


def _table_rows(ended: Ended) -> list[tuple[str, ...]]:
    return [
        (
            scenario.status,
            scenario.name,
            scenario.expect,
            _runs_words(scenario),
            _figure(scenario, "lost", ""),
            _figure(scenario, "recovery_s", " s"),
            _figure(scenario, "outage_s", " s"),
            _figure(scenario, "availability", ""),
        )
        for scenario in ended.record.scenarios
    ]


def _runs_words(scenario: ScenarioRecord) -> str:
    counts = Counter(run.verdict for run in scenario.runs)
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    return (words or "none") + (f" ({scenario.why})" if scenario.why else "")


def _figure(scenario: ScenarioRecord, name: str, unit: str) -> str:
    """The worst of a scenario's runs."""
    values = [run.figures[name] for run in scenario.runs if name in run.figures]
    if not values:
        return "-"
    if name == "availability":
        return f"{min(values):.0%}"
    return f"{max(values):g}{unit}"


def plain_table(ended: Ended) -> str:
    """The scenarios in aligned columns, for logs."""
    rows = [_COLUMNS, *_table_rows(ended)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n" + "\n".join(lines)


_STYLES = {"passed": "green", "failed": "bold red", "error": "red", "unknown": "yellow"}


def print_table(ended: Ended) -> None:
    """Draw the same table on a terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name in _COLUMNS:  # a name is never cut; the others are short
        long = name in ("scenario", "runs")
        table.add_column(
            name, overflow="fold", no_wrap=not long, min_width=11 if long else None
        )
    for status, *words in _table_rows(ended):
        table.add_row(Text(status, style=_STYLES.get(status, "")), *map(Text, words))
    Console().print(table)


def summary(ended: Ended) -> str:
    """The last lines: counts, where the pages lie, and how to run it again."""
    record = ended.record
    counts = ", ".join(
        f"{number} {status}" for status, number in record.counts().items() if number
    )
    lines = [
        f"drill {record.name}: {counts} in {duration_words(record.seconds)}",
        f"index    {Path(record.directory) / 'index.html'}",
    ]
    if ended.archived is not None:
        lines.append(f"archive  {ended.archived} files")
    if ended.pruned is not None:
        lines.append(f"pruned   {pruned_words(ended.pruned)}")
    open_ = sum(record.counts()[status] for status in ("unknown", "skipped")) - sum(
        scenario.why == ANOTHER_SHARD for scenario in record.scenarios
    )
    if open_ and not ended.exit_code:
        lines.append(f"warning  {open_} left undecided, which --unknown warn lets pass")
    if ended.exit_code:
        lines.append(f"again    {record.command}")
    return "\n".join(lines)


def drill_row(ended: Ended) -> dict[str, Any]:
    """The JSON object of a drill: every field of its record, and what it came to."""
    record = ended.record
    verdicts = Counter(run.verdict for one in record.scenarios for run in one.runs)
    scenarios = [
        {
            **msgspec.structs.asdict(one),
            "runs": [msgspec.structs.asdict(run) for run in one.runs],
        }
        for one in record.scenarios
    ]
    return {
        **msgspec.structs.asdict(record),
        "exit": ended.exit_code,
        "verdicts": {word: verdicts[word] for word in ("valid", "invalid", "unknown", "error")},
        "counts": record.counts(),
        "scenarios": scenarios,
    }
