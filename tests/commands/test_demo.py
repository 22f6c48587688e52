"""``splitbrain demo`` exits 0 only when each part gave what was expected of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitbrain import catalog as names
from splitbrain.commands.demo import Part, demo_parts, run_demo
from splitbrain.contracts.spec import TestSpec


def part(expect: str, **changes: Any) -> Part:
    spec = TestSpec(workload="register", substrate="sim", time_limit_s=3.0, seed=1)
    for name, value in changes.items():
        spec = msgspec.structs.replace(spec, **{name: value})
    return Part(title="a part", spec=spec, expect=expect)  # type: ignore[arg-type]


CORRECT = {"nemesis": ()}
BROKEN = {"bugs": ("ack-on-append",), "nemesis": ("partition",), "time_limit_s": 20.0}
VAIN = {"options": {"read-share": 1.0}}


def demo(store: Path, *parts: Part) -> tuple[int, list[str]]:
    seen: list[str] = []
    code = run_demo(
        names.builtin(),
        store,
        parts,
        told=lambda part, finished: seen.append(finished.verdict),
        begun=lambda part: None,
    )
    return code, seen


@pytest.mark.parametrize(
    ("parts", "code", "verdicts"),
    [
        ((("valid", CORRECT), ("invalid", BROKEN)), 0, ["valid", "invalid"]),
        ((("valid", BROKEN), ("valid", CORRECT)), 1, ["invalid", "valid"]),
        ((("valid", CORRECT), ("invalid", CORRECT)), 1, ["valid", "valid"]),
        ((("valid", VAIN), ("invalid", BROKEN)), 3, ["unknown", "invalid"]),
        ((("valid", VAIN), ("invalid", CORRECT)), 1, ["unknown", "valid"]),
    ],
)
def test_the_exit_code_by_what_was_expected(
    parts: tuple[tuple[str, dict[str, Any]], ...],
    code: int,
    verdicts: list[str],
    tmp_path: Path,
) -> None:
    got = demo(tmp_path, *(part(expect, **changes) for expect, changes in parts))
    assert got == (code, verdicts)


@pytest.mark.parametrize("on", ["local", "sim"])
def test_the_parts_that_are_shipped_are_one_valid_and_one_invalid(on: str) -> None:
    first, second = demo_parts(seconds=20.0, seed=1, on=on)
    assert (first.expect, second.expect) == ("valid", "invalid")
    assert {first.spec.substrate, second.spec.substrate} == {on}
    assert demo_parts()[0].spec.substrate == "local"
    assert not first.spec.bugs
    assert second.spec.bugs
    for it in (first, second):
        names.resolve(it.spec, names.builtin())


def test_the_same_parts_in_simulation_give_what_is_expected(tmp_path: Path) -> None:
    parts = [
        msgspec.structs.replace(it, spec=msgspec.structs.replace(it.spec, substrate="sim"))
        for it in demo_parts(seconds=20.0, seed=1)
    ]
    assert demo(tmp_path, *parts) == (0, ["valid", "invalid"])


def test_the_verb_prints_both_reports(
    invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from splitbrain.commands import demo as module

    monkeypatch.setattr(
        module, "demo_parts", lambda **_: (part("valid", **CORRECT), part("invalid", **CORRECT))
    )
    done = invoke("demo")
    assert done.exit_code == 1
    assert done.stdout.count("report  store/register/") == 2
    assert "expected invalid, got valid" in done.stdout


@pytest.mark.deep
@pytest.mark.docker
def test_the_demo_in_containers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "splitbrain", "demo", "--on", "docker"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    if "Docker" in done.stderr and done.returncode == 4:
        pytest.skip(done.stderr.splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nVALID: " in done.stdout
    assert "\nINVALID: " in done.stdout
    reports = [line.split()[1] for line in done.stdout.splitlines() if line[:6] == "report"]
    assert len(reports) == 2
    assert all((tmp_path / report).stat().st_size > 10_000 for report in reports)
