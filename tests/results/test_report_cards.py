"""A card explains its anomaly: states, versions, the nodes' words, copies; as data and in a browser."""

from __future__ import annotations

import doctest
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.synthetic import Shape, synthetic
from splitbrain.checkers.verdict import Anomaly, Result
from splitbrain.env.random import Random
from splitbrain.history.edn import read_edn
from splitbrain.history.history import History
from splitbrain.history.jsonl import read_history
from splitbrain.history.op import NEMESIS, Op
from splitbrain.results.logs import log_lines_around, started_wall_ns
from splitbrain.results.report import ReportData, advice, build_report, copies, write_report
from splitbrain.results.report.intervals import intervals_of
from splitbrain.results.report.order import points_of
from splitbrain.results.report.states import reasoning_of
from splitbrain.results.report.versions import versions_of

from .browser import CHROMIUM, until

SECOND = 1_000_000_000


def history_of(script: str, *, timeless: bool = False) -> History:
    """Events as lines ``process type f value``, a second apart; process n speaks to node n."""
    ops: list[Op] = []
    for line in script.strip().splitlines():
        process, kind, f, text = line.split()
        parts = [None if part == "nil" else int(part) for part in text.split(">")]
        value = parts if f == "cas" else parts[0]
        ops.append(
            Op(process=int(process), type=kind, f=f, key="x", value=value, node=f"n{process}",
               time_ns=-1 if timeless else len(ops) * SECOND)  # type: ignore[arg-type]
        )  # fmt: skip
    return History(ops)


STALE = """
0 invoke write 3
0 ok write 3
1 invoke write 9
1 ok write 9
4 invoke read nil
4 ok read 9
7 invoke read nil
7 ok read 3
"""
LOST = """
0 invoke write 1
0 ok write 1
1 invoke write 2
1 ok write 2
2 invoke read nil
2 ok read 1
3 invoke read nil
3 ok read 1
"""


def data_of(script: str, *, timeless: bool = False, **more: Any) -> ReportData:
    history = history_of(script, timeless=timeless)
    result = LinearizableChecker("cas-register").check(history, {}, Budget(10))
    return ReportData(result=result, history=history, **more)


# --- states ------------------------------------------------------------------------------------


def test_a_stale_read_is_explained_by_states_and_an_order() -> None:
    html = build_report(data_of(STALE))
    assert "Possible states before it, and why it cannot come next" in html
    assert "read 3 needs the value 3; here it is 9" in html
    assert "Of all 4 operations on the object begun by then." in html
    picture = html.split('<svg class="picture"')[1].split("</svg>")[0]
    assert picture.count('class="point"') == 3
    assert picture.count('class="path"') == 1
    assert picture.count('class="cross"') == 1
    assert '<text class="valuetext"' in picture


def test_a_history_without_times_has_it_too() -> None:
    html = build_report(data_of(STALE, timeless=True))
    assert "read 3 needs the value 3; here it is 9" in html
    assert "could not be shown" not in html
    assert "What the nodes said" not in html


@pytest.mark.parametrize(
    "data",
    [
        {"states": [{"next": 3, "order": "x", "open": [1], "earlier": "y"}], "order": [[1]]},
        {
            "states": 5,
            "why": {},
            "calls": None,
            "scope": 3,
            "left_out": "z",
            "order": [["a", 1]],
        },
        {"impossible": ["text", {"op": "x"}], "unstated": 7},
    ],
)
def test_shapeless_states_do_no_harm(data: Mapping[str, Any]) -> None:
    reasoning_of(data)
    anomaly = Anomaly(kind="k", explanation="e", ops=(0, 1), picture=data)
    result = Result(verdict="invalid", summary="", anomalies=(anomaly,))
    html = build_report(ReportData(result=result, history=history_of(STALE)))
    assert "could not be shown" not in html


def test_points_never_run_back_in_time() -> None:
    intervals = {i.begin.index: i for i in intervals_of(history_of(STALE))}
    points = points_of([(0, "3"), (2, "9"), (4, "9")], intervals, 7 * SECOND)
    assert [point.op for point in points] == [0, 2, 4]
    times = [point.time_ns for point in points]
    assert times == sorted(times)
    for point in points:
        assert intervals[point.op].start_ns <= point.time_ns <= intervals[point.op].until_ns(0)


# --- versions ----------------------------------------------------------------------------------


