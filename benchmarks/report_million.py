"""The report of a large run: how long it takes to write, how large it is, how soon a browser shows it.

    python benchmarks/report_million.py [--operations 1000000] [--keys 5000] [--keep report.html]

The history is made here: many keys, three partitions with timeouts, one stale read.  Prints seconds,
bytes, the most memory held, the time until the page has unpacked its operations in headless Chromium,
and how long a frame takes while its timeline scrolls and its brush moves.  Without Chromium or
playwright the last three are left out.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.contracts.spec import TestSpec
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.report import ReportData, write_report

SECOND = 1_000_000_000
NODES = ("n1", "n2", "n3", "n4", "n5")
WORKERS = 50
RATE_HZ = 5_000
TIMEOUT_NS = SECOND
CUTS = ((0.2, 0.25), (0.5, 0.56), (0.8, 0.83))
"""Where in the run a partition holds, as shares of its length."""


def history_of(operations: int, keys: int) -> History:
    """A register workload; of what happens while a node is cut off a part is never answered."""
    draw = np.random.default_rng(7)
    each = operations // WORKERS
    gap_ns = SECOND * WORKERS // RATE_HZ
    length_ns = each * gap_ns
    events: list[tuple[int, int, Op]] = []
    state: dict[int, int] = {}
    for worker in range(WORKERS):
        took = np.minimum(draw.lognormal(14.2, 0.5, each), gap_ns * 0.9).astype(np.int64)
        starts = np.arange(each) * gap_ns + draw.integers(0, gap_ns // 12, each)
        chosen = draw.integers(0, keys, each).tolist()
        reads = (draw.random(each) < 0.6).tolist()
        lost = draw.random(each) < 0.002
        events += _events_of(
            worker, starts.tolist(), took.tolist(), chosen, reads, lost, length_ns
        )
    for number, (first, last) in enumerate(CUTS):
        events += _cut(number, int(first * length_ns), int(last * length_ns))
    events.sort(key=lambda event: event[:2])
    ops: list[Op] = []
    serial = 0
    for _, _, op in events:
        if op.process != NEMESIS and op.f == "write" and op.type == "invoke":
            serial += 1
            op = _with(op, serial)
        elif op.type == "ok" and op.f == "write":
            op = _with(op, serial)
            state[op.key] = serial
        elif op.type == "ok":
            op = _with(op, state.get(op.key))
        ops.append(op)
    return History(ops)


def _with(op: Op, value: Any) -> Op:
    return Op(
        time_ns=op.time_ns, process=op.process, type=op.type, f=op.f, key=op.key, value=value,
        node=op.node, error=op.error,
    )  # fmt: skip


def _events_of(
    worker: int,
    starts: list[int],
    took: list[int],
    chosen: list[int],
    reads: list[bool],
    lost: Any,
    length_ns: int,
) -> list[tuple[int, int, Op]]:
    node = NODES[worker % len(NODES)]
    process, free_ns = worker, 0
    events = []
    for at, planned in enumerate(starts):
        start = max(planned, free_ns)
        f = "read" if reads[at] else "write"
        share = start / length_ns
        cut = node == "n3" and any(first <= share <= last for first, last in CUTS)
        base = {"process": process, "f": f, "key": chosen[at], "node": node}
        events.append((start, at, Op(time_ns=start, type="invoke", **base)))
        if cut and (lost[at] or at % 40 == 0):
            end, kind, error = start + TIMEOUT_NS, "info", "timeout: no answer within 1 s"
            process += WORKERS
        elif cut and at % 9 == 0:
            end, kind, error = start + took[at], "fail", "no-leader: n3 knows none"
        else:
            end, kind, error = start + took[at], "ok", None
        events.append((end, at, Op(time_ns=end, type=kind, error=error, **base)))  # type: ignore[arg-type]
        free_ns = end + 1
    return events


def _cut(number: int, start_ns: int, end_ns: int) -> list[tuple[int, int, Op]]:
    others = [node for node in NODES if node != "n3"]
    cut = [["n3", node] for node in others] + [[node, "n3"] for node in others]
    value = {
        "id": f"partition-{number}", "fault": "partition", "targets": [], "parameters": {"cut": cut},
    }  # fmt: skip
    done = {
        **value,
        "proof": [{"target": "n3", "effective": True, "observed": "no byte passed"}],
    }
    moments = [
        (start_ns, "start-partition", value), (start_ns + SECOND, "start-partition", done),
        (end_ns, "stop-partition", value), (end_ns + SECOND // 9, "stop-partition", value),
    ]  # fmt: skip
    return [
        (at, -1, Op(time_ns=at, process=NEMESIS, type="info", f=f, value=v))
        for at, f, v in moments
    ]


def data_of(history: History) -> ReportData:
    """The history with a stale read in its middle, as a checker would tell of it."""
    middle = len(history) // 2
    read = next(
        op for op in history[middle:]
        if op.type == "ok" and op.f == "read" and op.value is not None
    )  # fmt: skip
    writes = [
        op for op in history[: read.index] if op.type == "ok" and op.f == "write" and op.key == read.key
    ]  # fmt: skip
    ops = (writes[-1].index, read.index)
    anomaly = Anomaly(
        kind="stale-read", key=read.key, ops=ops,
        explanation=f"process {read.process} read {read.value}, which had been overwritten",
        picture={"op": read.index},
    )  # fmt: skip
    result = Result(
        verdict="invalid", summary="a stale read", anomalies=(anomaly,), kernel="zones"
    )
    spec = TestSpec(workload="register", concurrency=WORKERS, rate_hz=RATE_HZ)
    return ReportData(result=result, history=history, spec=spec, facts={"version": "benchmark"})


def memory_mb() -> float:
    """The most that this process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def open_page(path: Path) -> None:
    """Open it in headless Chromium; print how soon it is ready and how it scrolls."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("no chromium or no playwright: the page was not opened")
        return
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        begun = time.perf_counter()
        page.goto(path.as_uri())
        painted = time.perf_counter() - begun
        page.wait_for_selector("html.ready", timeout=60_000)
        print(f"open              {painted:8.2f} s to the page, "
              f"{time.perf_counter() - begun:.2f} s to all of its operations")  # fmt: skip
        for name, act in FRAMES.items():
            took = page.evaluate(f"async () => {{ {MEASURE} return await measure({act}); }}")
            print(
                f"frame, {name:12s}{took['median']:6.1f} ms, longest {took['longest']:.1f} ms"
            )
        browser.close()


MEASURE = """
const strips = document.getElementById("strips");
const key = (name) => strips.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
async function measure(act) {
  const took = [];
  for (let step = 0; step < 40; step++) {
    const begun = performance.now();
    act(step);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    took.push((performance.now() - begun) / 2);
  }
  took.sort((a, b) => a - b);
  return { median: took[20], longest: took[39] };
}
"""
FRAMES = {
    "page scrolls": "(step) => scrollTo(0, step * 60)",
    "by key": "(step) => { if (!step) document.querySelector('[data-rows=k]').click();"
    " document.querySelector('.lanes').scrollTop = step * 200; }",
    "brush moves": "(step) => key(step < 4 ? '+' : step % 2 ? 'ArrowLeft' : 'ArrowRight')",
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=5_000)
    parser.add_argument("--keep", type=Path, help="leave the page here")
    asked = parser.parse_args()
    history = history_of(asked.operations, asked.keys)
    data = data_of(history)
    before = memory_mb()
    print(f"history           {len(history):,} events, {before:,.0f} MB held")
    with tempfile.TemporaryDirectory() as directory:
        path = asked.keep.resolve() if asked.keep else Path(directory) / "report.html"
        begun = time.perf_counter()
        write_report(path, data)
        took_s, more_mb = time.perf_counter() - begun, memory_mb() - before
        size_mb = path.stat().st_size / 1e6
        print(
            f"write             {took_s:8.2f} s, {size_mb:.2f} MB, {more_mb:,.0f} MB more held"
        )
        open_page(path)


if __name__ == "__main__":
    main()
