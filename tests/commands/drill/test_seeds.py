"""seeds.toml: nothing is lost, whatever is in a name and however many write at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splitbrain.commands.drill.seeds import (
    PASSES_TO_FORGET,
    Failing,
    Outcome,
    SeedFile,
    read_seeds,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["smoke", "night.ly", "n-1"]),
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
            st.integers(0, 2**59),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        ),
        max_size=8,
    )
)
def test_what_is_told_is_read_again(
    tmp_path: Path, told: list[tuple[str, str, int, str]]
) -> None:
    path = tmp_path / "seeds.toml"
    path.unlink(missing_ok=True)
    expected: dict[str, dict[str, dict[int, Failing]]] = {}
    for drill, scenario, seed, word in told:
        SeedFile(path, drill).tell(
            Outcome(scenario=scenario, seed=seed, word=word, passed=False, day="2026-11-25")
        )
        failing = Failing(verdict=word, since="2026-11-25")
        expected.setdefault(drill, {}).setdefault(scenario, {})[seed] = failing
    assert read_seeds(path) == expected


def outcome(seed: int, *, passed: bool) -> Outcome:
    return Outcome(scenario="a b", seed=seed, word="invalid", passed=passed, day="2026-11-25")


def test_a_failure_begins_the_count_of_passes_anew(tmp_path: Path) -> None:
    file = SeedFile(tmp_path / "seeds.toml", "smoke")
    file.tell(outcome(3, passed=True))
    assert not file.path.exists(), "a pass of a seed that never failed is nothing"
    file.tell(outcome(3, passed=False))
    for _ in range(PASSES_TO_FORGET - 1):
        file.tell(outcome(3, passed=True))
    file.tell(outcome(3, passed=False))
    for _ in range(PASSES_TO_FORGET - 1):
        file.tell(outcome(3, passed=True))
    assert file.remembered() == {"a b": (3,)}
    file.tell(outcome(3, passed=True))
    assert file.remembered() == {}


def test_what_people_write_is_kept(tmp_path: Path) -> None:
    file = SeedFile(tmp_path / "seeds.toml", "smoke")
    file.path.write_text('[smoke."a b"]\n7 = { note = "the one of June" }\n[other.x]\n1 = {}\n')
    assert file.remembered() == {"a b": (7,)}
    file.tell(outcome(8, passed=False))
    entries = read_seeds(file.path)
    assert entries["smoke"]["a b"][7] == Failing(note="the one of June")
    assert entries["other"] == {"x": {1: Failing()}}


WRITER = """
import sys
from pathlib import Path
from splitbrain.commands.drill.seeds import Outcome, SeedFile
file = SeedFile(Path(sys.argv[1]), "smoke")
sys.stdin.readline()
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    file.tell(Outcome(scenario="s", seed=seed, word="invalid", passed=False))
"""


def test_two_drills_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "seeds.toml"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first), str(first + 60)],
            stdin=subprocess.PIPE,
        )
        for first in (0, 100)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert SeedFile(path, "smoke").remembered() == {"s": (*range(60), *range(100, 160))}
    assert [one.name for one in tmp_path.iterdir()] == ["seeds.toml"], "nothing else is left"


FILE = '[[scenario]]\nname = "a"\nworkload = "register"\non = "sim"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1", 1),
        ("[some]\n\na = 3", 3),
        ("[some.a]\n1 = {}\nx = {}", 3),
        ("[some.a]\n1 = 7", 2),
        ("[some.a]\n1 = { verdct = 'x' }", 2),
        ("[some.a]\n-1 = {}", 2),
        ("[some.a\n", 1),
    ],
)
def test_a_malformed_file_is_told_by_its_line(
    text: str,
    line: int,
    write: Callable[..., Path],
    invoke: Callable[..., Any],
    one_line: Callable[..., str],
) -> None:
    path = write(text, "seeds.toml")
    done = invoke("drill", write(FILE), "--dry-run")
    assert done.exit_code == 2
    assert one_line(done).startswith(f"{path}:{line}: ")


def test_seeds_of_a_scenario_that_is_gone_are_told(
    write: Callable[..., Path], invoke: Callable[..., Any]
) -> None:
    write("[some.a]\n4 = {}\n[some.b]\n1 = {}\n[other.c]\n1 = {}\n", "seeds.toml")
    done = invoke("drill", write(FILE), "--dry-run")
    assert done.exit_code == 0
    assert "some has no scenario 'b'; its seeds are passed over" in done.stderr
    assert "'c'" not in done.stderr
    assert "seeds 1, first 4 again" in done.stdout
