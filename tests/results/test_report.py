"""The page as text: its structure, its safety, and that it opens whatever the data hold."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.report import ReportData, build, build_report, write_report
from splitbrain.results.report import over_time as over
from splitbrain.results.report.embed import pack
from splitbrain.results.report.frame import frame_of
from splitbrain.results.report.sample import choose

GetSample = Callable[[str], ReportData]
VOID = {"meta", "link", "input", "br", "path", "rect", "circle"}


class Outline(HTMLParser):
    """Headings with their level, strips and table heads: the page as a reader scans it.

    Also checks that elements are closed in order.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self._catch: list[str] = []
        self.feed(html)
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("h1", "h2", "h3", "tr"):
            self._catch = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        words = " ".join("".join(self._catch).split())
        if tag in ("h1", "h2", "h3"):
            self.lines.append(f"{'#' * int(tag[1])} {words}")
        if tag == "thead":
            self.lines.append(f"| {words}")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self._open and self._open[-1] != "style":
            self.text += data
            self._catch.append(data if self._open[-1] != "th" else f"{data} ")


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    "name", ["valid", "stale-read", "lost-write", "node-crash", "unknown", "empty"]
)
def test_outline_of_a_page(sample: GetSample, name: str) -> None:
    """The files under golden/ are the pages' tables of contents, meant to be read."""
    outline = Outline(build_report(sample(name)))
    assert "\n".join(outline.lines) + "\n" == (GOLDEN / f"{name}.txt").read_text(
        encoding="utf-8"
    )


def test_the_same_data_give_the_same_page(sample: GetSample) -> None:
    assert build_report(sample("stale-read")) == build_report(sample("stale-read"))


def test_a_card_holds_its_evidence(sample: GetSample) -> None:
    data = sample("stale-read")
    outline = Outline(build_report(data))
    anomaly = data.result.checkers["linear"].anomalies[0]
    assert anomaly.explanation.replace("\n", " ") in outline.text
    embedded = next(text for kind, text in outline.scripts if kind.get("id") == "json-1")
    ops = [msgspec.convert(item, Op) for item in json.loads(embedded)]
    assert {op.index for op in ops} >= set(anomaly.ops)
    assert all(op == data.history[op.index] for op in ops)
    assert "Possible states before it" in outline.text
    assert "a read of 8 needs the register to hold 8" in outline.text


def test_every_fault_stands_in_the_table_with_its_proof(sample: GetSample) -> None:
    text = Outline(build_report(sample("valid"))).text
    assert text.count("no byte in 0.5 s") == 4
    assert text.count("process absent") == 4
    assert text.count("masked") >= 1
    assert "6leader killed" not in text
    assert re.search(r"leader killed, paused or powered off\s*6", text)
    assert re.search(r"leader cut off from the majority\s*4", text)
    assert re.search(r"elections\s*8", text)
    assert re.search(r"successes a second outside fault bands\s*88.4", text)


def test_outside_the_fault_model_is_told_at_the_top(sample: GetSample) -> None:
    text = Outline(build_report(sample("lost-write"))).text
    told = text.index("Outside the fault model: invalid is expected.")
    assert told < text.index("INVALID", text.index("splitbrain"))
    assert "clock-drift lies beyond" in text
    assert "fault model" not in Outline(build_report(sample("valid"))).text


def test_a_history_without_times_shows_its_order() -> None:
    def op(process: int, kind: Any, f: str, value: object = None) -> Op:
        return Op(process=process, type=kind, f=f, key="x", value=value)

    history = History([
        op(0, "invoke", "write", 1), op(0, "ok", "write", 1), op(1, "invoke", "read"),
        op(1, "ok", "read", None),
    ])  # fmt: skip
    anomaly = Anomaly(kind="stale-read", explanation="read null", ops=(1, 3), key="x")
    result = Result(verdict="invalid", summary="", anomalies=(anomaly,))
    outline = Outline(build_report(ReportData(result=result, history=history)))
    assert "This history holds no times" in outline.text
    assert not [line for line in outline.lines if "Latency" in line or "second" in line]
    assert "### Operations, a row for each worker" in outline.lines
    assert not [line for line in outline.lines if "Share answered" in line]
    assert "-0.00" not in outline.text
    assert " -1 ns" not in outline.text


# --- nothing that a system says can become more than text ---------------------------------------

EVIL = (
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> ' \" & "
    "\u2028 \x00 \u202e \ud800 ]]>"
)


