"""What is particular to processes: ports, permissions, sessions, logs, private directories."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from splitbrain.contracts.fault import Shape
from splitbrain.contracts.testbed import Program
from splitbrain.errors import (
    HarnessError,
    HostError,
    NodeFailed,
    RequestError,
    UnknownName,
    Unsupported,
)
from splitbrain.substrates.proxy.client import Proxies
from splitbrain.substrates.real import node as node_module
from splitbrain.substrates.real.clocks import RealClocks
from splitbrain.substrates.tools import procfs
from splitbrain.substrates.tools.child import Child
from splitbrain.substrates.tools.private import private_path

pytestmark = pytest.mark.processes


def labelled(label: str) -> list[int]:
    """Every living process of a run, by its label."""
    return [
        process.pid
        for process in procfs.processes()
        if procfs.environment_of(process.pid).get(procfs.LABEL) == label
    ]


@pytest.fixture
def one(local_case):
    """A testbed of one node without proxies: quick."""
    local_case.nodes = ("n1",)
    local_case.options["proxies"] = False
    return local_case


def test_nothing_is_left_after_a_run(local_case, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    made: list[str] = []

    async def body(testbed) -> None:
        socket_dir = Path(testbed.node("n1").control_path).parent
        made.append(str(socket_dir))
        assert len(os.fsencode(testbed.node("n1").control_path)) < 100
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        assert len(labelled(local_case.label)) == 4
        sessions = {os.getsid(pid) for pid in labelled(local_case.label)}
        assert len(sessions) == 4
        assert os.getsid(0) not in sessions

    local_case.run(body)
    assert labelled(local_case.label) == []
    assert not Path(made[0]).exists()
    run = local_case.directory
    assert not (run / "data").exists()
    assert "toy started" in (run / "logs" / "n1.log").read_text()
    assert (run / "config" / "n1" / "toy.json").exists()


def test_data_can_be_kept(one) -> None:
    one.options["keep-data"] = True

    async def body(testbed) -> None:
        os.mkdir(os.path.join(testbed.node("n1").data_dir, "mark"))

    one.run(body)
    assert (one.directory / "data" / "n1" / "mark").is_dir()


def test_without_a_run_directory_nothing_at_all_is_kept(one) -> None:
    one.directory = None
    seen: list[Path] = []

    async def body(testbed) -> None:
        seen.append(Path(testbed.node("n1").data_dir))
        assert seen[0].is_dir()

    one.run(body)
    assert not seen[0].parents[1].exists()


def test_a_killed_node_takes_its_children_along(one) -> None:
    async def body(testbed) -> None:
        assert len(labelled(one.label)) == 2
        await testbed.node("n1").kill()
        for _ in range(100):
            if not labelled(one.label):
                break
            await asyncio.sleep(0.01)
        assert labelled(one.label) == []

    one.run(body, grandchild=True)


def test_children_in_sessions_of_their_own_end_with_the_run(one) -> None:
    async def body(testbed) -> None:
        argv = ("sh", "-c", "setsid sleep 600 & sleep 600")
        await testbed.node("n1").start(Program(name="forks", argv=argv))
        await testbed.node("n1").kill()
        for _ in range(500):  # its other child dies with it, but a moment later
            if len(labelled(one.label)) == 1:
                break
            await asyncio.sleep(0.01)
        assert len(labelled(one.label)) == 1

    one.run(body, start=False)
    assert labelled(one.label) == []


def test_a_program_that_ends_at_once_is_told_with_its_log(one) -> None:
    async def body(testbed) -> None:
        node = testbed.node("n1")
        with pytest.raises(NodeFailed) as failed:
            await node.start(one.program(testbed, "n1", exit=3))
        assert "exit code 3" in str(failed.value)
        assert failed.value.log_tail == ("the toy has no wish to live",)
        assert testbed.crashes() == ()
        assert node.state().status == "exited"
        await node.start(one.program(testbed, "n1"))
        assert (await node.observe()).process == "running"

    one.run(body, start=False)


def test_an_end_in_the_middle_of_a_restart_is_a_crash_too(one) -> None:
    async def body(testbed) -> None:
        node = testbed.node("n1")
        await node.kill()
        with pytest.raises(NodeFailed):
            await node.start(one.program(testbed, "n1", exit=4))
        (crash,) = testbed.crashes()
        assert (crash.reason, crash.incarnation) == ("exit code 4", 2)
        assert crash.log == ("the toy has no wish to live",), "only of this incarnation"

    one.run(body)


def test_a_silent_program_is_given_up(one, monkeypatch) -> None:
    monkeypatch.setattr(node_module, "READY_S", 0.3)

    async def body(testbed) -> None:
        silent = Program(name="silent", argv=("sleep", "600"), control=True)
        with pytest.raises(NodeFailed, match="did not answer"):
            await testbed.node("n1").start(silent)
        assert labelled(one.label) == []

    one.run(body, start=False)


def test_a_kill_during_the_start_is_no_failure(one) -> None:
    async def body(testbed) -> None:
        node = testbed.node("n1")
        silent = Program(name="silent", argv=("sleep", "600"), control=True)
        starting = asyncio.ensure_future(node.start(silent))
        await asyncio.sleep(0.1)
        await node.kill()
        await starting
        assert node.state().status == "killed"
        assert testbed.crashes() == ()

    one.run(body, start=False)


def test_signals_from_outside_are_crashes(one) -> None:
    async def body(testbed) -> None:
        (pid,) = labelled(one.label)
        os.kill(pid, 9)
        crashes = []
        while not crashes:
            await asyncio.sleep(0.01)
            crashes = list(testbed.crashes())
        assert crashes[0].reason == "signal SIGKILL"
        assert crashes[0].log
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)  # reaped: no zombie

    one.run(body)


def test_a_stop_that_is_not_heard_becomes_a_kill(one, monkeypatch) -> None:
    monkeypatch.setattr(node_module, "_STOP_S", 0.2)

    async def body(testbed) -> None:
        node = testbed.node("n1")
        deaf = "import signal,time;signal.signal(15,signal.SIG_IGN);print('deaf',flush=True)"
        await node.start(
            Program(name="deaf", argv=(sys.executable, "-c", deaf + ";time.sleep(600)"))
        )
        while not await node.log_tail():  # noqa: ASYNC110 - a file tells nobody that it grew
            await asyncio.sleep(0.01)
        await node.stop()
        assert node.state().status == "killed"
        assert testbed.crashes() == ()

    one.run(body, start=False)


def test_a_taken_port_is_one_line(one) -> None:
    async def body(testbed) -> None:
        node = testbed.node("n1")
        port = int(node.address.rpartition(":")[2])
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", port))
            thief.listen()
            with pytest.raises(HostError, match=f"port {port} is taken") as taken:
                await node.start(one.program(testbed, "n1"))
            assert "\n" not in str(taken.value)
        await node.start(one.program(testbed, "n1"))

    one.run(body, start=False)


def test_a_held_port_is_given_to_nobody_by_chance(one) -> None:
    async def body(testbed) -> None:
        port = int(testbed.node("n1").address.rpartition(":")[2])
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            pass
        with socket.socket() as other, pytest.raises(OSError):
            other.bind(("127.0.0.1", port))

    one.run(body, start=False)


@pytest.mark.parametrize(
    ("argv", "words"),
    [(("/nowhere/prog",), "No such file"), (("/etc/passwd",), "Permission denied")],
)
def test_a_program_that_cannot_be_run(one, argv, words) -> None:
    async def body(testbed) -> None:
        with pytest.raises(HostError, match=words) as refused:
            await testbed.node("n1").start(Program(name="x", argv=argv))
        assert "\n" not in str(refused.value)
        assert one.journal.acts[-1]["act"] == "start-process"

    one.run(body, start=False)


def test_a_run_directory_that_cannot_be_made(one) -> None:
    one.directory = Path("/dev/null/run")

    async def body(testbed) -> None:
        raise AssertionError

    with pytest.raises(HostError, match="Not a directory"):
        one.run(body, start=False)
    assert not Path(private_path("sockets", one.label)).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cut-mode": "melt"}, "hold, reset"),
        ({"proxies": "perhaps"}, "true or false"),
        ({"proxies": False, "clients": "cut"}, "exclude"),
    ],
)
def test_malformed_options_are_refused_before_anything_is_made(one, options, words) -> None:
    one.options.update(options)

    async def body(testbed) -> None:
        raise AssertionError

    with pytest.raises(RequestError, match=words):
        one.run(body, start=False)
    assert one.journal.acts == []


def test_control_without_a_socket_is_unsupported(one) -> None:
    one.nodes = ("n1", "n2")

    async def body(testbed) -> None:
        node = testbed.node("n1")
        await node.start(Program(name="sleep", argv=("sleep", "600")))
        with pytest.raises(Unsupported, match="no control socket"):
            await node.control("status", {})
        assert (await node.observe()).process == "running"
        with pytest.raises(Unsupported, match="proxies"):
            await testbed.net.cut("a", (("n1", "client"),))
        with pytest.raises(UnknownName):
            await testbed.net.cut("a", (("n1", "n7"),))
        with pytest.raises(HarnessError, match="before any start"):
            await testbed.node("n2").restart()

    one.run(body, start=False)


def test_what_a_proxy_cannot_do_is_refused_with_the_remedy(local_case) -> None:
    async def body(testbed) -> None:
        net = testbed.net
        for shape in (Shape(loss=0.1), Shape(duplicate=0.1), Shape(reorder=0.1)):
            with pytest.raises(Unsupported, match="--on sim"):
                await net.shape("s", (("n1", "n2"),), shape)
        with pytest.raises(Unsupported, match="clients=cut"):
            await net.cut("c", (("client", "n1"),))
        assert net.faults == ()

    local_case.run(body, start=False)


def test_probes_tell_the_truth_when_injectors_do_nothing(local_case, monkeypatch) -> None:
    """With every injector a no-op the books say ``cut`` and ``paused``; the probes do not."""

    async def nothing(*_args, **_kwargs) -> None:
        pass

    async def body(testbed) -> None:
        await testbed.net.reach((("n1", "n2"), ("n2", "n1")), timeout_s=3)
        monkeypatch.setattr(Proxies, "set", nothing)
        monkeypatch.setattr(Child, "signal", lambda *_: None)
        monkeypatch.setattr(RealClocks, "_set", nothing)
        links = (("n1", "n2"), ("n2", "n1"))
        await testbed.net.cut("a", links)
        await testbed.node("n1").pause()
        await testbed.clock.jump("n1", 5000)
        assert testbed.node("n1").state().status == "paused"
        assert await testbed.net.reach(links) == dict.fromkeys(links, True)
        seen = await testbed.node("n1").observe()
        assert seen.process == "running"
        assert abs(seen.wall_ns - seen.base_wall_ns) < 1e9
        monkeypatch.undo()
        monkeypatch.setenv("XDG_STATE_HOME", str(local_case.directory))

    local_case.run(body)


def test_probes_see_what_was_done_behind_the_books(local_case) -> None:
    async def body(testbed) -> None:
        pid = testbed.node("n1")._body.mark["pid"]
        os.kill(pid, 19)
        await asyncio.sleep(0.02)
        assert testbed.node("n1").state().status == "running"
        assert (await testbed.node("n1").observe()).process == "stopped"
        assert (await testbed.net.reach((("n2", "n1"),)))["n2", "n1"] is None

    local_case.run(body)


TO, BACK = ("client", "n1"), ("n1", "client")


@pytest.mark.parametrize("mode", ["hold", "reset"])
def test_client_links(local_case, mode) -> None:
    local_case.nodes = ("n1", "n2")
    local_case.options |= {"clients": "cut", "cut-mode": mode}

    async def body(testbed) -> None:
        net = testbed.net
        assert testbed.client_address("n1") != testbed.node("n1").address
        links = (TO, BACK, ("client", "n2"), ("n1", "n2"))
        assert await net.reach(links, timeout_s=2) == dict.fromkeys(links, True)
        await net.cut("both", (TO, BACK))
        seen = await net.reach(links)
        assert seen == {TO: False, BACK: None, ("client", "n2"): True, ("n1", "n2"): True}
        await net.heal()
        assert all((await net.reach(links, timeout_s=2)).values())
        if mode == "hold":
            await net.cut("back", (BACK,))
            assert await net.reach((TO, BACK)) == {TO: True, BACK: False}
            await net.heal()
            await net.cut("to", (TO,))
            assert await net.reach((TO, BACK)) == {TO: False, BACK: None}
            await net.heal()
        await testbed.node("n1").pause()
        assert await net.reach((TO, BACK)) == {TO: None, BACK: None}

    local_case.run(body)


def test_a_dead_proxy_process_is_told(local_case) -> None:
    async def body(testbed) -> None:
        (pid,) = labelled(local_case.label)
        os.kill(pid, 9)
        with pytest.raises(HarnessError, match="proxy process ended with signal SIGKILL"):
            await testbed.net.cut("a", (("n1", "n2"),))

    local_case.run(body, start=False)


def test_the_proxies_end_with_their_pipe() -> None:
    proxy = subprocess.Popen(
        [sys.executable, "-m", "splitbrain.substrates.proxy"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with proxy:
        proxy.stdin.write(b'{"id":1,"op":"ping"}\n{"id":2,"op":"dance"}\n')
        proxy.stdin.flush()
        assert proxy.stdout.readline() == b'{"id":1}\n'
        assert b"unknown order" in proxy.stdout.readline()
        proxy.stdin.close()
        assert proxy.wait(5) == 0


def test_the_cut_mode_is_drawn_from_the_seed(local_case) -> None:
    modes: list[dict[str, bool]] = []

    async def body(testbed) -> None:
        mine = {}
        for number in range(12):
            await testbed.net.cut(f"c{number}", (("n1", "n2"),))
            mine[f"c{number}"] = testbed.net._faults[f"c{number}"].reset
        modes.append(mine)

    local_case.run(body, start=False)
    local_case.run(body, start=False)
    assert modes[0] == modes[1]
    assert set(modes[0].values()) == {True, False}


def test_two_runs_at_once_do_not_touch_each_other(one, tmp_path) -> None:
    other = type(one)(one.substrate, tmp_path / "other")
    other.nodes, other.options = one.nodes, one.options

    async def body(testbed) -> None:
        second = await other.substrate.open(other.site())
        await second.node("n1").start(other.program(second, "n1"))
        assert second.node("n1").address != testbed.node("n1").address
        await second.close()
        assert labelled(other.label) == []
        assert (await testbed.node("n1").observe()).monotonic_ns is not None

    one.run(body)
