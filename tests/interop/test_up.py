"""TiKV's own client against a cluster that ``splitbrain up`` has started."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitbrain.substrates.heal import heal

pytestmark = [pytest.mark.processes, pytest.mark.interop]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    state = tmp_path / "state"
    child = subprocess.Popen(
        [sys.executable, "-m", "splitbrain", "up", "--mode", "txn", "--json"],
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield child
    child.kill()
    child.communicate()
    heal(str(state / "splitbrain" / "runs"))


def test_tikvs_own_client_commits(up: Any, foreign: Any) -> None:
    async def main() -> None:
        told = json.loads(await asyncio.to_thread(up.stdout.readline))
        async with foreign("rust-txn", told["pd"]) as call:
            for pessimistic in (False, True):
                value = b"%d" % pessimistic
                writing = await call("begin", pessimistic)
                await call("put", writing, b"key", value)
                await call("commit", writing)
                reading = await call("begin", False)
                assert await call("get", reading, b"key") == value.hex()
                await call("rollback", reading)

    asyncio.run(main())
    up.send_signal(signal.SIGINT)
    assert up.wait(20) == 0