def told(script: str, order: tuple[int, ...] = ()) -> list[tuple[str, str, bool]]:
    """Value, marks and branch of each row."""
    found = versions_of(intervals_of(history_of(script)), (), order)
    assert found is not None
    return [(r.value, " ".join(word for word, _ in r.marks), r.branch) for r in found.rows]


def test_readers_who_disagree_fork_the_history() -> None:
    assert told(STALE) == [("3", "", False), ("9", "", False), ("3", "fork", True)]


def test_a_stale_read_by_the_only_reader() -> None:
    script = STALE.replace("4 invoke", "7 invoke").replace("4 ok", "7 ok")
    assert told(script) == [("3", "", False), ("9", "", False), ("3", "stale", True)]


def test_a_lost_write_is_a_dead_end() -> None:
    assert told(LOST) == [("1", "", False), ("2", "lost", True)]


def test_what_was_refused_made_up_or_early_is_marked() -> None:
    script = """
    0 invoke write 1
    0 fail write 1
    1 invoke read nil
    1 ok read 1
    2 invoke read nil
    2 ok read 8
    3 invoke read nil
    3 ok read 5
    4 invoke write 5
    4 ok write 5
    """
    assert {value: marks for value, marks, _ in told(script)} == {
        "1": "refused", "8": "phantom", "5": "future"
    }  # fmt: skip


def test_a_write_of_unknown_outcome_seen_again() -> None:
    script = """
    0 invoke write 1
    0 info write 1
    1 invoke read nil
    1 ok read 1
    2 invoke write 2
    2 ok write 2
    3 invoke read nil
    3 ok read 1
    """
    assert told(script) == [("1", "unknown", False), ("2", "lost", True)]
    seen = script + "    3 invoke read nil\n    3 ok read 2\n"
    assert told(seen)[-1] == ("1", "again", True) or ("1", "again", True) in told(seen)


def test_an_order_tells_equal_values_apart() -> None:
    """Value 1 is written twice while a read runs that saw it: the order says which it saw."""
    script = """
    0 invoke write 1
    0 ok write 1
    1 invoke write 2
    2 invoke read nil
    3 invoke write 1
    1 ok write 2
    2 ok read 1
    3 ok write 1
    """
    line = intervals_of(history_of(script))
    seen = []
    for order in ((0, 3, 2, 4), (0, 2, 4, 3)):
        found = versions_of(line, (), order)
        assert found is not None
        seen.append({row.op: row.seen for row in found.rows if row.value == "1"})
    assert seen[0] == {0: "1 time", 4: "never"}
    assert seen[1] == {0: "never", 4: "1 time"}
    assert all("duplicate" in marks for value, marks, _ in told(script) if value == "1")


@pytest.mark.parametrize("values", [0, 3])
@pytest.mark.parametrize("functions", [("read", "write"), ("read", "write", "cas", "delete")])
def test_nothing_odd_is_told_of_a_history_that_is_right(
    values: int, functions: tuple[str, ...]
) -> None:
    """Whatever is marked is a violation: none in 200 histories made by an atomic object."""
    for seed in range(200):
        stream = Random(seed).stream("versions")
        shape = Shape(
            calls=20, processes=4, functions=functions, values=values, crash=0.2, refuse=0.1
        )
        line = intervals_of(synthetic(stream, shape))
        found = versions_of(line, [i.begin.index for i in line])
        assert found is not None
        assert found.odd == 0, [(row.value, row.marks) for row in found.rows if row.marks]


def test_other_objects_have_no_versions() -> None:
    ops = [Op(process=0, type="invoke", f="enqueue", key="x", value=1)]
    assert versions_of(intervals_of(ops), ()) is None
    assert versions_of([], ()) is None


def test_many_versions_show_those_near_the_anomaly() -> None:
    lines = []
    for n in range(100, 300):
        lines += [f"0 invoke write {n}", f"0 ok write {n}"]
    script = "\n".join([*lines[:200], *STALE.strip().splitlines(), *lines[200:]])
    about = range(200, 208)
    found = versions_of(intervals_of(history_of(script)), about)
    assert found is not None
    assert len(found.rows) == 24
    assert found.earlier > 80
    assert found.later > 80
    assert [row.value for row in found.rows if row.culprit] == ["3", "9", "3"]


# --- what nodes said ---------------------------------------------------------------------------


