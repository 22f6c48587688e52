"""The verb ``up``: its options, and how the cluster is shown while it serves."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.live import Live

    from splitbrain.commands.standing import Look
    from splitbrain.commands.up import Served

__all__ = ["up"]

_PLAIN_EVERY_S = 10.0


@click.command()
@click.option(
    "--mode",
    type=click.Choice(["txn", "raw"]),
    default="txn",
    show_default=True,
    help="Which of TiKV's two kinds of keys it serves.",
)
@click.option(
    "--stores",
    type=click.IntRange(1, 99),
    default=3,
    show_default=True,
    help="Number of stores, a process each.",
)
@click.option(
    "--pds",
    type=click.Choice(["1", "3"]),
    default="3",
    show_default=True,
    help="Members of the placement driver; each lives in a store's process.",
)
@click.option("--on", default="local", show_default=True, help="Where nodes live: local only.")
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65535),
    help="Port of the first store; the next has the next. Default: any that are free.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep data and logs here, and go on with what is here. Default: nothing stays.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the nodes' draws.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object on stdout, once the cluster serves.",
)
def up(mode: str, stores: int, pds: str, as_json: bool, **given: Any) -> None:
    """Start a minitikv for your own client, until Ctrl-C; prints the addresses of PD."""
    from splitbrain.commands.up import Shape, bring_up

    shape = Shape(mode=mode, stores=stores, pds=int(pds))
    viewer = _Quiet() if as_json else _Screen() if sys.stdout.isatty() else _Plain()
    with viewer:
        bring_up(
            shape,
            viewer,
            on=given["on"],
            directory=given["directory"],
            port_base=given["port_base"] or 0,
            seed=given["seed"],
        )


class _Quiet:
    """For programs: addresses as JSON; what goes wrong on stderr."""

    def __enter__(self) -> None:
        """Nothing to open."""

    def __exit__(self, *_exception: object) -> None:
        """Nothing to close."""

    def serves(self, served: Served) -> None:
        """The only object."""
        click.echo(json.dumps(msgspec.to_builtins(served)))

    def seen(self, look: Look) -> None:
        """Not told."""

    def ended(self, node: str, reason: str) -> None:
        """A node is gone."""
        click.echo(f"{node} ended: {reason}", err=True)


class _Plain(_Quiet):
    """A line when leaders, regions or stores change, and now and then one for timestamps."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._line_s = 0.0
        self._last: tuple[Any, ...] = ()

    def serves(self, served: Served) -> None:
        """Where to connect."""
        click.echo(_welcome(served))

    def seen(self, look: Look) -> None:
        """Tell of a change."""
        now_s = time.monotonic() - self._start_s
        standing = (look.driver, look.stores, look.regions)
        timestamps = (look.timestamps, look.physical_ms)
        rests = standing == self._last[:3]
        if (*standing, *timestamps) == self._last or (
            rests and now_s - self._line_s < _PLAIN_EVERY_S
        ):
            return
        self._line_s, self._last = now_s, (*standing, *timestamps)
        click.echo(f"{now_s:6.1f} s  {_words(look)}")


class _Screen(_Quiet):
    """A table that is drawn over itself."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __exit__(self, *_exception: object) -> None:
        """Leave the last table standing."""
        if self._live is not None:
            self._live.stop()

    def serves(self, served: Served) -> None:
        """Where to connect, and an empty table below."""
        from rich.live import Live

        click.echo(_welcome(served))
        self._live = Live(auto_refresh=False)
        self._live.start()

    def seen(self, look: Look) -> None:
        """Draw it again."""
        assert self._live is not None
        self._live.update(_table(look), refresh=True)

    def ended(self, node: str, reason: str) -> None:
        """A line above the table."""
        assert self._live is not None
        self._live.console.print(f"{node} ended: {reason}", markup=False)


def _welcome(served: Served) -> str:
    return (
        f"PD       {','.join(served.pd)}\n"
        f"mode     {served.mode}\n"
        f"logs     {Path(served.directory) / 'logs'}\n"
        "Ctrl-C ends it"
    )


def _words(look: Look) -> str:
    """One moment in a line.

    >>> from splitbrain.commands.standing import Look, StoreLook
    >>> one = StoreLook(node="n1", address="127.0.0.1:1", state="up", regions=2, leaders=2)
    >>> two = StoreLook(node="n2", address="127.0.0.1:2", state="down")
    >>> _words(Look(driver="n1", stores=(one, two), regions=2, physical_ms=1, timestamps=1200))
    '2 regions  leaders n1 2, n2 down  PD n1  1,200 timestamps, last 1970-01-01T00:00:00.001Z'
    """
    leaders = ", ".join(
        f"{store.node} {store.leaders if store.state == 'up' else store.state}"
        for store in look.stores
    )
    regions = f"{look.regions} region{'' if look.regions == 1 else 's'}"
    return f"{regions}  leaders {leaders}  {_driver(look)}"


def _driver(look: Look) -> str:
    """Who gives timestamps, how many, and when the last."""
    if not look.driver:
        return "PD has no leader"
    at = datetime.fromtimestamp(look.physical_ms / 1000, UTC)
    told = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    count = f"{look.timestamps:,} timestamp{'' if look.timestamps == 1 else 's'}"
    return f"PD {look.driver}  {count}, last {told}"


def _table(look: Look) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, caption=_driver(look), caption_justify="left")
    for name in ("store", "address", "state"):
        table.add_column(name)
    for name in ("regions", "leaders"):
        table.add_column(name, justify="right")
    for store in look.stores:
        counts = (str(store.regions), str(store.leaders))
        style = None if store.state == "up" else "red"
        table.add_row(store.node, store.address, store.state, *counts, style=style)
    return table
