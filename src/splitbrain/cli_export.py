"""The verb ``export``: its options, and what it prints."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["export"]


@click.command()
@click.argument("path", metavar="RUN|FILE", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    required=True,
    type=click.Choice(["edn", "jsonl"]),
    help="edn: Jepsen's; jsonl: splitbrain's own.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Default: stdout."
)
@click.option(
    "--from",
    "source",
    default="auto",
    show_default=True,
    help="Form of FILE: jsonl, edn, etcd-log, kv-text.",
)
@click.option(
    "--independent", is_flag=True, help="The values of an EDN FILE are tuples [key value]."
)
def export(
    path: Path, format_: str, output: Path | None, source: str, independent: bool
) -> None:
    """Write the history of RUN or FILE as EDN or JSON lines; nothing is lost on the way."""
    from splitbrain.commands.export import export as write

    done = write(
        path, output or sys.stdout, format=format_, source=source, independent=independent
    )
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if output is not None:
        click.echo(f"{output}: {done.events} events")
