"""summary.md and GitHub's step summary: short enough, shown as text, one section a drill."""

from __future__ import annotations

import fcntl
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from splitbrain.errors import HostError
from splitbrain.results.drill.record import DrillRecord
from splitbrain.results.drill.step_summary import place_section, write_step_summary
from splitbrain.results.drill.summary import LIMIT_BYTES, escape, summary

OURS = {"details", "summary", "code", "br"}
LONG = 1 << 20


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def test_what_is_not_as_expected_comes_first(drill: DrillRecord) -> None:
    text = summary(drill)
    assert text.startswith("## ✕ drill nightly: 2 of 9 scenarios did not come out as expected.")
    assert "✕ 2 failed · ! 1 error · ? 1 unknown · ⊘ 1 skipped · ✓ 4 passed" in text
    bad, good = text.split("<details>")
    rows = [
        line for line in bad.splitlines() if line.startswith("| ") and "scenario" not in line
    ]
    assert [row.split(" | ")[1] for row in rows] == ["stale", "slow", "broken", "stuck"]
    assert "<code>splitbrain run register --on sim --seed 2</code>" in rows[0]
    assert "runs/register/2026-2/report.html" in rows[0]
    assert "recovery&#45;seconds" in rows[1] or "recovery-seconds 17.25" in rows[1]
    assert "found by some" in good
    assert "elsewhere" not in text


def test_its_tables_are_tables(drill: DrillRecord) -> None:
    page = rendered(summary(drill))
    assert page.count("<table>") == 2
    assert page.count("<tr>") == 2 + 4 + 5
    assert "<b>" not in page
    assert "read &lt;b&gt;3&lt;/b&gt; | 4." in page


def plain(html: str) -> str:
    return re.sub(r"<!-- -->", "", html)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_value_becomes_markup(
    wild: st.SearchStrategy[DrillRecord], data: st.DataObject
) -> None:
    text = summary(data.draw(wild))
    page = plain(rendered(text))
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z!][^\s>/]*)", page))
    own = {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "em"}
    assert tags <= OURS | own
    for row in re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL):
        assert len(re.findall(r"<t[dh]>", row)) in (5, 10)
    assert text.count("<details>") == text.count("</details>")


@settings(max_examples=50, deadline=None)
@given(
    text=st.text()
    | st.sampled_from(["`a`", "a|b", "<!--", "&lt;", "http://x", "www.x.y", "@z"])
)
def test_an_escaped_text_is_shown_as_it_is(text: str) -> None:
    shown = plain(
        MarkdownIt("commonmark", {"html": True}).renderInline("x" + escape(text) + "x")
    )
    assert "<" not in shown
    assert "://" not in escape(text)
    back = (
        shown.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", '"')
        .replace("&amp;", "&")
    )
    from splitbrain.results.text import visible

    assert back == "x" + " ".join(visible(text).split()) + "x"


def many(
    drill: DrillRecord, make_scenario: Callable[..., Any], make_run: Callable[..., Any]
) -> DrillRecord:
    runs = [make_run(seed, "invalid", sentence="INVALID: <" + "é" * 300) for seed in range(20)]
    bad = [make_scenario(f"bad {i}", *runs[:3], status="failed") for i in range(20)]
    good = [make_scenario(f"good {i}" + "é" * 400, *runs[:1]) for i in range(2000)]
    return msgspec.structs.replace(drill, scenarios=(*good, *bad))


def test_rows_that_passed_are_left_out_first(
    drill: DrillRecord, make_scenario: Callable[..., Any], make_run: Callable[..., Any]
) -> None:
    record = many(drill, make_scenario, make_run)
    text = summary(record)
    assert len(text.encode()) <= LIMIT_BYTES < LONG
    assert text.count("| ✕ failed |") == 60
    left = int(re.search(r"([\d,]+) more left out here for length", text)[1].replace(",", ""))  # type: ignore[index]
    assert text.count("| ✓ passed |") + left == 2000
    short = summary(record, 20_000)
    assert len(short.encode()) <= 20_000
    assert "more runs not as expected: left out here for length" in short
    assert "2,000 more left out here for length" in short
    assert summary(record, 100) == ""


def test_a_section_is_replaced_and_others_stay(drill: DrillRecord, tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"# of another tool, without a newline \xff")
    started = msgspec.structs.replace(drill, finished=False)
    write_step_summary(started, path)
    with path.open("ab") as file:
        file.write(b"after\n")
        write_step_summary(drill, path)
        file.write(b"still after\n")
        file.flush()
        write_step_summary(drill, path)
    text = path.read_bytes()
    assert text.startswith(b"# of another tool, without a newline \xff\n<!--")
    assert text.count(b"\n## ") == 1
    assert b"is not finished" not in text
    assert text.endswith(b"-->\nafter\nstill after\n")


def test_a_shorter_section_leaves_nothing_behind(drill: DrillRecord, tmp_path: Path) -> None:
    path = tmp_path / "summary"
    write_step_summary(drill, path)
    short = msgspec.structs.replace(drill, scenarios=drill.scenarios[:1])
    write_step_summary(short, path)
    assert path.read_bytes() == place_section(b"", short)


def test_writers_take_turns(drill: DrillRecord, tmp_path: Path) -> None:
    path = tmp_path / "summary"
    writer = threading.Thread(target=write_step_summary, args=(drill, path))
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer.start()
        writer.join(timeout=0.2)
        assert writer.is_alive()
        file.write(b"of another drill\n")
        file.flush()
    writer.join(timeout=10)
    assert path.read_bytes().startswith(b"of another drill\n<!--")


def test_two_drills_of_a_step_have_a_section_each(drill: DrillRecord, tmp_path: Path) -> None:
    path = tmp_path / "summary"
    other = msgspec.structs.replace(drill, directory="store/drills/nightly/20260102T000000.000")
    writers = [
        threading.Thread(
            target=lambda one=one: [write_step_summary(one, path) for _ in range(20)]
        )
        for one in (drill, other)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text().count("## ✕ drill nightly") == 2


def test_what_a_killed_writer_left_is_replaced(drill: DrillRecord) -> None:
    whole = place_section(b"before\n", drill)
    for cut in range(len(b"before\n"), len(whole), 97):
        mended = place_section(whole[:cut], drill)
        assert mended.endswith(whole.removeprefix(b"before\n")), cut
        assert mended.count(b"\n## ") == 1


def test_the_section_leaves_room_for_others(drill: DrillRecord) -> None:
    others = b"x" * 990_000 + b"\n"
    with_ours = place_section(others, drill)
    assert with_ours.startswith(others)
    assert len(others) < len(with_ours) <= LIMIT_BYTES
    full = b"x" * (LIMIT_BYTES - 100) + b"\n"
    assert place_section(full, drill) == full


def test_a_file_that_cannot_be_written_is_told(drill: DrillRecord, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"step summary .*nowhere"):
        write_step_summary(drill, tmp_path / "nowhere" / "summary")
