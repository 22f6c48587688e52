"""What is particular to hosts reached by SSH: who is let in, what is sent, what is left."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from splitbrain.cli import main
from splitbrain.contracts.fault import Fault
from splitbrain.errors import HostError
from splitbrain.substrates.ssh.access import Access
from splitbrain.substrates.ssh.connection import login_of
from splitbrain.substrates.ssh.hosts import parse_entry
from splitbrain.substrates.ssh.install import Installer
from splitbrain.substrates.ssh.shell import Shells

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(400)]

USERS = ("root", "tester", "guest")


def reach(place: str, *, sudo: bool | None = None, python: str = "python3") -> Access:
    """Log in and out again."""

    async def once() -> Access:
        access = await Access.open(
            login_of(parse_entry(place, "test")), python=python, sudo=sudo
        )
        await access.close()
        return access

    return asyncio.run(once())


def with_access(place: str, act) -> None:
    async def once() -> None:
        access = await Access.open(
            login_of(parse_entry(place, "test")), python="python3", sudo=None
        )
        try:
            await act(access)
        finally:
            await access.close()

    asyncio.run(once())


def test_a_host_says_what_it_is(ssh_home) -> None:
    one, two, three = (reach(f"{user}@{ssh_home.addresses[1]}") for user in USERS)
    assert (one.facts.uid, one.facts.sudo) == (0, ())
    assert (two.facts.sudo, three.facts.sudo) == (("sudo", "-n"), None)
    assert one.facts.address == ssh_home.addresses[1]
    assert (one.facts.ssh_port, one.facts.version[0]) == (22, 3)
    with pytest.raises(HostError, match="sudo -n asks for a password"):
        reach(f"guest@{ssh_home.addresses[1]}", sudo=True)
    with pytest.raises(HostError, match="it needs Linux and python4"):
        reach(f"guest@{ssh_home.addresses[1]}", python="python4")


def test_an_unknown_host_is_refused_and_added_only_if_told_to(
    ssh_home, tmp_path, monkeypatch
) -> None:
    address = ssh_home.addresses[0]
    known = tmp_path / ".ssh" / "known_hosts"
    key = f"key={ssh_home.key}"
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(HostError, match=f"ssh-keyscan -p 22 {address} >> {known}"):
        reach(f"root@{address} {key}")
    assert not known.exists()
    reach(f"root@{address} {key} accept-new")
    assert address in known.read_text()
    reach(f"root@{address} {key}")
    ours = ssh_home.key.with_suffix(".pub").read_text().split()
    known.write_text(f"{address} {ours[0]} {ours[1]}\n")
    for words in ("", "accept-new"):
        with pytest.raises(HostError, match=f"not the one in {known}"):
            reach(f"root@{address} {key} {words}")


def test_who_cannot_come_in_is_told_why(ssh_home, tmp_path) -> None:
    address = ssh_home.addresses[0]
    with pytest.raises(HostError, match="does not let nobody in"):
        reach(f"nobody@{address}")
    with pytest.raises(HostError, match=r"no SSH server at port 1 of .*Connection refused"):
        reach(f"root@{address}:1")
    with pytest.raises(HostError, match=r"nobody knows the name 'no-such\.invalid'"):
        reach("no-such.invalid")
    with pytest.raises(HostError, match="no such file: /no/key"):
        reach(f"root@{address} key=/no/key")


def test_the_ssh_configuration_is_obeyed(ssh_home, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host lab\n  HostName {ssh_home.addresses[2]}\n  User tester\n"
        f"  IdentityFile {ssh_home.key}\n  UserKnownHostsFile {ssh_home.home}/.ssh/known_hosts\n"
    )
    assert reach("lab").facts.address == ssh_home.addresses[2]


def test_a_host_behind_another_is_reached_by_a_proxy_command(
    ssh_home, tmp_path, monkeypatch
) -> None:
    known = f"{ssh_home.home}/.ssh/known_hosts"
    inner, outer = ssh_home.addresses[1], ssh_home.addresses[0]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host lab\n  HostName {inner}\n  User tester\n  IdentityFile {ssh_home.key}\n"
        f"  UserKnownHostsFile {known}\n  ProxyCommand ssh -F none -i {ssh_home.key} -o "
        f"BatchMode=yes -o UserKnownHostsFile={known} -W %h:%p root@{outer}\n"
    )
    facts = reach("lab").facts
    assert (facts.address, facts.client) == (inner, outer)


def test_a_shell_goes_on_whatever_a_command_does(ssh_home) -> None:
    async def act(access: Access) -> None:
        shells = Shells(access.connection, 1)
        big = await shells.run("head -c 3000000 /dev/zero; printf '\\377no newline'; exit 7")
        assert (big.code, big.out) == (7, bytes(3_000_000) + b"\xffno newline")
        assert (await shells.run("exit 3")).code == 3
        odd = await shells.run("echo out; echo err >&2; sh -c 'kill -9 $$'; echo $? >&2")
        assert odd.out == b"out\n"
        assert odd.err.splitlines()[0::2] == [b"err", b"137"] or odd.err == b"err\n137\n"

    with_access(f"tester@{ssh_home.addresses[1]}", act)

    async def hang(access: Access) -> None:
        shells = Shells(access.connection, 1)
        with pytest.raises(TimeoutError):
            await shells.run("sleep 60", timeout_s=0.3)
        assert (await shells.run("echo again")).out == b"again\n"
        with pytest.raises(HostError, match="more than 4 MB"):
            await shells.run("head -c 9000000 /dev/zero")
        assert (await shells.run("echo again")).out == b"again\n"

    with_access(f"tester@{ssh_home.addresses[1]}", hang)


def test_what_is_there_is_not_sent_again(ssh_home) -> None:
    ssh_home.on(4, "rm -rf /home/guest/.cache")
    sent = []

    async def act(access: Access) -> None:
        installer = Installer()
        await installer.install(access)
        sent.append(installer.sent_bytes)
        python = await installer.python(access.facts)
        told = await access.shells.run(
            f"{python} -c 'import splitbrain.cluster.node as it; print(it.__file__)'"
        )
        assert told.out.startswith(b"/home/guest/.cache/splitbrain/"), told.err

    for _ in range(2):
        with_access(f"guest@{ssh_home.addresses[4]}", act)
    assert sent[0] > 1_000_000
    assert sent[1] == 0


def test_no_links_are_faulted_where_we_are_not_root(ssh_case, ssh_home) -> None:
    hosts = "; ".join(
        f"n{n + 1}=guest@{ssh_home.addresses[n]} own=yes" for n in range(len(ssh_case.nodes))
    )
    ssh_case.options["hosts"] = hosts
    lost = ssh_case.substrate.impossible(ssh_case.site().spec)
    assert {Fault.PARTITION, Fault.LOSS, Fault.CLIENT_LINKS} <= lost.keys()
    assert not {Fault.KILL, Fault.PAUSE, Fault.CLOCK_JUMP} & lost.keys()
    words = ["run", "register", "--on", "ssh", "-o", f"hosts={hosts}", "--json"]
    done = CliRunner().invoke(main, [*words, "--nemesis", "partition"])
    assert done.exit_code == 4
    assert "without a password" in json.loads(done.stdout)["summary"]

    async def body(testbed) -> None:
        node = testbed.node("n2")
        await node.pause()
        assert (await node.observe()).process == "stopped"
        await node.kill()
        await node.restart()
        assert (await node.observe()).process == "running"

    ssh_case.run(body)
    assert ssh_home.leftovers() == []


def test_a_host_is_one_runs_at_a_time(ssh_case, ssh_home, tmp_path) -> None:
    ssh_case.nodes = ("n1", "n2")

    async def body(testbed) -> None:
        again = ssh_case.site()
        with pytest.raises(HostError, match=rf"in use by the run {ssh_case.label}"):
            await ssh_case.substrate.open(_renamed(again))
        assert (await testbed.node("n1").observe()).process == "running"

    ssh_case.run(body)
    assert ssh_home.leftovers() == []


def _renamed(site):
    return msgspec.structs.replace(site, label=site.label + "-again", directory=None)


def test_data_is_kept_if_asked_for_and_nothing_else(ssh_case, ssh_home) -> None:
    ssh_case.nodes = ("n1", "n2")
    ssh_case.options |= {"keep-data": True, "remote-dir": "/tmp/elsewhere", "port": 20999}
    seen = []

    async def body(testbed) -> None:
        node = testbed.node("n2")
        assert node.address == f"{ssh_home.addresses[1]}:20999"
        seen.append(ssh_home.on(1, "ls -d /tmp/elsewhere/*/data; cat /tmp/elsewhere/*/run/pid"))
        await node.put(f"{node.data_dir}/deep/planted", b"kept")
        told = await node.exec(["sh", "-c", "exec sleep 0.01 & kill -9 $$"])
        assert told.code == -9
        with pytest.raises(HostError, match="is it installed there"):
            await node.exec(["no-such-command"])

    ssh_case.run(body)
    listed, pid = seen[0].splitlines()
    assert listed.endswith("/data")
    assert json.loads(pid).keys() == {"pid", "start"}
    kept = Path(str(ssh_case.directory)) / "data" / "n2" / "deep" / "planted"
    assert kept.read_bytes() == b"kept"
    assert [line for line in ssh_home.leftovers() if "elsewhere" not in line] == []
    assert ssh_home.on(1, "ls -A /tmp/elsewhere; rmdir /tmp/elsewhere") == ""
    ssh_home.on(0, "rmdir /tmp/elsewhere")


def test_a_taken_port_is_told_and_nothing_is_left(ssh_case, ssh_home) -> None:
    ssh_case.nodes = ("n1",)
    ssh_case.options["port"] = 22

    async def body(testbed) -> None:
        raise AssertionError("never reached")

    with pytest.raises(HostError, match="port 22 is taken by another program"):
        ssh_case.run(body)
    assert ssh_home.leftovers() == []


def test_hosts_clocks_are_compared_at_both_ends(ssh_case) -> None:
    ssh_case.nodes = ("n1", "n2")

    async def body(testbed) -> None:
        await testbed.node("n1").log_tail()

    ssh_case.run(body)
    told = [event for event in ssh_case.events if event["kind"] == "host-clock"]
    assert [event["node"] for event in told] == ["n1", "n2"] * 2
    for event in told:  # one machine, one clock
        assert abs(event["ahead_ns"]) <= event["doubt_ns"] + 1_000
