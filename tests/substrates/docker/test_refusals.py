"""What an engine refuses, or fails to do half-way: one line, exit code 4, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.contracts.testbed import Testbed
from splitbrain.errors import HostError
from splitbrain.substrates.docker import engine as engines
from splitbrain.substrates.docker.names import RUN, object_name
from tests.substrates.conftest import Case

from .conftest import DockerTool
from .fake_engine import FakeEngine

pytestmark = [pytest.mark.processes, pytest.mark.docker]
WORDS = "run register --on docker --nodes 2 --seed 1 --time-limit 60".split()  # noqa: SIM905


@pytest.fixture
def fake(tmp_path: Path, client: Any) -> Iterator[Callable[..., FakeEngine]]:
    """Makes engines that stand before the real one."""
    made: list[FakeEngine] = []

    def make(*rules: tuple[str, Any]) -> FakeEngine:
        made.append(FakeEngine(tmp_path / f"engine-{len(made)}", *rules))
        return made[-1]

    yield make
    for one in made:
        one.close()


def refused(tool: DockerTool, *words: str, **environment: str) -> str:
    """The one line that a run ends with."""
    done = tool.call(*WORDS, *words, timeout_s=120, **environment)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [it for it in done.stderr.splitlines() if " op/s " not in it]
    assert lines[0].startswith("splitbrain: "), done.stderr
    assert "the history so far is kept in" in lines[1]
    assert len(lines) == 2, done.stderr
    return lines[0]


def nothing_is_left(tool: DockerTool) -> None:
    """Of this tool's runs; others' may come and go meanwhile."""
    runs = {f"splitbrain-{path.parent.name}-{path.name}" for path in tool.store.glob("*/*")}
    for kind in ("containers", "networks"):
        found = getattr(tool.client, kind).list(
            **({"all": True} if kind == "containers" else {}), filters={"label": RUN}
        )
        left = [it for it in found if _label(it).rpartition("-")[0] in runs]
        assert not left, left
    volumes = tool.client.volumes.list(filters={"label": RUN})
    assert not [it for it in volumes if _label(it).rpartition("-")[0] in runs]
    assert tool.labelled() == []
    assert tool.links() == []


def _label(one: Any) -> str:
    labels = one.attrs.get("Labels") or one.attrs.get("Config", {}).get("Labels") or {}
    return str(labels.get(RUN, ""))


def test_an_image_that_is_not_there(tool: DockerTool) -> None:
    line = refused(tool, "-o", "image=splitbrain-nothing:1")
    assert "no image 'splitbrain-nothing:1'" in line
    nothing_is_left(tool)


OVERLAP = "Pool overlaps with other one on this address space"
HALF_WAY = [
    ("POST /v[^/]*/networks/create", (403, OVERLAP), OVERLAP),
    ("POST /v[^/]*/networks/create", (500, "no space left on device"), "no space left"),
    ("POST /v[^/]*/volumes/create", (500, "volume store is read-only"), "is read-only"),
    (r"POST /v[^/]*/containers/create.*-n2", (409, "name is already in use"), "in use"),
    ("POST /v[^/]*/containers/[0-9a-f]+/start", (500, "OCI runtime create failed"), "OCI"),
]


@pytest.mark.parametrize(("pattern", "act", "said"), HALF_WAY, ids=lambda it: str(it)[-24:])
def test_what_the_engine_refuses_half_way(
    pattern: str, act: Any, said: str, tool: DockerTool, fake: Callable[..., FakeEngine]
) -> None:
    engine = fake((pattern, act))
    line = refused(tool, DOCKER_HOST=engine.url)
    assert said in line
    nothing_is_left(tool)


def test_an_engine_that_dies_half_way_is_healed_once_it_is_back(
    tool: DockerTool, fake: Callable[..., FakeEngine]
) -> None:
    engine = fake(("POST /v[^/]*/containers/[0-9a-f]+/start", "die"))
    line = refused(tool, DOCKER_HOST=engine.url)
    assert "Docker" in line
    assert len(tool.links()) == 1, "what is left is known"
    done = tool.call("heal")
    assert done.returncode == 4
    assert "no engine answers" in done.stdout
    engine.rules.clear()
    engine.dead = False
    done = tool.call("heal")
    assert done.returncode == 0, done.stdout
    assert "removed network" in done.stdout
    nothing_is_left(tool)


def test_an_engine_that_hangs_is_waited_for_once(
    docker_case: Case, fake: Callable[..., FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = fake(("POST /v[^/]*/networks/create", "hang"), ("(DELETE|kill)", "hang"))
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    monkeypatch.setattr(engines, "ANSWER_S", 2.0)
    monkeypatch.setattr(engines, "IMPATIENT_S", 0.2)
    began = time.monotonic()

    async def never(_: Testbed) -> None:
        raise AssertionError("a testbed without a network")

    with pytest.raises(HostError, match="does not answer"):
        docker_case.run(never)
    assert time.monotonic() - began < 30


def test_an_engine_that_hangs_from_the_start_is_told_like_none(
    fake: Callable[..., FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from splitbrain.substrates.docker.image import engine as first

    monkeypatch.setenv("DOCKER_HOST", fake((".", "hang")).url)
    monkeypatch.setattr(first, "_FIRST_SECONDS", 1)
    with pytest.raises(HostError, match=r"no Docker engine answers at unix:.*timed out"):
        first.connect()


def test_news_that_break_off_are_taken_up_again(
    docker_case: Case, fake: Callable[..., FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once an error comes in place of events, once the engine is away for a moment."""
    engine = fake(("GET /v[^/]*/events", (500, "no events now")))
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    docker_case.nodes = ("n1", "n2")

    async def noticed(testbed: Testbed, name: str) -> None:
        node = testbed.node(name)
        with contextlib.suppress(OSError, ValueError):
            await node.control("crash", {})
        await asyncio.sleep(0.5)
        assert node.state().status == "running", "nobody can have told"
        engine.rules.clear()
        engine.dead = False
        for _ in range(400):
            if node.state().status == "exited":
                break
            await asyncio.sleep(0.05)
        assert [crash.node for crash in testbed.crashes()] == [name]

    async def body(testbed: Testbed) -> None:
        await noticed(testbed, "n1")
        engine.dead = True
        engine.cut()
        await noticed(testbed, "n2")
        await testbed.node("n1").restart()
        await asyncio.sleep(0.5)
        assert testbed.node("n1").state().status == "running", "old news are nobody's end"

    docker_case.run(body)


