"""The journal on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from splitbrain.errors import HostError
from splitbrain.substrates.journal import FileJournal, read_acts, read_link, state_directory


def test_records_are_read_back(tmp_path) -> None:
    journal = FileJournal(str(tmp_path / "journal.jsonl"))
    one = journal.intent("start-process", target="n1", undo="end-process")
    two = journal.intent("kill", target="n1", undo="")
    journal.done(one, pid=42, start=7)
    journal.undone(one)
    three = journal.intent("pause", target="n2", undo="resume")
    assert (one, two, three) == (1, 2, 3)
    acts = read_acts(journal.path)
    assert list(acts) == [1, 2, 3]
    assert acts[1].name == "start-process"
    assert acts[1].fields == {"target": "n1", "undo": "end-process"}
    assert acts[1].result == {"pid": 42, "start": 7}
    assert [act.undone for act in acts.values()] == [True, False, False]
    assert acts[2].result is None
    assert journal.unfinished == 1
    journal.close()


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_journal_gives_all_whole_records(tmp_path, cut: int) -> None:
    journal = FileJournal(str(tmp_path / "journal.jsonl"))
    journal.intent("one", undo="x")
    size = os.path.getsize(journal.path)
    journal.done(1, pid=5)
    journal.intent("two", undo="y")
    journal.close()
    data = Path(journal.path).read_bytes()
    Path(journal.path).write_bytes(data[: len(data) - cut])
    whole = data[: len(data) - cut].rpartition(b"\n")[0]
    acts = read_acts(journal.path)
    assert (1 in acts) == (len(whole) >= size - 1)
    assert (2 in acts) == (cut <= 1)


def test_an_intent_is_durable_before_it_returns(tmp_path, monkeypatch) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), real(handle)))
    journal = FileJournal(str(tmp_path / "journal.jsonl"))
    before = len(synced)
    number = journal.intent("pause", undo="resume")
    assert len(synced) == before + 1
    journal.done(number)
    assert len(synced) == before + 1
    journal.close()


def test_the_link_stands_from_the_first_moment_until_all_is_undone(tmp_path) -> None:
    journal = FileJournal(str(tmp_path / "journal.jsonl"), label="run-7")
    path = Path(state_directory()) / "run-7.json"
    link = read_link(str(path))
    assert link.label == "run-7"
    assert link.journal == journal.path
    assert link.pid == os.getpid()
    assert link.tool_runs
    number = journal.intent("start-process", target="n1", undo="end-process")
    journal.intent("kill", target="n1", undo="")
    assert not journal.close(), "something is left to undo"
    assert path.exists()
    again = FileJournal(str(tmp_path / "journal.jsonl"), label="run-7")
    number = again.intent("start-process", target="n1", undo="end-process")
    again.undone(number)
    assert again.close()
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_the_state_directory_can_be_given(tmp_path) -> None:
    journal = FileJournal(str(tmp_path / "j"), label="x", state=str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "x.json").exists()
    assert journal.close()


@pytest.mark.parametrize("hook", ["AT", "BEFORE"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_fail_points_end_the_tool(tmp_path, hook: str, number: int) -> None:
    code = (
        "import sys; from splitbrain.substrates.journal import FileJournal\n"
        "j = FileJournal(sys.argv[1]); n = j.intent('a', undo='b'); j.done(n); j.undone(n)\n"
    )
    path = tmp_path / "journal.jsonl"
    environment = {**os.environ, f"SPLITBRAIN_FAIL_{hook}_JOURNAL": str(number)}
    ended = subprocess.run([sys.executable, "-c", code, str(path)], env=environment)
    assert ended.returncode == -9
    assert len(path.read_text().splitlines()) == number - (hook == "BEFORE")


def test_what_cannot_be_written_is_one_line(tmp_path) -> None:
    with pytest.raises(HostError, match="No such file") as missing:
        FileJournal(str(tmp_path / "nowhere" / "journal.jsonl"))
    assert "\n" not in str(missing.value)
    full = FileJournal("/dev/full") if os.path.exists("/dev/full") else None
    if full is not None:
        with pytest.raises(HostError, match="No space left"):
            full.intent("x")
        full.close()
    journal = FileJournal(str(tmp_path / "journal.jsonl"))
    journal.close()
    with pytest.raises(HostError):
        journal.done(1)