def test_log_lines_of_each_form_are_set_against_the_test(tmp_path: Path) -> None:
    wall_ns = 1_795_583_681 * SECOND  # 05:14:41 UTC
    events = [{"kind": "test-start", "time_ns": 5, "wall_ns": wall_ns + 5}]
    assert started_wall_ns(events) == wall_ns
    (tmp_path / "n1.log").write_text("   1.5 early\n   9.250000   at\n  more\n  30.0 late\n")
    (tmp_path / "n2.log").write_text("05:14:50.500000 n2 told\nTraceback:\n  deep\n")
    (tmp_path / "n3.log").write_text(
        '{"ts":"2026-11-25T05:14:51.25Z"}\n2026-11-25T05:14:52Z hi\n'
    )
    (tmp_path / "n4.log").write_bytes(b"\xff\xfe no time here\n\x00\n")
    found = log_lines_around(tmp_path, [10 * SECOND], wall_ns)
    assert {node: [tuple(line) for line in lines] for node, lines in found.items()} == {
        "n1": [(9_250_000_000, "  at"), (9_250_000_000, "  more")],
        "n2": [(9_500_000_000, "told"), (9_500_000_000, "Traceback:"),
               (9_500_000_000, "  deep")],
        "n3": [(11 * SECOND, "hi")],
    }  # fmt: skip
    assert "n2" not in log_lines_around(tmp_path, [10 * SECOND])
    assert log_lines_around(tmp_path / "absent", [0]) == {}


def test_a_run_past_midnight(tmp_path: Path) -> None:
    (tmp_path / "n1.log").write_text("23:59:59.0 n1 a\n00:00:01.0 n1 b\n")
    found = log_lines_around(tmp_path, [2 * SECOND], 86_399 * SECOND)
    assert [tuple(line) for line in found["n1"]] == [(0, "a"), (2 * SECOND, "b")]


def test_a_large_log_is_read_near_the_moment_alone(tmp_path: Path) -> None:
    path = tmp_path / "n1.log"
    path.write_text("".join(f"{n / 100:12.6f} line {n}\n" for n in range(200_000)))
    (lines,) = log_lines_around(tmp_path, [1_234 * SECOND]).values()
    assert [line.text for line in lines] == [f"line {n}" for n in range(123_200, 123_601)]


def test_a_card_shows_what_nodes_said() -> None:
    lines = {"n7": [(6 * SECOND, "leader in term 4"), (90 * SECOND, "too late")]}
    events = [
        {"time_ns": 6 * SECOND, "node": "n7", "kind": "leader", "term": 4},
        {"time_ns": 5 * SECOND, "node": "n4", "kind": "lease", "term": 3},
    ]
    html = build_report(data_of(STALE, log_lines=lines, events=events))
    part = html.split("What the nodes said")[1].split("</details>")[0]
    assert "leader in term 4" in part
    assert "too late" not in part
    assert "lease: term 3" in part
    assert "2 lines" in part, "an event that a log line tells is left out"


# --- copies and other cards --------------------------------------------------------------------


def test_copies_give_back_the_operations(tmp_path: Path) -> None:
    odd = "\u202e \x00 </pre> \U0001f600 \n"
    ops = [
        Op(index=0, time_ns=5, process=0, type="invoke", f="read", key=odd, value=None),
        Op(index=1, time_ns=9, process=0, type="ok", f="read", key=odd, value=[odd, {"a": 1.5}],
           error=odd, ext={"saw": odd}),
    ]  # fmt: skip
    (tmp_path / "h.jsonl").write_text(copies.json_lines(ops) + "\n", encoding="utf-8")
    (tmp_path / "h.edn").write_text(copies.edn_lines(ops) + "\n", encoding="utf-8")
    assert list(read_history(tmp_path / "h.jsonl")[0]) == ops
    assert list(read_edn(tmp_path / "h.edn")) == ops
    for text in (copies.json_lines(ops), copies.edn_lines(ops)):
        assert "\u202e" not in text
        assert "\x00" not in text


def test_a_copy_is_bounded_and_says_so() -> None:
    ops = [Op(index=n, process=0, type="invoke", f="w", value="v" * 20_000) for n in range(8)]
    text = copies.json_lines(ops)
    assert len(text) < 70_000
    assert text.endswith("more operations are too long for a copy: see history.jsonl")


def test_a_divergence_shows_what_each_node_answered() -> None:
    anomaly = Anomaly(
        kind="divergence", explanation="they differ", ops=(5, 7), key="x",
        picture={"op": 7, "answers": {"n4": "9", "n7": "3"}, "quiet_ns": 1},
    )  # fmt: skip
    result = Result(verdict="invalid", summary="", anomalies=(anomaly,))
    html = build_report(ReportData(result=result, history=history_of(STALE)))
    assert "What each node answered last" in html
    assert "whether both apply the same log" in html


