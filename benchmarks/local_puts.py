"""Raw puts a second on operating-system processes, each acknowledged after a majority has synced it.

    python benchmarks/local_puts.py [--seconds 10] [--clients 64] [--stores 5] [--bug NAME]

Stores on ``local`` dial each other directly (``proxies=false``); clients put values of 100 bytes, one
after the other each, all from this process.  Target: 500 puts a second with 5 stores and 64 clients.

Nothing here believes what a store says of its own syncs.  A small C library, preloaded into the stores
(``count_syncs.c``), writes down when each fsync or fdatasync began and ended.  For every acknowledged
put a majority of the stores must have begun a sync after the put was asked for and ended it before the
acknowledgement: only such a sync can have made it durable.  Where one put lacks them there is no figure
and the exit code is 1; ``--bug ack-on-append`` shows it.  (The other way round it is necessary only:
that the sync held the put's bytes is what the crash tests show.)
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from splitbrain import catalog as names
from splitbrain.contracts.journal import NullJournal
from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.system import RunningSystem
from splitbrain.contracts.testbed import Site, Testbed
from splitbrain.env import Pacer
from splitbrain.env.random import Random

SOURCE = Path(__file__).parent / "count_syncs.c"
CAPACITY = 1_000_000
WARM_UP_S = 2.0
POLL_S = 0.2
VALUE = "v" * 98  # 100 bytes of JSON

Sync = tuple[int, int]
"""When it began and ended, nanoseconds of CLOCK_MONOTONIC."""


class Put(msgspec.Struct, frozen=True):
    """One acknowledged put."""

    asked_ns: int
    acked_ns: int


class Look(msgspec.Struct, frozen=True):
    """What all stores said of themselves at one moment."""

    at_ns: int
    lags: tuple[int, ...]
    entries: Mapping[str, int]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen from the end of the warm-up to the end."""

    puts: list[Put]
    failed: int
    seconds: float
    looks: list[Look]
    begin_ns: int
    end_ns: int


class LoopPacer:
    """Time for clients: the testbed's clock, and asyncio's sleep."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed

    def monotonic_ns(self) -> int:
        return self._testbed.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


# --- syncs, seen from outside ---------------------------------------------------------------------


def build_watch(directory: Path) -> Path | None:
    """Compile the library; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    library = directory / "count_syncs.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


def read_syncs(path: Path) -> list[Sync]:
    """The syncs of one store, by end."""
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    if count > CAPACITY:
        raise SystemExit(
            f"{path.name}: {count} syncs, room for {CAPACITY}: measure a shorter time"
        )
    numbers = struct.unpack_from(f"<{2 * count}Q", data, 8)
    return sorted(zip(numbers[::2], numbers[1::2], strict=True), key=lambda sync: sync[1])


def unsynced(
    puts: Sequence[Put], syncs: Mapping[str, Sequence[Sync]], majority: int
) -> list[Put]:
    """The puts that were acknowledged before ``majority`` stores had synced anything for them.

    A store may have synced a put if one of its syncs began after the put was asked for and ended
    before it was acknowledged: if, of those that ended before, the latest begin is late enough.
    """
    ends = {store: [end for _, end in each] for store, each in syncs.items()}
    begins = {
        store: list(accumulate((b for b, _ in each), max)) for store, each in syncs.items()
    }
    early = []
    for put in puts:
        stores = 0
        for store, ended in ends.items():
            place = bisect_right(ended, put.acked_ns)
            stores += place > 0 and begins[store][place - 1] >= put.asked_ns
        if stores < majority:
            early.append(put)
    return early


# --- the load -------------------------------------------------------------------------------------


async def client(
    number: int, running: RunningSystem, node: str, told: list[Put], until: float
) -> int:
    """Put one value after the other; how many failed."""
    session = await running.kv(node)
    failed = count = 0
    try:
        while time.monotonic() < until:
            asked_ns = time.monotonic_ns()
            try:
                await session.put(f"{number}/{count % 100}", VALUE)
            except Exception:  # noqa: BLE001 - not acknowledged, whatever the reason
                failed += 1
                await asyncio.sleep(0.01)
                continue
            told.append(Put(asked_ns, time.monotonic_ns()))
            count += 1
    finally:
        await session.close()
    return failed


async def look(testbed: Testbed) -> Look | None:
    """Ask all stores at once; None if one does not answer."""
    try:
        answers = await asyncio.gather(
            *(node.control("status", {}, timeout_s=2.0) for node in testbed.nodes.values())
        )
    except (OSError, ValueError):
        return None
    committed = max(answer.get("commit", 0) for answer in answers)
    return Look(
        at_ns=time.monotonic_ns(),
        lags=tuple(committed - answer.get("applied", 0) for answer in answers),
        entries={answer["node"]: answer.get("entries_written", 0) for answer in answers},
    )


