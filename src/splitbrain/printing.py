"""What the command line prints: verdicts and errors, in words for people or objects for ``--json``.

Whatever goes wrong comes out as one line on stderr and the exit code of its kind, never as a
traceback: a Python program that dies of an exception exits with 1, and 1 means *invalid* here.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from splitbrain.checkers.verdict import Anomaly, Result, worst
from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import SplitbrainError
from splitbrain.results.left_out import left_out_lines

if TYPE_CHECKING:
    from splitbrain.commands.check import Checked
    from splitbrain.commands.run import Finished

__all__ = [
    "Group",
    "announce",
    "anomalies",
    "checked_row",
    "complain",
    "error_row",
    "many",
    "result_row",
    "run_row",
    "tally",
    "tell",
]

USAGE, CANNOT = 2, 4
TRACEBACK = "SPLITBRAIN_TRACEBACK"
"""Set in the environment, it shows where an unforeseen error came from."""


class Group(click.Group):
    """The root command: every error becomes one line and its exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether stdout belongs to ``--json``, also for errors found while parsing."""
        ctx.meta["json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.exceptions.NoArgsIsHelpError):
            raise
        except SplitbrainError as error:
            _end(ctx, complain(error), error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx is not None else ctx.command_path
            _end(ctx, f"{_plain(error)} ({command} --help tells more)", USAGE)
        except click.ClickException as error:
            _end(ctx, error.format_message(), CANNOT)
        except KeyboardInterrupt:
            _end(ctx, "interrupted; what was recorded so far can be checked again", CANNOT)
        except OSError as error:
            if error.errno != errno.EPIPE:
                _end(ctx, _unforeseen(error), CANNOT)
            # The reader of our output has gone; nothing more can be told, also not at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(CANNOT)
        except Exception as error:  # noqa: BLE001 - told in one line; exit 1 would mean invalid
            _end(ctx, _unforeseen(error), CANNOT)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command named first, or the nearest names."""
        import difflib

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], known, n=2)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
            )
            ctx.fail(f"no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


def _plain(error: click.UsageError) -> str:
    """Click's message on one line, without a full stop, for we go on after it."""
    return " ".join(error.format_message().split()).rstrip(".")


def _unforeseen(error: Exception) -> str:
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    words = " ".join(str(error).split())
    return (
        f"unforeseen {type(error).__name__}{where}: {words}; this is a mistake of splitbrain or of "
        f"a plug-in, not a verdict ({TRACEBACK}=1 shows more)"
    )


def _end(ctx: click.Context, message: str, code: int) -> NoReturn:
    if ctx.meta.get("json"):
        click.echo(json.dumps(error_row(message)))
    click.echo(f"splitbrain: {message}", err=True)
    sys.exit(code)


def complain(error: SplitbrainError) -> str:
    """An error in words, with what was noted on it (the run directory)."""
    return "\n".join([str(error), *(f"    {note}" for note in getattr(error, "__notes__", ()))])


def announce(spec: TestSpec, outside: Iterable[str]) -> None:
    """Say what is about to run."""
    faults = ", ".join(spec.nemesis)
    if spec.schedule:
        faults += f"{' and ' if faults else ''}{len(spec.schedule)} scheduled"
    bugs = f", seeded bug: {', '.join(spec.bugs)}" if spec.bugs else ""
    click.echo(
        f"{spec.workload} on {spec.substrate}: {_count(len(spec.nodes), 'node')}, "
        f"{_count(spec.concurrency, 'worker')}, {spec.time_limit_s:g} s, "
        f"faults: {faults or 'none'}{bugs}, seed {spec.seed}"
    )
    if outside:
        names = ", ".join(sorted(outside))
        click.echo(f"outside the fault model: {names}: invalid is expected")
    for line in left_out_lines(spec):
        click.echo(line)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def tell(one: Finished) -> None:
    """Say what a run came to, and how to see it again unless it is valid."""
    click.echo(one.sentence)
    click.echo(f"{one.operations} operations in {one.seconds:.1f} s, seed {one.spec.seed}")
    click.echo(f"run     {one.directory}")
    click.echo(f"report  {one.report}")
    if one.verdict != "valid":
        click.echo(f"again   {one.again}")


def run_row(one: Finished) -> dict[str, Any]:
    """The JSON object of one run."""
    return result_row(
        one.result,
        one.sentence,
        one.operations,
        run=str(one.directory),
        seed=one.spec.seed,
        seconds=one.seconds,
    )


def tally(rows: list[dict[str, Any]], asked: int) -> str:
    """What several runs came to, in one line.

    >>> tally([{"verdict": "valid"}, {"verdict": "valid"}, {"verdict": "unknown"}], 4)
    '3 of 4 runs: 2 valid, 1 unknown'
    """
    counts = Counter(str(row["verdict"]) for row in rows)
    words = ", ".join(f"{n} {word}" for word, n in counts.most_common())
    return f"{len(rows)} of {asked} runs: {words}"


def checked_row(one: Checked) -> dict[str, Any]:
    """The JSON object of one checked path."""
    row = result_row(
        one.result,
        one.sentence,
        one.operations,
        run=None if one.spec is None else str(one.path),
        seed=None if one.spec is None else one.spec.seed,
        seconds=one.seconds,
    )
    return {"path": str(one.path), **row}


def result_row(
    result: Result,
    sentence: str,
    operations: int,
    *,
    run: str | None = None,
    seed: int | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """The JSON object of one verdict."""
    parts = {name: msgspec.to_builtins(part) for name, part in result.checkers.items()}
    found = [msgspec.to_builtins(anomaly) for anomaly in anomalies(result)]
    earned = parts.get("earned", {}).get("stats", {})
    return {
        "verdict": result.verdict,
        "summary": sentence,
        "reason": result.reason,
        "run": run,
        "seed": seed,
        "ops": operations,
        "seconds": None if seconds is None else round(seconds, 3),
        "anomalies": [{"ops": [], **anomaly} for anomaly in found],
        "checkers": parts,
        "faults": earned.get("faults", {}),
    }


def error_row(
    message: str, *, path: str | None = None, seed: int | None = None
) -> dict[str, Any]:
    """The JSON object of what could not be done: the same keys as a verdict's."""
    row: dict[str, Any] = {"verdict": "error", "summary": message, "reason": None, "run": None}
    row |= {
        "seed": seed,
        "ops": 0,
        "seconds": None,
        "anomalies": [],
        "checkers": {},
        "faults": {},
    }
    return row if path is None else {"path": path, **row}


def anomalies(result: Result) -> list[Anomaly]:
    """All anomalies of a result and its parts."""
    nested = [anomaly for part in result.checkers.values() for anomaly in anomalies(part)]
    return nested if result.checkers else list(result.anomalies)


def many(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON object of several, with the worst verdict: invalid, error, unknown, valid."""
    found = [row["verdict"] for row in rows]
    verdict: str = worst(word for word in found if word != "error")
    if "error" in found and verdict != "invalid":
        verdict = "error"
    return {"verdict": verdict, "results": rows}
