"""The verb ``image``: its options, and what it prints."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from splitbrain.commands.image import Built, Step

__all__ = ["image"]


@click.group()
def image() -> None:
    """The image in which nodes run in containers."""


@image.command()
@click.option(
    "--base", metavar="IMAGE", help="Build on it. Default: python:3.11-slim, or one made here."
)
@click.option("--tag", help="Default: splitbrain-node:VERSION.")
@click.option("--no-cache", is_flag=True, help="Build each layer anew.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def build(base: str | None, tag: str | None, no_cache: bool, as_json: bool) -> None:
    """Build the image from this splitbrain, unless it is up to date."""
    from splitbrain.commands.image import build_image

    done = build_image(base=base, tag=tag, no_cache=no_cache, told=None if as_json else _tell)
    if as_json:
        click.echo(json.dumps(_row(done)))
        return
    made = done.image
    what = f"built in {done.seconds:.1f} s" if done.steps else "up to date"
    click.echo(f"{made.tag}: {made.size_bytes / 1e6:.0f} MB on {made.base}, {what}")


def _tell(step: Step) -> None:
    """A line for each step once it has ended; in a terminal, also while it lasts."""
    if step.name == "note":
        click.echo(f"note: {step.words}", err=True)
    elif step.seconds is not None:
        click.echo(f"{step.seconds:7.1f} s  {step.name:6}  {step.words}")
    elif sys.stderr.isatty():
        click.echo(f"      ...  {step.name:6}  {step.words}\r", nl=False, err=True)


def _row(done: Built) -> dict[str, object]:
    steps = [msgspec.to_builtins(step) for step in done.steps]
    row: dict[str, object] = msgspec.to_builtins(done.image)
    return {**row, "built": bool(done.steps), "seconds": round(done.seconds, 3), "steps": steps}