def evil_data() -> ReportData:
    value = {"id": EVIL, "fault": EVIL, "targets": [EVIL], "parameters": {EVIL: EVIL}}
    proof = [{"target": EVIL, "effective": True, "observed": EVIL}]
    base: dict[str, Any] = {
        "f": EVIL,
        "key": EVIL,
        "node": EVIL,
        "error": EVIL,
        "ext": {EVIL: EVIL},
    }
    history = History([
        Op(time_ns=0, process=NEMESIS, type="info", f=f"start-{EVIL}", value=value),
        Op(time_ns=1, process=NEMESIS, type="info", f=f"start-{EVIL}", value={**value, "proof": proof}),
        Op(time_ns=1_000_000, process=0, type="invoke", value=EVIL, **base),
        Op(time_ns=5_000_000, process=0, type="ok", value=[EVIL, {EVIL: EVIL}], **base),
    ])  # fmt: skip
    picture = {"states": [EVIL], "impossible": [{"op": 3, "what": EVIL, "why": EVIL}], EVIL: EVIL,
               "log": [EVIL], "node": EVIL}  # fmt: skip
    anomaly = Anomaly(kind=EVIL, explanation=EVIL, ops=(2, 3), key=EVIL, picture=picture)
    result = Result(
        verdict="invalid", summary=EVIL, checkers={EVIL: Result(
            verdict="invalid", summary=EVIL, reason=EVIL, kernel=EVIL, anomalies=(anomaly,),
            stats={EVIL: EVIL, "m": {EVIL: {EVIL: EVIL}}}, assumed=(EVIL,), undecided=(EVIL,))},
    )  # fmt: skip
    return ReportData(
        result=result, history=history, log_tails={EVIL: [EVIL]}, legend={EVIL: EVIL},
        events=[{"time_ns": 3, "node": EVIL, "kind": "leader", "term": 1}],
        facts={"command": EVIL, "run": EVIL, "outside": [EVIL], "times": {EVIL: EVIL},
               "version": EVIL, EVIL: EVIL},
    )  # fmt: skip


def test_values_stay_text() -> None:
    html = build_report(evil_data())
    outline = Outline(html)
    kinds = [kind.get("type") for kind, _ in outline.scripts]
    assert kinds == ["application/json", "application/json", "text/plain", None]
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "<!--" not in html
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    for hidden in ("\u2028", "\x00", "\u202e", "\ud800"):
        assert hidden not in html
    html.encode("utf-8")
    assert outline.text.count("alert(1)") > 20


def test_embedded_json_gives_back_the_values() -> None:
    outline = Outline(build_report(evil_data()))
    embedded = next(text for kind, text in outline.scripts if kind.get("id") == "json-1")
    assert json.loads(embedded)[0]["value"] == EVIL


def test_the_only_script_is_ours_by_its_hash(sample: GetSample) -> None:
    outline = Outline(build_report(sample("stale-read")))
    (script,) = [text for kind, text in outline.scripts if "type" not in kind]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(
        v for _, name, v in outline.attributes if name == "content" and "script-src" in v
    )
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", ["valid", "stale-read", "empty"])
def test_no_address_leads_out_of_the_page(sample: GetSample, name: str) -> None:
    outline = Outline(build_report(sample(name)))
    for tag, attribute, value in outline.attributes:
        if attribute in ("src", "href", "action", "data", "srcset"):
            assert value.startswith("#") or value == "data:,", f"{tag} {attribute}={value}"
    style = build_report(sample(name)).split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_ids_are_unique(sample: GetSample) -> None:
    for name in ("stale-read", "lost-write"):
        ids = [
            v
            for _, attribute, v in Outline(build_report(sample(name))).attributes
            if attribute == "id"
        ]
        assert len(ids) == len(set(ids))


# --- it opens whatever the data hold, and never changes a verdict --------------------------------


