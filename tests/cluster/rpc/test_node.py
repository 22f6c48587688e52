"""Store processes on loopback: they serve, survive kills, keep their promises, and end in words."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from splitbrain.cluster.client.raw import Options, RawClient
from splitbrain.cluster.node import NodeConfig
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc import metapb_pb2 as metapb
from splitbrain.cluster.rpc.caller import GrpcCaller
from splitbrain.env.random import Random
from splitbrain.errors import Definite

pytestmark = pytest.mark.processes


class WallPacer:
    """Real time for a client."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def client(cluster: Any, *, op_timeout_s: float = 8.0) -> RawClient:
    caller = GrpcCaller(cluster.addresses, cluster.nodes)
    return RawClient(
        caller,
        WallPacer(),
        cluster.nodes,
        Random(1).stream("client"),
        node="n1",
        options=Options(op_timeout_s=op_timeout_s),
    )


async def started(cluster: Any, **more: Any) -> str:
    for node in cluster.nodes:
        cluster.start(node, **more)
    for node in cluster.nodes:
        await cluster.ready(node)
    leader: str = await cluster.leader()
    return leader


def test_operations_go_on_after_the_leader_is_killed(cluster: Any) -> None:
    async def main() -> None:
        leader = await started(cluster)
        session = client(cluster)
        await session.put(b"a", b"1")
        await session.cas(b"a", b"1", b"2")
        with pytest.raises(Definite, match="cas-mismatch") as caught:
            await session.cas(b"a", b"1", b"3")
        assert caught.value.observed == b"2"

        cluster.kill(leader)
        assert await cluster.leader(without=leader) != leader
        assert await session.get(b"a") == b"2"
        await session.put(b"b", b"after")

        cluster.start(leader)  # what it had is still there, and it catches up
        await cluster.ready(leader)
        second = await cluster.leader(without=leader)
        cluster.kill(second)
        await cluster.leader(without=second)
        assert await session.get(b"a") == b"2"
        assert await session.get(b"b") == b"after"
        await session.delete(b"a")
        assert await session.scan(b"") == ((b"b", b"after"),)
        await session.close()

    asyncio.run(main())


def test_a_tikv_stub_is_served_by_protobuf(cluster: Any) -> None:
    """As a foreign client does it: full method path, protobuf both ways, redirect to the leader."""

    async def main() -> None:
        leader = await started(cluster)
        other = next(node for node in cluster.nodes if node != leader)

        async def call(node: str, path: str, request: Any, response: Any) -> Any:
            async with grpc.aio.insecure_channel(cluster.addresses[node]) as channel:
                method: Any = channel.unary_unary(path)
                return response.FromString(await method(request.SerializeToString(), timeout=5))

        epoch = metapb.RegionEpoch(conf_ver=1, version=1)
        context = kvrpcpb.Context(region_id=1, region_epoch=epoch)
        put = kvrpcpb.RawPutRequest(context=context, key=b"k", value=b"v")
        answer = await call(leader, "/tikvpb.Tikv/RawPut", put, kvrpcpb.RawPutResponse)
        assert answer == kvrpcpb.RawPutResponse()
        get = kvrpcpb.RawGetRequest(context=context, key=b"k")
        answer = await call(leader, "/tikvpb.Tikv/RawGet", get, kvrpcpb.RawGetResponse)
        assert (answer.value, answer.not_found) == (b"v", False)
        refused = await call(other, "/tikvpb.Tikv/RawPut", put, kvrpcpb.RawPutResponse)
        store_id = cluster.nodes.index(leader) + 1
        assert refused.region_error.not_leader.leader.store_id == store_id
        swap = kvrpcpb.RawCASRequest(context=context, key=b"k", value=b"w", previous_value=b"v")
        answer = await call(
            leader, "/tikvpb.Tikv/RawCompareAndSwap", swap, kvrpcpb.RawCASResponse
        )
        assert (answer.succeed, answer.previous_value) == (True, b"v")
        pairs = [kvrpcpb.KvPair(key=b"%d" % one, value=b"v") for one in range(3)]
        puts = kvrpcpb.RawBatchPutRequest(context=context, pairs=pairs)
        answer = await call(
            leader, "/tikvpb.Tikv/RawBatchPut", puts, kvrpcpb.RawBatchPutResponse
        )
        assert answer == kvrpcpb.RawBatchPutResponse()
        keys = kvrpcpb.RawBatchGetRequest(context=context, keys=[b"2", b"none", b"0"])
        answer = await call(
            leader, "/tikvpb.Tikv/RawBatchGet", keys, kvrpcpb.RawBatchGetResponse
        )
        assert [pair.key for pair in answer.pairs] == [b"2", b"0"]
        begun = kvrpcpb.GetRequest(context=context, key=b"k", version=1)
        answer = await call(leader, "/tikvpb.Tikv/KvGet", begun, kvrpcpb.GetResponse)
        assert "mode raw" in answer.error.abort

    asyncio.run(main())