async def measure(spec: TestSpec, site: Site, seconds: float) -> Measured:
    """Warm up, then look at puts and stores."""
    test = names.resolve(spec, names.builtin())
    testbed = await test.substrate.open(site)
    try:
        pacer: Pacer = LoopPacer(testbed)
        running = await test.system.start(spec, testbed, site.random.child("system"), pacer)
        await running.ready()
        told: list[Put] = []
        until = time.monotonic() + WARM_UP_S + seconds
        clients = [
            asyncio.create_task(
                client(number, running, spec.nodes[number % len(spec.nodes)], told, until)
            )
            for number in range(spec.concurrency)
        ]
        await asyncio.sleep(WARM_UP_S)
        begin_ns = time.monotonic_ns()
        looks: list[Look] = []
        while time.monotonic() < until:
            seen = await look(testbed)
            looks += [] if seen is None else [seen]
            await asyncio.sleep(POLL_S)
        end_ns = time.monotonic_ns()
        failed = sum(await asyncio.gather(*clients))
        await running.stop()
    finally:
        await testbed.close()
    puts = [put for put in told if begin_ns <= put.acked_ns < end_ns]
    return Measured(
        puts=puts,
        failed=failed,
        seconds=(end_ns - begin_ns) / 1e9,
        looks=looks,
        begin_ns=begin_ns,
        end_ns=end_ns,
    )


# --- the figures ----------------------------------------------------------------------------------


def alone_ms(directory: Path) -> float:
    """How long one append of 100 bytes and its sync take here when nothing else does."""
    times = []
    with open(directory / "alone", "ab", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 100)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def show(seen: Measured, syncs: Mapping[str, Sequence[Sync]]) -> int:
    """Print the figures, or why there are none; the exit code."""
    majority = len(syncs) // 2 + 1
    early = unsynced(seen.puts, syncs, majority)
    if early or not seen.puts or len(seen.looks) < 2:
        print(
            f"NO FIGURE: {len(early)} of {len(seen.puts)} puts were acknowledged before "
            f"{majority} stores had ended a sync begun after the put was asked for"
        )
        return 1
    rate = len(seen.puts) / seen.seconds
    latencies = sorted((put.acked_ns - put.asked_ns) / 1e6 for put in seen.puts)
    print(f"{rate:,.0f} puts/s over {seen.seconds:.1f} s (target 500), {seen.failed} failed")
    print(f"  each acknowledged after syncs on at least {majority} of {len(syncs)} stores")
    print(
        f"  latency: median {latencies[len(latencies) // 2]:.1f} ms, "
        f"99 % {latencies[len(latencies) * 99 // 100]:.1f} ms"
    )
    first, last = seen.looks[0], seen.looks[-1]
    print("  store   syncs/s   entries a sync   median lag of apply")
    for place, (store, each) in enumerate(syncs.items()):
        ends = [end for _, end in each]
        count = bisect_left(ends, seen.end_ns) - bisect_left(ends, seen.begin_ns)
        between = bisect_left(ends, last.at_ns) - bisect_left(ends, first.at_ns)
        entries = last.entries[store] - first.entries[store]
        lag = statistics.median(one.lags[place] for one in seen.looks)
        print(
            f"  {store:<8}{count / seen.seconds:>7.0f}{entries / max(1, between):>17.1f}"
            f"{lag:>12.0f} entries, {lag / rate * 1e3:.1f} ms"
        )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Raw puts a second on processes.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--stores", type=int, default=5)
    parser.add_argument(
        "--store", help="directory for the stores' data (default: a temporary one)"
    )
    parser.add_argument("--bug", action="append", default=[], help="a seeded bug of minitikv")
    given = parser.parse_args()
    spec = TestSpec(
        workload="register",
        nodes=tuple(f"n{number + 1}" for number in range(given.stores)),
        concurrency=given.clients,
        bugs=tuple(given.bug),
        options={"proxies": False, "read-from": "leader-cache", "op-timeout": 10.0},
    )
    with tempfile.TemporaryDirectory(dir=given.store, prefix="local-puts-") as name:
        directory = Path(name)
        library = build_watch(directory)
        if library is None:
            print(
                "skipped: without a C compiler (Debian: apt-get install gcc) syncs cannot be "
                "counted from outside, and without that there is no figure"
            )
            return 0
        print(
            f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; "
            f"a sync alone takes {alone_ms(directory):.2f} ms below {directory.parent}"
        )
        logs = directory / "syncs"
        logs.mkdir()
        os.environ |= {"LD_PRELOAD": str(library), "SYNC_LOG_DIR": str(logs)}
        site = Site(
            spec=spec,
            directory=str(directory / "run"),
            label=f"splitbrain-local-puts-{os.getpid()}",
            random=Random(spec.seed),
            journal=NullJournal(),
            events=lambda event: None,
        )
        test = names.resolve(spec, names.builtin())
        seen = test.substrate.run(lambda: measure(spec, site, given.seconds))
        return show(seen, {node: read_syncs(logs / node) for node in spec.nodes})


if __name__ == "__main__":
    sys.exit(main())
