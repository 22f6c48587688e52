"""Want of memory and of processor time, in containers: the kernel's word is the proof."""

from __future__ import annotations

import asyncio

import pytest

from splitbrain.errors import HarnessError, Unsupported

from .conftest import Stand, effects

pytestmark = [pytest.mark.docker, pytest.mark.processes]


def test_nodes_are_starved_and_held_back_and_recover(docker) -> None:
    async def body(stand: Stand) -> None:
        await stand.load()
        leader = await stand.leader()
        value = await stand.start("oom", leader)
        assert effects(value) == [True]
        assert "out of memory" in value["proof"][0]["observed"]
        assert stand.testbed.crashes() == (), "it was told to"
        assert effects(await stand.stop("oom")) == [True]
        other = await stand.other()
        await stand.start("cpu", other, cores=0.3)  # enough to start again with
        await stand.start("oom", other, id="again")
        assert effects(await stand.stop("oom", id="again")) == [True], "memory is there again"
        assert effects(await stand.stop("cpu")) == ["oom"], "its process is another one"
        await stand.start("cpu", "all", id="all", cores=0.02)
        await asyncio.sleep(2)
        assert effects(await stand.stop("cpu", id="all")) == [True] * 3
        free = await stand.testbed.node(other).observe()
        await asyncio.sleep(1)
        assert (await stand.testbed.node(other).observe()).throttled_ns == free.throttled_ns

    docker(body)


def test_limits_that_do_nothing_are_denied(docker) -> None:
    async def body(stand: Stand) -> None:
        await stand.load()
        assert effects(await stand.start("oom", "n1")) == [False]
        await stand.stop("oom")
        await stand.start("cpu", "all", cores=0.02)
        await asyncio.sleep(1)
        assert set(effects(await stand.stop("cpu"))) == {False}
        await stand.testbed.node("n2").kill()
        value = await stand.start("oom", "n2", id="dead")
        assert effects(value) != [True], "a kill is no want of memory"

    docker(body, deaf=True)


@pytest.mark.parametrize("fault", ["oom", "cpu"])
def test_elsewhere_they_are_refused(fault: str, sim) -> None:
    async def body(stand: Stand) -> None:
        with pytest.raises((Unsupported, HarnessError), match="use --on docker"):
            await stand.start(fault, "n1", cores=0.1)

    sim(body)