def test_the_control_socket_tells_and_sets(cluster: Any) -> None:
    async def main() -> None:
        leader = await started(cluster)
        pid = (await cluster.ask(leader, "ping"))["pid"]
        assert pid == cluster.processes[leader].pid
        other = next(node for node in cluster.nodes if node != leader)

        echo = await cluster.ask(leader, "echo", 3.0, to=other, timeout_s=2.0)
        assert 0 < echo["round_trip_ms"] < 2000
        await cluster.ask(leader, "probe-send", to=other, nonce=11)
        deadline = time.monotonic() + 5
        while not (await cluster.ask(other, "probe-seen", nonce=11))["seen"]:
            assert time.monotonic() < deadline
        third = next(node for node in cluster.nodes if node not in (leader, other))
        assert not (await cluster.ask(third, "probe-seen", nonce=11))["seen"]

        before = await cluster.ask(leader, "clock-read")
        await cluster.ask(leader, "clock-set", offset_ns=5 * 10**9)
        after = await cluster.ask(leader, "clock-read")
        assert after["wall_ns"] - before["wall_ns"] >= 5 * 10**9

        counts = await cluster.ask(leader, "link-counts")
        assert counts["sent"][other] > 0
        assert counts["received"][other]["received"] > 0
        with pytest.raises(ValueError, match="unknown verb 'fly'"):
            await cluster.ask(leader, "fly")

        moved = await cluster.ask(leader, "transfer-leader", to=other)
        assert moved["started"]
        deadline = time.monotonic() + 10
        while await cluster.leader() != other:
            assert time.monotonic() < deadline

    asyncio.run(main())


def test_it_answers_control_while_its_peers_are_gone(cluster: Any) -> None:
    async def main() -> None:
        leader = await started(cluster)
        for node in cluster.nodes:
            if node != leader:
                cluster.kill(node)
        assert (await cluster.ask(leader, "ping"))["node"] == leader
        other = next(node for node in cluster.nodes if node != leader)
        with pytest.raises(ValueError, match="nothing came back"):
            await cluster.ask(leader, "echo", 2.0, to=other, timeout_s=0.2)

    asyncio.run(main())


