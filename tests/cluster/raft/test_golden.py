"""Scenes with a few nodes, told line by line.

Each file in ``golden/`` is a scene: comments, a command, ``----``, and what happened, up to an empty
line.  ``pytest tests/cluster/raft --rewrite`` writes what happens now.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .script import Script

SCENES = sorted((Path(__file__).parent / "golden").glob("*.txt"))


def play(text: str) -> str:
    script = Script()
    told: list[str] = []
    output: list[str] = []
    skipping = False
    for line in text.splitlines():
        if not line:
            skipping = False
        if skipping:
            continue
        if line == "----":
            skipping = True
            told += ["----", *output]
            continue
        told.append(line)
        if line and not line.startswith("#"):
            output = script.run(line)
    return "\n".join(told) + "\n"


def complete(text: str) -> str:
    """Put ``----`` after commands that have none yet (a scene just written)."""
    lines = text.splitlines()
    done: list[str] = []
    skipping = False
    for place, line in enumerate(lines):
        if not line:
            skipping = False
        if line == "----":
            skipping = True
        done.append(line)
        following = lines[place + 1] if place + 1 < len(lines) else ""
        command = line and not line.startswith("#") and not skipping
        if command and following != "----":
            done += ["----", *([""] if following else [])]
    return "\n".join(done)


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_scene(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text()
    if request.config.getoption("--rewrite"):
        path.write_text(play(complete(text)))
        return
    assert play(text) == text


def test_there_are_scenes() -> None:
    assert len(SCENES) >= 12
