"""Pages of histories that no page could hold: small, and they say what they shorten and leave out."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.history.history import History
from splitbrain.history.op import Op
from splitbrain.results.report import ReportData, build_report, write_report
from splitbrain.results.report.brief import brief, cut, size_of
from splitbrain.results.report.embed import pack
from splitbrain.results.report.frame import frame_of
from splitbrain.results.report.sample import LIMIT, choose

from .browser import Visit, until

SIZE_MAX = 5_000_000
MEGABYTE = "x" * 2**20
MS = 1_000_000


def nested(depth: int) -> list[Any]:
    value: list[Any] = ["bottom"]
    for _ in range(depth):
        value = [value]
    return value


LARGE: list[Any] = [
    MEGABYTE,
    [MEGABYTE] * 50,
    {"a": MEGABYTE, "b": [MEGABYTE, {"c": MEGABYTE}], MEGABYTE: 1},
    [["append", 1, MEGABYTE], ["r", 2, [MEGABYTE, MEGABYTE]], ["r", 3, None]],
    list(range(100_000)),
    [["a"] * 1_000] * 1_000,
    nested(400),
    "\ud800" * 100_000 + '"<&' * 100_000,
    10**5_000,
]


def history_of(values: list[Any], operations: int, **more: Any) -> History:
    events = []
    for n in range(operations):
        value = values[n % len(values)]
        base: dict[str, Any] = {
            "process": n % 10,
            "f": "txn" if n % 2 else "write",
            "key": n % 7,
        }
        events.append(Op(time_ns=n * 5 * MS, type="invoke", value=value, node="n1", **base))
        told = more if n % 3 == 0 else {}
        kind: Any = "info" if n % 11 == 0 else "ok"
        events.append(Op(time_ns=n * 5 * MS + 2 * MS, type=kind, value=value, **base, **told))
    return History(events)


def size(html: str) -> int:
    return len(html.encode("utf-8"))


def operations_of(html: str) -> dict[str, Any]:
    """The packed operations, their indexes summed up."""
    text = html.split('id="operations">')[1].split("</script>")[0]
    return unpacked(text)


def unpacked(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    total, indexes = 0, []
    for step in found["i"]:
        total += step
        indexes.append(total)
    return {**found, "index": indexes}


def test_a_value_has_one_room_for_all_that_is_in_it() -> None:
    for value in LARGE:
        for room in (80, 400, 4_000, 40_000):
            shown = brief(value, room)
            text = json.dumps(shown, ensure_ascii=False)
            # What it may go beyond is marks: one for each level, and the quotes and commas of JSON.
            assert size_of(text) <= 2.2 * room + 200
            assert "\u2026 (" in text
    rng = random.Random(4)
    for _ in range(300):
        value = drawn(rng, 4)
        whole = json.dumps(value)
        assert brief(value, 12 * len(whole)) is value
        shown = brief(value, 60)
        text = json.dumps(shown, ensure_ascii=False)
        assert shown is value or re.search("\u2026.*\\([\\d,]+ (more|characters)\\)", text)
    assert cut("é" * 100, 60) == "é" * 21 + "\u2026 (100 characters)"


def drawn(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(5 if depth else 3)
    if kind < 3:
        return [rng.randrange(10**6), None, rng.choice("ab<&\u202e") * rng.randrange(40)][kind]
    items = [drawn(rng, depth - 1) for _ in range(rng.randrange(6))]
    return items if kind == 3 else {f"k{n}": item for n, item in enumerate(items)}


def heavy_result() -> Result:
    """A checker that says far too much, of 60 anomalies."""
    steps = [{"op": 1, "what": MEGABYTE, "why": MEGABYTE}] * 50
    picture = {
        "op": 3, "states": [{"state": MEGABYTE, "next": steps}] * 30, "why": [MEGABYTE] * 100,
        "order": [[n, MEGABYTE] for n in range(300)], "log": [MEGABYTE] * 100, "node": "n1",
        "answers": {f"n{n}": LARGE for n in range(100)}, **{f"more{n}": LARGE for n in range(20)},
    }  # fmt: skip
    anomalies = tuple(
        Anomaly(
            kind="stale-read", key=n % 7, ops=tuple(range(n, n + 40)), picture=picture,
            explanation=f"{n}. {MEGABYTE}. " * 2,
        )
        for n in range(60)
    )  # fmt: skip
    table = {f"row{n}": {f"column{m}": MEGABYTE for m in range(80)} for n in range(300)}
    heavy = Result(
        verdict="invalid", summary=MEGABYTE, reason=MEGABYTE, kernel=MEGABYTE, anomalies=anomalies,
        assumed=(MEGABYTE,) * 900, undecided=(MEGABYTE,) * 900,
        stats={"table": table, **{f"figure{n}": LARGE for n in range(400)}},
    )  # fmt: skip
    light = Result(verdict="valid", summary=MEGABYTE, stats={"figure": MEGABYTE})
    parts = {"heavy": heavy, **{f"light{n}": light for n in range(300)}}
    return Result(verdict="invalid", summary=MEGABYTE, checkers=parts)


def test_values_of_a_megabyte_leave_the_page_small(tmp_path: Path) -> None:
    history = history_of(LARGE, 300, error="timeout: " + MEGABYTE, ext={"saw": LARGE})
    data = ReportData(result=heavy_result(), history=history, notes=[MEGABYTE] * 50)
    path = write_report(tmp_path / "report.html", data)
    assert path.stat().st_size < SIZE_MAX
    html = path.read_text(encoding="utf-8")
    assert "could not be" not in html
    assert "x" * 20_001 not in html
    first = html.split('<article class="card"')[1]
    assert "\u2026 (1,048,576 characters)" in first
    assert re.search(r"\u2026 \(99,\d\d\d more\)", first)
    assert "nested deeper" in first
    assert "shortened; whole in history.jsonl, lines 1 and 2<" in first
    lines = first.split('id="lines-1" tabindex="0">')[1].split("</pre>")[0].splitlines()
    assert any("shortened here, whole in history.jsonl, lines" in line for line in lines)
    assert "values of this key are shortened on this page" not in first, "it is no register"
    # Every card and every other anomaly is there, or counted.
    cards = html.count('<article class="card"')
    assert cards >= 4
    listed = int(re.search(r"(\d+) more, without pictures", html).group(1))  # type: ignore[union-attr]
    assert cards + listed == 60
    packed = operations_of(html)
    assert len(packed["index"]) == 300
    assert {place for name in "ar" for place in packed[name]} <= {-1, *packed["cut"]}


def test_a_register_of_long_values_tells_no_versions() -> None:
    """Two values that begin alike would look like one, written twice."""
    history = History([
        Op(time_ns=n * MS + part, process=0, type="ok" if part else "invoke", f="write", key="k",
           value=f"{MEGABYTE}{n}")
        for n in range(4) for part in (0, 5)
    ])  # fmt: skip
    anomaly = Anomaly(kind="stale-read", explanation="e", key="k", ops=(1, 5))
    html = build_report(
        ReportData(
            result=Result(verdict="invalid", summary="", anomalies=(anomaly,)), history=history
        )
    )
    assert "values of this key are shortened on this page" in html
    assert "Versions of key" not in html


def test_operations_fit_into_the_room_that_is_left() -> None:
    """Values are cut first, then operations left out; those of the evidence stay to the last."""
    rng = random.Random(5)
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789<&\"'"
    values = ["".join(rng.choices(alphabet, k=400)) for _ in range(3_000)]
    frame = frame_of(history_of(values, 6_000))
    workers = frame.workers(10, frame.last_ns)
    case = [17, 3_000, 5_999]
    seen = []
    for room in (3_000_000, 600_000, 40_000):
        packed = pack(
            frame, workers, lambda limit: choose(frame, [case], (), min(limit, 6_000)), room
        )
        assert len(packed.text) <= room
        assert set(case) <= set(packed.sample.rows.tolist())
        seen.append((max(map(len, unpacked(packed.text)["texts"])), len(packed.sample.rows)))
    (long, every), (short, _), (_, few) = seen
    assert long > 400
    assert every == 6_000
    assert short < 400
    assert few < 6_000


# --- many anomalies, or one of very many operations ---------------------------------------------


OPERATIONS = LIMIT + 20_000


@pytest.fixture(scope="module")
def long_run() -> History:
    """More operations than a page holds, of 50 workers and 400 keys."""
    events: list[Op] = []
    for n in range(OPERATIONS):
        start_ns = n // 50 * 50 * MS + n % 50
        kind: Any = "fail" if n % 97 == 0 else "ok"
        base: dict[str, Any] = {
            "process": n % 50, "f": "read" if n % 3 else "write", "key": n * 7_919 % 400, "value": n,
        }  # fmt: skip
        events.append(Op(time_ns=start_ns, type="invoke", **base))
        events.append(Op(time_ns=start_ns + 9 * MS, type=kind, **base))
    return History(sorted(events, key=lambda op: op.time_ns))


def around(history: History, index: int, reach: int) -> set[int]:
    """Invocations within that many of the event's operation, of any key and of its key."""
    begun = history.invocation(index)
    place = begun if begun is not None else index
    near: set[int] = set()
    for same in (False, True):
        line = [
            op.index
            for op in history
            if op.type == "invoke" and (not same or op.key == history[index].key)
        ]
        at = line.index(place)
        near |= set(line[max(0, at - reach) : at + reach + 1])
    return near


