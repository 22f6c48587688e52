"""Which hosts a test uses: files, options, words of the command line; and times of other clocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cli import main
from splitbrain.errors import RequestError
from splitbrain.substrates.ssh.clock import Reading, ahead_ns, moved
from splitbrain.substrates.ssh.hosts import Entry, choose_hosts, join_hosts, split_hosts

FILE = """
# the lab
a=me@10.0.0.1:2222  key=~/lab sudo=no   # the old one
10.0.0.2 address=192.168.0.2 accept-new python=/usr/bin/python3.12
"""

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,9}", fullmatch=True).filter("client".__ne__)
entries = st.builds(
    Entry,
    name=names,
    host=names,
    user=st.just("") | names,
    port=st.integers(0, 65535),
    key=st.sampled_from(["", "~/a key", "/k'ey", "#k"]),
    sudo=st.sampled_from([None, True, False]),
    address=st.just("") | st.ip_addresses(v=4).map(str),
    python=st.sampled_from(["python3", "/opt/my python"]),
    accept_new=st.booleans(),
    own=st.booleans(),
)


@given(
    st.lists(entries, min_size=1, max_size=4, unique_by=(lambda e: e.name, lambda e: e.host))
)
def test_an_option_holds_all_that_hosts_are(hosts: list[Entry]) -> None:
    assert split_hosts(join_hosts(hosts)) == tuple(hosts)


def test_hosts_of_a_file_are_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(FILE)
    first, second = split_hosts(choose_hosts((), str(file), own=False))
    assert (first.name, first.user, first.port, first.key) == ("a", "me", 2222, "~/lab")
    assert (first.sudo, first.own, first.accept_new) == (False, True, False)
    assert (second.name, second.address, second.accept_new) == ("n2", "192.168.0.2", True)
    assert second.python == "/usr/bin/python3.12"
    picked = split_hosts(choose_hosts(("10.0.0.2", "a"), str(file), own=False))
    assert [entry.host for entry in picked] == ["10.0.0.2", "10.0.0.1"]
    with pytest.raises(RequestError, match=r"10\.0\.0\.3 will not be touched"):
        choose_hosts(("a", "10.0.0.3"), str(file), own=False)
    assert len(split_hosts(choose_hosts(("a", "10.0.0.3"), str(file), own=True))) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a b", "'b' says nothing"),
        ("x@y@z", "is no host"),
        ("h:99999", "port 99999"),
        ("[::1]", "is no host"),
        ("client=h", "is no host"),
        ("h sudo=maybe", "sudo=maybe"),
        ("h address=nowhere", "no IPv4 address"),
        ("h key='", "No closing quotation"),
    ],
)
def test_nonsense_is_told_by_its_line(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(f"good\n{line}\n")
    with pytest.raises(RequestError) as caught:
        choose_hosts((), str(file), own=False)
    assert f"{file}:2" in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hosts", "told"),
    [("h; h", "the host h is there twice"), ("a=h; a=i", "the name a is there twice")],
)
def test_each_node_has_a_host_of_its_own(hosts: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        split_hosts(hosts)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--on", "ssh"], "--on ssh needs hosts"),
        (["--on", "ssh", "--node", "10.0.0.1"], "--yes-i-own-these-hosts"),
        (["--on", "ssh", "-o", "hosts=10.0.0.1"], "--yes-i-own-these-hosts"),
        (["--node", "10.0.0.1"], "go with --on ssh"),
        (["--on", "ssh", "--hosts", "/nowhere"], "cannot be read"),
        (
            ["--on", "ssh", "--node", "h", "--yes-i-own-these-hosts", "--nodes", "3"],
            "--nodes 3, but 1 hosts",
        ),
        (["--on", "ssh", "-o", "hosts=h own=yes", "-o", "port=0"], "option port=0"),
        (["--on", "ssh", "-o", "hosts=h own=yes", "-o", "remote-dir=x"], "absolute path"),
    ],
)
def test_the_command_line_refuses_before_it_touches_a_host(words: list[str], told: str) -> None:
    done = CliRunner().invoke(main, ["run", "register", *words, "--json"])
    assert done.exit_code == 2, done.output
    assert told in json.loads(done.stdout)["summary"]


@given(
    st.integers(-(10**15), 10**15),
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(0, 10**6)),
        min_size=1,
    ),
)
def test_the_clocks_difference_is_known_within_its_doubt(
    ahead: int, trips: list[tuple[int, int, int]]
) -> None:
    readings = [Reading(at, at + there + ahead, at + there + back) for at, there, back in trips]
    told, doubt = ahead_ns(readings)
    assert abs(told - ahead) <= doubt + 1
    line = json.dumps({"kind": "x", "base_monotonic_ns": 5 + told}).encode()
    assert json.loads(moved(line, told)) == {"kind": "x", "base_monotonic_ns": 5}


@pytest.mark.parametrize("line", [b"", b"{", b'{"kind":"x"}', b"[]", b"\xff"])
def test_a_line_without_a_time_stays(line: bytes) -> None:
    assert moved(line, 7) == line
