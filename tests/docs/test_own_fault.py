"""docs/own-fault.md works as printed: its blocks are taken out of the page, loaded and run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from splitbrain.cli import main
from splitbrain.results.runs import Run, read_run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-fault.md").read_text()
TEN_LINES, CLASS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
((COMMAND, PRINTED),) = re.findall(r"```\n\$ splitbrain (.*?)\n(.*?)```", PAGE, flags=re.DOTALL)
FIGURES = re.compile(r"\d[\dT,.]*")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(place: Path, text: str, command: str = COMMAND) -> tuple[int, str, Run]:
    """What the page's command comes to with this in ``my_fault.py``."""
    (place / "my_fault.py").write_text(text)
    done = CliRunner().invoke(main, command.split())
    assert "Traceback" not in done.output
    return done.exit_code, done.stdout, read_run((place / "store" / "latest").resolve())


def starts(recorded: Run, fault: str) -> list[list[dict[str, object]]]:
    """The proofs of each application."""
    told = [
        op.value["proof"]
        for op in recorded.history
        if op.f == f"start-{fault}" and "proof" in op.value
    ]
    assert told
    return told


def test_the_ten_lines_are_ten_and_come_to_what_the_page_prints(place: Path) -> None:
    assert len([line for line in TEN_LINES.splitlines() if line.strip()]) == 10
    code, stdout, recorded = run(place, TEN_LINES)
    assert code == 0
    assert FIGURES.sub("N", stdout) == FIGURES.sub("N", PRINTED)
    due = [
        proof
        for proofs in starts(recorded, "yesterday")
        for proof in proofs
        if "masked" not in proof
    ]
    assert due
    assert all(proof["effective"] is True for proof in due)
    (line,) = re.findall(r'^\{"effective".*\}$', PAGE, flags=re.MULTILINE)
    assert line in (place / "store" / "latest" / "history.jsonl").read_text()


def test_at_the_end_it_is_mended_and_the_history_says_so(place: Path) -> None:
    # Ended in the middle of a fault, so that the heal phase has something to mend.
    _, _, recorded = run(place, TEN_LINES)
    events = [(op.f, op.value) for op in recorded.history if op.process < 0]
    (heal,) = [
        at for at, (f, value) in enumerate(events) if (f, value) == ("phase", {"phase": "heal"})
    ]
    stopped = [
        value for f, value in events[heal:] if f == "stop-yesterday" and "proof" in value
    ]
    assert stopped
    assert all(
        proof["observed"] == "seen no more" for value in stopped for proof in value["proof"]
    )
    begun = [value["id"] for f, value in events if f == "start-yesterday" and "proof" in value]
    ended = [value["id"] for f, value in events if f == "stop-yesterday" and "proof" in value]
    assert sorted(begun) == sorted(ended)
    assert [op.error for op in recorded.history if op.f == "heal-all"] == [None, None]


def test_a_hurt_that_does_nothing_is_found_out(place: Path) -> None:
    body = "    await world.testbed.clock.jump(node, -86_400_000)\n"
    assert body in TEN_LINES
    code, stdout, recorded = run(place, TEN_LINES.replace(body, "    pass\n"))
    assert code == 3
    assert stdout.splitlines()[1] in PAGE.splitlines()
    assert recorded.result is not None
    assert recorded.result.reason == "no-effect"
    assert {
        proof["effective"]
        for proofs in starts(recorded, "yesterday")
        for proof in proofs
        if "masked" not in proof
    } == {False}


def test_the_class_limps_and_is_proven_by_its_figures(place: Path) -> None:
    code, _, recorded = run(place, CLASS, COMMAND.replace("yesterday", "limp"))
    assert code == 0
    for (proof,) in starts(recorded, "limp"):
        assert proof["effective"] is True
        before, after = map(float, re.findall(r"([\d.]+) ms", str(proof["observed"])))
        assert after - before >= 99