def test_of_many_anomalies_the_first_keep_everything_around_them(long_run: History) -> None:
    total = len(long_run)
    anomalies = tuple(
        Anomaly(
            kind="stale-read", key=long_run[n * 50].key, explanation=f"anomaly {n}",
            ops=tuple(sorted({n * 50, (n * 50 + 1_000) % total, (n * 7_919) % total})),
        )
        for n in range(1, 5_001)
    )  # fmt: skip
    result = Result(verdict="invalid", summary="", anomalies=anomalies)
    html = build_report(ReportData(result=result, history=long_run))
    assert size(html) < SIZE_MAX
    assert html.count('<article class="card"') == 30
    assert "5,000 anomalies</h2>" in html
    assert "500 more, without pictures" in html
    assert "4,470 more anomalies are left out of this page" in html
    assert "all 5,000 are in result.json" in html
    packed = operations_of(html)
    held = set(packed["index"])
    assert len(held) <= LIMIT
    told = re.search(r"all [\d,]+ around (those|the first (\d+) anomalies)", html)
    assert told
    whole = 30 if told.group(1) == "those" else int(told.group(2))
    assert whole >= 10
    for number in (0, 1, whole - 1):
        for index in anomalies[number].ops:
            assert around(long_run, index, 350) <= held
    for anomaly in anomalies[:30]:
        for index in anomaly.ops:
            assert {index, long_run.invocation(index)} & held
    shown = re.findall(r'data-op="(\d+)"', html.split('id="anomaly-1"')[1].split("</table>")[0])
    assert len(shown) == 3