def test_a_stopped_node_is_a_timeout_and_goes_on_afterwards(cluster: Any) -> None:
    async def main() -> None:
        cluster.start("n1")
        await cluster.ready("n1")
        os.kill(cluster.processes["n1"].pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await cluster.ask("n1", "ping", 0.3)
        os.kill(cluster.processes["n1"].pid, signal.SIGCONT)
        assert (await cluster.ask("n1", "ping", 5.0))["node"] == "n1"

    asyncio.run(main())


def test_in_power_mode_what_was_acknowledged_survives_a_torn_kill(cluster: Any) -> None:
    async def main() -> None:
        await started(cluster, power=True)
        session = client(cluster)
        for number in range(30):
            await session.put(b"%d" % number, b"v")
        for node in cluster.nodes:  # all at once: nothing but the disks can remember
            await cluster.ask(node, "tear", seed=7)
        for node in cluster.nodes:
            cluster.kill(node)
        await started(cluster, power=True)
        assert len(await session.scan(b"")) == 30
        await session.close()

    asyncio.run(main())


async def recovered(cluster: Any) -> Any:
    """The status of n1 once all that it has read is durable."""
    await cluster.ready("n1")
    for _ in range(500):
        status = await cluster.ask("n1", "status")
        if status["role"] != "recovering":
            return status
        await asyncio.sleep(0.02)
    raise AssertionError(cluster.log("n1"))


def test_in_power_mode_a_kill_loses_what_was_not_synced(cluster: Any) -> None:
    """The disk is so slow that nothing is ever synced: the log must come back empty."""

    async def main() -> None:
        cluster.start("n1", power=True)
        await recovered(cluster)
        await cluster.ask("n1", "disk-slow", extra_ms=60_000)
        await cluster.ask("n1", "campaign")
        await asyncio.sleep(0.2)
        cluster.kill("n1")

    asyncio.run(main())
    data = Path(cluster.directory) / "n1"
    kept = {path.name: path.read_bytes() for path in data.iterdir()}
    cluster.start("n1", power=True)
    status = asyncio.run(recovered(cluster))
    assert status["term"] == 0, kept


def test_events_are_told_with_the_machines_time(cluster: Any) -> None:
    asyncio.run(started(cluster))
    kinds = set()
    for node in cluster.nodes:
        for line in (cluster.directory / f"{node}.events.jsonl").read_text().splitlines():
            event = json.loads(line)
            kinds.add(event["kind"])
            assert event["node"] == node
            assert 0 <= time.monotonic_ns() - event["base_monotonic_ns"] < 120 * 10**9
    assert {"start", "leader", "follower"} <= kinds


# -- ends ----------------------------------------------------------------------------------------


def ends(cluster: Any, **more: Any) -> tuple[int, str]:
    """Exit code and log of n1 started alone."""
    code = cluster.start("n1", **more).wait(timeout=20)
    return code, cluster.log("n1")


def one_line(log: str) -> str:
    (line,) = [line for line in log.splitlines() if line.startswith("node: ")]
    assert "Traceback" not in log
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_ordered_end_is_quick_and_quiet(cluster: Any, number: int) -> None:
    async def main() -> None:
        leader = await started(cluster)
        begun = time.monotonic()
        assert cluster.kill(leader, number) == 0
        assert time.monotonic() - begun < 3
        assert "Traceback" not in cluster.log(leader)

    asyncio.run(main())
    left = {node for node in cluster.nodes if os.path.exists(cluster.control(node))}
    assert len(left) == 2


def test_a_taken_port_is_exit_98(cluster: Any) -> None:
    host, port = cluster.addresses["n1"].split(":")
    with socket.create_server((host, int(port))):
        code, log = ends(cluster)
    assert code == 98
    assert "in use" in one_line(log)
    assert not (cluster.directory / "n1").exists() or not any(
        (cluster.directory / "n1").iterdir()
    )


def test_two_nodes_cannot_share_a_port(cluster: Any) -> None:
    cluster.start("n1")
    asyncio.run(cluster.ready("n1"))
    cluster.start("n2", listen=cluster.addresses["n1"])
    assert cluster.processes["n2"].wait(timeout=20) == 98


def test_no_permission_is_exit_97(cluster: Any) -> None:
    if os.geteuid() == 0:
        code, log = ends(cluster, data_dir="/proc/1/splitbrain")
        assert code in (97, 2)  # not even root makes directories in /proc
    else:
        blocked = cluster.directory / "blocked"
        blocked.mkdir(mode=0o500)
        code, log = ends(cluster, data_dir=str(blocked / "data"))
        assert code == 97
    one_line(log)


def test_a_corrupt_log_is_exit_96(cluster: Any) -> None:
    async def main() -> None:
        leader = await started(cluster)
        session = client(cluster)
        for number in range(20):
            await session.put(b"%d" % number, b"value")
        await session.close()
        cluster.kill(leader)
        (path,) = (cluster.directory / leader).iterdir()
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        process = cluster.start(leader)
        assert process.wait(timeout=20) == 96
        assert path.name in one_line(cluster.log(leader))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"store": {"node": "n9"}}, "'n9' is not one of"),
        ({"store": {"bugs": ["no-such-bug"]}}, "no-such-bug"),
        ({"listne": "x"}, "listne"),
        ({"addresses": {"n1": "127.0.0.1:1"}}, "no address of n2, n3"),
    ],
)
def test_a_malformed_configuration_is_exit_2(
    cluster: Any, change: dict[str, Any], words: str
) -> None:
    code, log = ends(cluster, **change)
    assert code == 2
    line = one_line(log)
    assert words in line
    assert "n1.json" in line


def test_a_missing_configuration_and_wrong_usage_are_exit_2(tmp_path: Path) -> None:
    for arguments in ([], [str(tmp_path / "none.json")]):
        done = subprocess.run(
            [sys.executable, "-m", "splitbrain.cluster.node", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 2
        one_line(done.stderr)


def test_what_the_file_leaves_out_may_stand_in_the_environment(cluster: Any) -> None:
    said = cluster.config("n1")
    left_out = {key: said[key] for key in ("store", "addresses", "data_dir")}
    environment = {
        "SPLITBRAIN_CONTROL": "/c",
        "SPLITBRAIN_EVENTS": "/e",
        "SPLITBRAIN_POWER": "1",
    }
    config = NodeConfig.from_json(json.dumps(left_out).encode(), environment)
    assert (config.control, config.events, config.power) == ("/c", "/e", True)
    assert config.listen == cluster.addresses["n1"]
    config = NodeConfig.from_json(json.dumps(said).encode(), environment)
    assert config.control == said["control"]
    plain = NodeConfig.from_json(json.dumps(left_out).encode(), {})
    assert (plain.control, plain.events, plain.power) == ("", "", False)


# -- weight --------------------------------------------------------------------------------------


def test_a_node_loads_nothing_heavy() -> None:
    script = "import sys, splitbrain.cluster.node; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"numpy", "bokeh", "networkx", "scipy", "click", "rich", "jinja2"}
    assert not roots & heavy
    assert "grpc" in roots


def test_a_node_starts_soon(cluster: Any) -> None:
    """From the process's start to its answer on the control socket; the best of three."""

    async def main() -> float:
        best = 10.0
        for _ in range(3):
            begun = time.monotonic()
            cluster.start("n1")
            await cluster.ready("n1")
            best = min(best, time.monotonic() - begun)
            cluster.kill("n1")
        return best

    assert asyncio.run(main()) < 2.0
