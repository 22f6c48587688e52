"""All outputs of a drill: each whole at any time, and none keeps another from being written."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from splitbrain.errors import HostError, MalformedFile
from splitbrain.results.drill.earlier import earlier_drills
from splitbrain.results.drill.index import index_page
from splitbrain.results.drill.outputs import read_drill_record, write_outputs
from splitbrain.results.drill.record import DrillRecord
from splitbrain.results.drill.rows import matrix_of, rows_of

FILES = {"drill.json", "junit.xml", "summary.md", "index.html"}


def test_every_file_is_written_and_the_record_reads_back(
    drill: DrillRecord, tmp_path: Path
) -> None:
    write_outputs(drill, tmp_path, summary=tmp_path / "step")
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"step"}
    assert read_drill_record(tmp_path) == drill
    with pytest.raises(MalformedFile, match=r"drill\.json"):
        read_drill_record(tmp_path / "nowhere")


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_texts_that_mean_harm_are_written_too(
    wild: st.SearchStrategy[DrillRecord],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    record = data.draw(wild)
    directory = tmp_path_factory.mktemp("drill")
    write_outputs(record, directory, summary=directory / "step")
    read = msgspec.json.decode((directory / "drill.json").read_bytes())
    assert len(read.get("scenarios", [])) == len(record.scenarios)
    etree.parse(str(directory / "junit.xml"))


def test_one_file_in_the_way_does_not_keep_the_others(
    drill: DrillRecord, tmp_path: Path
) -> None:
    (tmp_path / "junit.xml").mkdir()
    with pytest.raises(HostError) as told:
        write_outputs(drill, tmp_path, summary=tmp_path / "nowhere" / "step")
    assert "junit.xml" in str(told.value)
    assert "step summary" in str(told.value)
    assert read_drill_record(tmp_path) == drill
    assert (tmp_path / "index.html").stat().st_size > 1000
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_a_reader_never_sees_a_part(drill: DrillRecord, tmp_path: Path) -> None:
    short = msgspec.structs.replace(drill, scenarios=drill.scenarios[:1])
    write_outputs(drill, tmp_path)
    whole = {name: {(tmp_path / name).read_bytes()} for name in FILES}
    write_outputs(short, tmp_path)
    for name in FILES:
        whole[name].add((tmp_path / name).read_bytes())
    over = threading.Event()
    partial = []

    def read() -> None:
        while not over.is_set():
            partial.extend(n for n in FILES if (tmp_path / n).read_bytes() not in whole[n])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(15):
        write_outputs(drill, tmp_path)
        write_outputs(short, tmp_path)
    over.set()
    reader.join()
    assert partial == []


class Page(HTMLParser):
    """Links, ids, texts and elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def test_links_of_the_page_lead_somewhere(drill: DrillRecord) -> None:
    page = Page(index_page(drill))
    assert len(page.ids) == len(set(page.ids))
    inner = [link[1:] for link in page.links if link.startswith("#")]
    assert set(inner) <= set(page.ids)
    reports = [link for link in page.links if "report.html" in link]
    assert "runs/register/2026-2/report.html" in reports
    assert len(reports) == 15  # of 16 runs; one could not be run
    assert "elsewhere" not in index_page(drill)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_value_becomes_an_element(
    wild: st.SearchStrategy[DrillRecord], data: st.DataObject
) -> None:
    page = Page(index_page(data.draw(wild)))
    assert page.tags.count("script") == 1
    assert page.handlers == []
    assert "img" not in page.tags
    assert all(re.match(r"#|runs/|\.\./", link) for link in page.links)


def test_the_worst_comes_first(drill: DrillRecord) -> None:
    assert [row.name for row in rows_of(drill)][:5] == [
        "stale",
        "slow",
        "broken",
        "stuck",
        "late",
    ]


def test_the_matrix_holds_what_can_be_compared(drill: DrillRecord) -> None:
    matrix = matrix_of(rows_of(drill))
    assert matrix is not None
    lines = dict(matrix.lines)
    assert [key[0] for key in lines] == ["register", "cas-register", "register"]
    assert list(lines)[2][2] == ("local-leader-read",)  # it shares the fault with other lines
    place = matrix.columns.index(("partition", "sim"))
    assert [row.name for row in lines["register", "minitikv", ()][place].rows] == [
        "stale",
        "late",
    ]
    assert matrix.beside == 0


def test_a_list_is_no_matrix(drill: DrillRecord, make_scenario: Any) -> None:
    each = [make_scenario(f"bug {i}", bugs=(f"b{i}",), nemesis=(f"n{i}",)) for i in range(9)]
    assert matrix_of(rows_of(msgspec.structs.replace(drill, scenarios=tuple(each)))) is None
    more = (*drill.scenarios, *each)
    matrix = matrix_of(rows_of(msgspec.structs.replace(drill, scenarios=more)))
    assert matrix is not None
    assert matrix.beside == 9


def test_earlier_drills_are_read_and_strangers_passed_over(
    drill: DrillRecord, tmp_path: Path
) -> None:
    parent = tmp_path / "nightly"
    for day in range(1, 16):
        there = parent / f"202512{day:02}T000000.000"
        there.mkdir(parents=True)
        write_outputs(msgspec.structs.replace(drill, started=f"day {day}"), there)
    (parent / "20251215T000000.000" / "drill.json").write_text('{"name": "nightly", "scenar')
    (parent / "20251214T000000.000" / "drill.json").write_text('{"name": "other"}')
    (parent / "20251213T000000.000" / "drill.json").unlink()
    (parent / "notes.txt").write_text("x")
    later = parent / "20270101T000000.000"
    later.mkdir()
    write_outputs(drill, later)
    (parent / "latest").symlink_to("20251212T000000.000")
    here = parent / "20260101T000000.000"
    here.mkdir()
    found = earlier_drills(drill, here)
    assert [one.started for one in found] == [f"day {day}" for day in range(3, 13)]
    write_outputs(drill, here)
    page = Page((here / "index.html").read_text())
    assert "../20251212T000000.000/index.html" in page.links
    assert found[0].worst == "failed"
