"""What the command line prints of runs and verdicts: words for people, objects for ``--json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from splitbrain.checkers.verdict import Anomaly, Result, worst
from splitbrain.contracts.spec import TestSpec

if TYPE_CHECKING:
    from splitbrain.commands.run import Finished

__all__ = ["announce", "anomalies", "many", "result_row", "run_row", "tell"]


def announce(spec: TestSpec, outside: Iterable[str]) -> None:
    """Say what is about to run."""
    click.echo(
        f"{spec.workload} on {spec.substrate}: {len(spec.nodes)} nodes, {spec.concurrency} workers, "
        f"{spec.time_limit_s:g} s, faults: {', '.join(spec.nemesis) or 'none'}, seed {spec.seed}"
    )
    if outside:
        names = ", ".join(sorted(outside))
        click.echo(f"outside the fault model: {names}: invalid is expected")


def tell(one: Finished) -> None:
    """Say what a run came to."""
    click.echo(one.sentence)
    click.echo(f"{one.operations} operations in {one.seconds:.1f} s; run {one.directory}")
    click.echo(f"report {one.report}")


def run_row(one: Finished) -> dict[str, Any]:
    """The JSON object of one run."""
    row = result_row(one.result, one.sentence, one.operations)
    row |= {"run": str(one.directory), "seed": one.spec.seed, "seconds": round(one.seconds, 3)}
    return row


def result_row(result: Result, sentence: str, operations: int) -> dict[str, Any]:
    """The JSON object of one verdict."""
    parts = {name: msgspec.to_builtins(part) for name, part in result.checkers.items()}
    found = [msgspec.to_builtins(anomaly) for anomaly in anomalies(result)]
    earned = parts.get("earned", {}).get("stats", {})
    return {
        "verdict": result.verdict,
        "summary": sentence,
        "reason": result.reason,
        "ops": operations,
        "anomalies": found,
        "checkers": parts,
        "faults": earned.get("faults", {}),
    }


def anomalies(result: Result) -> list[Anomaly]:
    """All anomalies of a result and its parts."""
    nested = [anomaly for part in result.checkers.values() for anomaly in anomalies(part)]
    return nested if result.checkers else list(result.anomalies)


def many(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON object of several, with the worst verdict."""
    return {"verdict": worst(row["verdict"] for row in rows), "results": rows}