def test_an_anomaly_of_very_many_operations(long_run: History) -> None:
    ops = tuple(range(2_000, 202_000, 2))
    other = Anomaly(kind="lost-write", explanation="b", ops=(210_000, 210_400))
    cycle = Anomaly(kind="cycle", explanation="a", ops=ops, picture={"op": ops[-1]})
    result = Result(verdict="invalid", summary="", anomalies=(cycle, other))
    html = build_report(ReportData(result=result, history=long_run))
    assert size(html) < SIZE_MAX
    first, second = (
        part.split("</article>")[0] for part in html.split('<article class="card"')[1:3]
    )
    rows = [int(n) for n in re.findall(r'<tr[^>]* data-op="(\d+)"', first)]
    assert len(rows) == 60
    assert 'class="culprit" data-op=' in first, (
        "the last operation of all is the one that cannot be"
    )
    more = re.search(r"and ([\d,]+) more that take part", first)
    assert more
    takes_part = {long_run.invocation(i) if long_run[i].type != "invoke" else i for i in ops}
    assert int(more.group(1).replace(",", "")) == len(takes_part) - 60
    held = set(operations_of(html)["index"])
    assert set(rows) <= held
    for index in (*rows[:2], rows[-1], 210_000, 210_400):
        assert around(long_run, index, 60) <= held
    assert second.count("data-op=") == 2


# --- what runs nowhere ---------------------------------------------------------------------------