def broken_data() -> list[ReportData]:
    result = Result(
        verdict="invalid",
        summary="s",
        anomalies=(Anomaly(kind="k", explanation="e", ops=(99, -5)),),
    )
    lone = Op(index=0, time_ns=5, process=3, type="ok", f="read", value=float("nan"))
    twice = [
        Op(index=i, time_ns=i, process=1, type="invoke", f="w", key=[1, [2]]) for i in range(2)
    ]
    odd = Op(index=0, time_ns=7, process=NEMESIS, type="info", f="weird", value="not a mapping")
    events: list[Any] = [{}, {"time_ns": "x"}, {"time_ns": 1, "node": "n", "kind": "leader"}]
    picture = {"states": 3, "log": "text", "order": [None], "op": "x"}
    shapeless = Anomaly(kind="", explanation="", picture=picture)
    stats = {"a": {}, "b": {"c": {}}, "d": float("inf")}
    return [
        ReportData(result=result),
        ReportData(result=result, history=[lone]),
        ReportData(result=result, history=twice),
        ReportData(result=result, history=[odd]),
        ReportData(result=result, events=events),
        ReportData(result=result, history=[Op(process=0, type="invoke", f="r")]),
        ReportData(result=result, facts={"times": None, "outside": None, "command": 7}),
        ReportData(result=result, facts={"times": [1], "outside": 5, "commands": "x"}),
        ReportData(result=result, log_tails={"n1": []}),
        ReportData(result=msgspec.structs.replace(result, stats=stats)),
        ReportData(result=msgspec.structs.replace(result, anomalies=(shapeless,))),
    ]


@pytest.mark.parametrize("place", range(len(broken_data())))
def test_it_opens_whatever_the_data_hold(place: int) -> None:
    outline = Outline(build_report(broken_data()[place]))
    assert outline.lines[0].startswith("# INVALID")
    assert outline.lines[-1].startswith(("## Setup", "### "))


def test_a_part_that_fails_is_told_and_costs_nothing_else(
    sample: GetSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError("no picture today")

    for module, name in (
        (over.overview, "rate_strip"),
        (over.scatter, "timeline_strip"),
        (build.cards, "cards_of"),
        (over.embed, "pack"),
    ):
        monkeypatch.setattr(module, name, fail)
    outline = Outline(build_report(sample("stale-read")))
    assert outline.lines[0].startswith("# INVALID A stale read")
    assert "The rate could not be shown: ZeroDivisionError: no picture today" in outline.text
    assert "4 parts of this page could not be made" in outline.text
    assert "### Latency of read" in outline.lines


def test_writing_is_all_or_nothing(
    sample: GetSample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    assert write_report(path, sample("empty")) == path
    first = path.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    monkeypatch.setattr(
        build.os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_report(path, sample("valid"))
    assert path.read_bytes() == first
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


# --- the operations inside ----------------------------------------------------------------------


def unpacked(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return found


def test_all_operations_are_in_the_page(sample: GetSample) -> None:
    frame = frame_of(sample("stale-read").history)
    workers = frame.workers(10, frame.last_ns)
    columns = unpacked(
        pack(frame, workers, lambda limit: choose(frame, (), (), limit), 10**7).text
    )
    total, indexes = 0, []
    for step in columns["i"]:
        total += step
        indexes.append(total)
    assert indexes == [interval.begin.index for interval in frame]
    place = next(i for i, interval in enumerate(frame) if interval.begin.f == "cas")
    interval = frame[place]
    texts = columns["texts"]
    assert texts[columns["a"][place]] == json.dumps(interval.begin.value)
    assert interval.end is not None
    assert columns["d"][place] == (interval.end.time_ns - interval.start_ns) // 1000
    assert texts[columns["n"][place]] == interval.node
    assert max(columns["w"]) == 9


def test_workers_keep_their_row_and_strangers_share_rows() -> None:
    def op(at: int, process: int, kind: Any) -> Op:
        return Op(time_ns=at, process=process, type=kind, f="r")

    events = [op(0, 0, "invoke"), op(5, 0, "info"), op(7, 10, "invoke"), op(9, 10, "ok")]
    frame = frame_of(History(events))
    assert frame.workers(10, 9).tolist() == [0, 0]
    assert frame.workers(0, 9).tolist() == [0, 0]
    overlapping = frame_of(History([op(0, 0, "invoke"), op(1, 10, "invoke")]))
    assert overlapping.workers(0, 9).tolist() == [0, 1]


def test_a_large_history_makes_a_small_page(
    make_sample: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    large = make_sample(seconds=150, rate_hz=420, workers=20, keys=100)
    data = large.data(large.linear())
    begun = time.perf_counter()
    html = build_report(data)
    seconds = time.perf_counter() - begun
    size = len(html.encode())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(data.history):,} events: {size / 1e6:.2f} MB in {seconds:.2f} s "
        )
    assert size < 30 * len(data.history), "more than 30 bytes an event"