def test_no_progress_says_where_to_look() -> None:
    result = Result(verdict="unknown", summary="worker 3 had no success", reason="no-progress")
    html = build_report(ReportData(result=result, history=history_of(STALE)))
    assert "whether there was a leader at all" in html


def test_a_node_crash_without_operations_has_words_and_copies() -> None:
    crash = Op(index=0, time_ns=SECOND, process=NEMESIS, type="info", f="node-crash", value={})
    anomaly = Anomaly(
        kind="node-crash",
        explanation="n1 ended",
        ops=(0,),
        picture={"node": "n1", "log": ["a"]},
    )
    data = ReportData(
        result=Result(verdict="invalid", summary="", anomalies=(anomaly,)),
        history=History([crash]),
        log_lines={"n2": [(2 * SECOND, "n1 is gone")]},
    )
    html = build_report(data)
    assert "n1 is gone" in html
    assert "a node ended by itself" in html
    assert 'id="edn-1"' in html


def test_cards_lead_to_each_other() -> None:
    first = data_of(STALE).result.anomalies[0]
    others = [
        msgspec.structs.replace(first, explanation=f"e{n}", key=key)
        for n, key in enumerate(["y", "x"])
    ]
    result = Result(verdict="invalid", summary="", anomalies=(first, *others))
    html = build_report(ReportData(result=result, history=history_of(STALE)))
    cards = html.split('<article class="card"')[1:]
    assert 'href="#anomaly-2" rel="next"' in cards[0]
    assert '<a href="#anomaly-3">next of this key' in cards[0]
    assert 'href="#anomaly-1" rel="prev"' in cards[1]
    assert 'rel="next"' not in cards[2]


def test_a_card_as_text() -> None:
    html = build_report(data_of(LOST))
    text = html.split('<pre id="text-1" tabindex="0">')[1].split("</pre>")[0]
    assert text.startswith("lost write of key x\nkey &#34;x&#34;: the write of 2 by process 1")
    assert "read 1 needs the value 1; here it is 2" in text
    assert "&lt;- this cannot be" in text
    assert "lost: nobody saw it" in text


def test_documented_examples() -> None:
    for module in (advice, copies):
        assert doctest.testmod(module).failed == 0


# --- in a browser ------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.skipif(
    CHROMIUM is None,
    reason="chromium is not installed: `apt-get install chromium` and run again",
)
def test_copy_and_read_in_a_browser(tmp_path: Path) -> None:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: `pip install -e .[dev]`"
    )
    lines = {"n7": [(6 * SECOND, "leader in term 4")]}
    path = write_report(tmp_path / "card.html", data_of(STALE, log_lines=lines))
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for grants in (["clipboard-read", "clipboard-write"], []):
            page = browser.new_context(permissions=grants).new_page()
            trouble: list[str] = []
            page.on("pageerror", lambda error, to=trouble: to.append(str(error)))
            page.goto(path.as_uri())
            page.wait_for_selector("html.ready")
            button = page.locator("#anomaly-1 [data-copy=lines-1]")
            button.click()
            for _ in range(100):
                if button.inner_text() == "Copied":
                    break
                page.wait_for_timeout(20)
            assert button.inner_text() == "Copied"
            assert trouble == []
            if grants:
                copied = page.evaluate("navigator.clipboard.readText()")
                assert [json.loads(line)["index"] for line in copied.splitlines()] == list(
                    range(8)
                )
        # Where the browser refuses both ways, the text is shown selected.
        page.evaluate("document.execCommand = () => false")
        page.locator("#anomaly-1 [data-copy=edn-1]").click()
        until(page, lambda: ":type :invoke" in page.evaluate("getSelection().toString()"))
        page.locator("#anomaly-1 .copies > summary").click()
        card = page.locator("#anomaly-1")
        for summary, words in (
            ("Versions of key x", "process 4 on n4 had seen 9"),
            ("What the nodes said", "leader in term 4"),
            ("The order in words", "#2 leaves 9"),
            ("These operations as JSON lines", ":type :invoke, :process 0, :f :write"),
        ):
            assert words not in card.inner_text()
            card.locator("summary", has_text=summary).click()
            assert words in card.inner_text()
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto(path.as_uri())
        plain.locator("summary", has_text="Versions of key x").click()
        assert "process 4 on n4 had seen 9" in plain.locator("#anomaly-1").inner_text()
        assert plain.locator("#anomaly-1 [data-copy]").first.is_hidden()
        browser.close()