def test_a_name_that_is_taken_is_left_to_its_owner(docker_case: Case, client: Any) -> None:
    """By labels alone we know what is ours."""
    name = object_name(docker_case.label, "n2")
    theirs = client.containers.create("splitbrain-node:0.1.0", ["true"], name=name)

    async def never(_: Testbed) -> None:
        raise AssertionError("n2 cannot have started")

    try:
        with pytest.raises(HostError, match="already in use"):
            docker_case.run(never)
        assert client.containers.get(theirs.id).name == name
    finally:
        theirs.remove(force=True)
    marked = {"label": f"{RUN}={docker_case.label}"}
    assert client.containers.list(all=True, filters=marked) == []
    assert client.networks.list(filters=marked) == []
    assert client.volumes.list(filters=marked) == []


def test_heal_tries_all_whatever_the_engine_refuses(
    docker_case: Case, client: Any, fake: Callable[..., FakeEngine]
) -> None:
    """One container that cannot be removed must not keep the others."""
    from splitbrain.substrates.docker.heal import remove_labelled

    label, marks = docker_case.label, {RUN: docker_case.label}
    made = [client.volumes.create(object_name(label, it), labels=marks) for it in "abc"]
    engine = fake((f"DELETE .*{made[1].name}", (500, "device or resource busy")))
    removed, left = remove_labelled(label, engine.url)
    assert len(removed) == 2
    assert len(left) == 1
    assert "busy" in left[0]
    with contextlib.suppress(Exception):
        made[1].remove()