HOSTILE = [
    "</script><script>window.splitbrainRan = 1; alert(1)</script>",
    "<img src='https://splitbrain.invalid/x' onerror='window.splitbrainRan = 2'>",
    "<svg onload=window.splitbrainRan=3></svg><!-- --> ]]> --!>",
    "'\"><iframe srcdoc=\"<script>parent.splitbrainRan=4</script>\"></iframe>",
    "javascript:window.splitbrainRan=5",
    "</title></style></textarea></pre></svg><script>splitbrainRan=6</script>",
    "{{ 7 * 7 }} ${window.splitbrainRan=7} {% raw %}",
    "nul \x00 bell \x07 escape \x1b[31m surrogate \ud800 \udfff turned \u202e line \u2028",
    {"__proto__": {"splitbrainRan": 8}, "constructor": "</script>", "<b>": ["<i>", "\ud83d"]},
]  # fmt: skip


def hostile_data() -> ReportData:
    """Each text as every part of an operation, of an anomaly and of what a checker says."""
    events = []
    for n, value in enumerate(HOSTILE):
        text = value if isinstance(value, str) else json.dumps(value)
        base: dict[str, Any] = {"process": n, "f": text, "key": text, "node": text}
        events += [
            Op(time_ns=n * MS, type="invoke", value=value, **base),
            Op(time_ns=n * MS + 9 * MS, type="ok", value=[value], error=text, ext={text: value},
               **base),
        ]  # fmt: skip
    history = History(sorted(events, key=lambda op: op.time_ns))
    anomalies = tuple(
        Anomaly(
            kind=text, explanation=text, key=text, ops=tuple(range(len(history))),
            picture={"op": 3, "states": [text], "why": [text], "answers": {text: text}, text: text},
        )
        for text in HOSTILE if isinstance(text, str)
    )  # fmt: skip
    texts = tuple(text for text in HOSTILE if isinstance(text, str))
    result = Result(
        verdict="invalid", summary=" ".join(texts), anomalies=anomalies, assumed=texts,
        undecided=texts, stats=dict.fromkeys(texts, texts),
    )  # fmt: skip
    return ReportData(
        result=result, history=history, log_tails={texts[0]: texts},
        facts=dict.fromkeys(texts, texts),
        events=[{"time_ns": MS, "node": text, "kind": "leader", "term": 1} for text in texts],
    )  # fmt: skip


@pytest.fixture
def hostile(chromium: Any, tmp_path: Path) -> Iterator[Visit]:
    path = write_report(tmp_path / "hostile.html", hostile_data())
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    yield Visit(context.new_page(), path.as_uri())
    context.close()


@pytest.mark.browser
def test_what_a_value_says_is_shown_and_runs_nowhere(hostile: Visit) -> None:
    dialogs: list[str] = []

    def dismissed(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    hostile.page.on("dialog", dismissed)
    page = hostile.ready()
    card = page.locator("#anomaly-1")
    for text in HOSTILE[:7]:
        assert isinstance(text, str)
        assert text in card.inner_text().replace("\n", " ") or text in card.text_content()
    shown = card.text_content()
    for mark in ("nul ␀ bell ␇ escape ␛[31m", "⟨U+D800⟩ ⟨U+DFFF⟩", "⟨U+202E⟩", "⟨U+2028⟩"):
        assert mark in shown
    # The script shows them too: in the list, in the detail, and when the pointer lies on them.
    page.fill("#query", "onerror")
    until(page, lambda: page.locator("#results tbody tr").count() == 1)
    page.locator("#results tbody td").first.click()
    detail = page.locator("#detail").inner_text()
    assert HOSTILE[1] in detail
    page.locator("#strip-timeline .plot").hover()
    page.keyboard.press("n")
    page.wait_for_timeout(200)
    assert page.evaluate("typeof window.splitbrainRan") == "undefined"
    assert page.evaluate("typeof ({}).splitbrainRan") == "undefined"
    assert page.locator("iframe, img, main script:not([type='application/json'])").count() == 0
    assert dialogs == []
    assert hostile.trouble == []
    assert [url for url in hostile.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in hostile.requests if url.startswith("file:")]) == 1
