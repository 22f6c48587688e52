"""How many operations a second go to EDN and come back, and in how much memory.

    python benchmarks/edn.py [OPERATIONS]        default 1,000,000 events

Histories: a register with keys (plain lines), list-append transactions, and what a Jepsen test with
keywords in its values gives, each line of which needs a mark.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from splitbrain.history.edn import read_edn
from splitbrain.history.edn_write import write_edn
from splitbrain.history.op import Op


def registers(events: int) -> Iterator[Op]:
    for call in range(events // 2):
        process, key = call % 10, f"k{call // 200}"
        f, asked, got = ("write", call, call) if call % 2 else ("read", None, call - 1)
        for kind, value in (("invoke", asked), ("ok", got)):
            yield Op(time_ns=call * 1000, process=process, type=kind, f=f, key=key, value=value,
                     node="n1")  # fmt: skip


def transactions(events: int) -> Iterator[Op]:
    for call in range(events // 2):
        asked = [["append", call % 50, call], ["r", call % 7, None]]
        got = [["append", call % 50, call], ["r", call % 7, [call - 3, call - 2, call - 1]]]
        for kind, value in (("invoke", asked), ("ok", got)):
            yield Op(time_ns=call * 1000, process=call % 10, type=kind, f="txn", value=value)


def keyworded(events: int) -> Iterator[str]:
    for call in range(events // 2):
        for number, kind in enumerate(("invoke", "ok")):
            yield (
                f"{{:index {2 * call + number}, :time {call * 1000}, :type :{kind}, "
                f":process {call % 10}, :f :txn, :value [[:append :x {call}] [:r :y nil]]}}\n"
            )


def timed(words: str, events: int, began: float) -> None:
    seconds = time.perf_counter() - began
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  {words:24} {seconds:6.1f} s  {events / seconds:9,.0f} ops/s  peak {memory_mb:,.0f} MB"
    )


def both_ways(name: str, ops: Iterable[Op], path: Path) -> None:
    print(name)
    made = [msgspec.structs.replace(op, index=index) for index, op in enumerate(ops)]
    began = time.perf_counter()
    write_edn(path, made)
    timed(f"write ({path.stat().st_size / 1e6:.0f} MB)", len(made), began)
    began = time.perf_counter()
    history = read_edn(path)
    timed("read", len(history), began)
    assert [*history] == made


def marked(events: int, path: Path) -> None:
    print("keywords in values (each line has a mark)")
    path.write_text("".join(keyworded(events)))
    began = time.perf_counter()
    history = read_edn(path)
    timed("read", events, began)
    began = time.perf_counter()
    again = path.with_suffix(".again")
    write_edn(again, history)
    timed("write", events, began)
    assert again.read_bytes() == path.read_bytes()


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "history.edn")
        both_ways(f"register by key, {events:,} events", registers(events), path)
        both_ways(f"list-append, {events:,} events", transactions(events), path)
        marked(events // 10, path)


if __name__ == "__main__":
    main()
