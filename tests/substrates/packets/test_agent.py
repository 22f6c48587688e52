"""The agent's pure parts, and what must hold of its sources so that they can be carried."""

from __future__ import annotations

import ast
import doctest
import importlib
import random
import socket
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import splitbrain.substrates.agent as agent
from splitbrain.contracts.fault import Shape
from splitbrain.substrates.agent.datagrams import BEAT, Datagram, Tally, decode
from splitbrain.substrates.agent.loop import Loop
from splitbrain.substrates.agent.rules import (
    State,
    chains_of,
    leftovers_text,
    restore_text,
)
from splitbrain.substrates.agent.shaping import Form, Line, damaged
from splitbrain.substrates.packets.faults import LinkFault, fold

SOURCES = sorted(Path(agent.__file__).parent.glob("*.py"))
MS = 1_000_000


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_can_be_carried(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            continue
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "name",
    ["agent.datagrams", "agent.rules", "agent.shaping", "packets.abilities", "packets.faults"],
)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"splitbrain.substrates.{name}"))
    assert (failed, tried > 0) == (0, True)


def test_a_file_that_was_forgotten_in_the_same_round_is_left_alone() -> None:
    loop, called = Loop(), []
    pairs = [socket.socketpair() for _ in range(2)]
    for near, far in pairs:
        far.send(b"x")

        def call(near=near) -> None:
            called.append(near)
            for one, _ in pairs:
                loop.forget(one)
            loop.stop()

        loop.watch(near, call)
    loop.run()
    assert len(called) == 1
    for pair in pairs:
        for one in pair:
            one.close()


# --- rules --------------------------------------------------------------------------------------

FULL = State(
    cut_from=("10.0.0.2", "10.0.0.3"),
    cut_to=("10.0.0.254",),
    queue_from=("10.0.0.254",),
    queue_to=("10.0.0.4",),
    lose_to=(("10.0.0.5", 0.25),),
    spare=(22,),
)


def test_a_whole_state_is_one_text() -> None:
    assert restore_text(chains_of(FULL), frozenset({"SPLITBRAIN-IN"})).splitlines() == [
        "*filter",
        ":SPLITBRAIN-IN - [0:0]",
        ":SPLITBRAIN-OUT - [0:0]",
        ":SPLITBRAIN-SHAPE-IN - [0:0]",
        ":SPLITBRAIN-SHAPE-OUT - [0:0]",
        "-A SPLITBRAIN-IN -p tcp --dport 22 -j RETURN",
        "-A SPLITBRAIN-IN -s 10.0.0.2/32 -j DROP",
        "-A SPLITBRAIN-IN -s 10.0.0.3/32 -j DROP",
        "-D INPUT -j SPLITBRAIN-IN",
        "-I INPUT 1 -j SPLITBRAIN-IN",
        "-A SPLITBRAIN-OUT -p tcp --sport 22 -j RETURN",
        "-A SPLITBRAIN-OUT -d 10.0.0.254/32 -j DROP",
        "-I OUTPUT 1 -j SPLITBRAIN-OUT",
        "-A SPLITBRAIN-SHAPE-IN -p tcp --dport 22 -j RETURN",
        "-A SPLITBRAIN-SHAPE-IN -m mark --mark 0x5b1a05 -j RETURN",
        "-A SPLITBRAIN-SHAPE-IN -s 10.0.0.254/32 -j NFQUEUE --queue-num 5151 --queue-bypass",
        "-I INPUT 1 -j SPLITBRAIN-SHAPE-IN",
        "-A SPLITBRAIN-SHAPE-OUT -p tcp --sport 22 -j RETURN",
        "-A SPLITBRAIN-SHAPE-OUT -m mark --mark 0x5b1a05 -j RETURN",
        "-A SPLITBRAIN-SHAPE-OUT -d 10.0.0.4/32 -j NFQUEUE --queue-num 5151 --queue-bypass",
        (
            "-A SPLITBRAIN-SHAPE-OUT -d 10.0.0.5/32 -m statistic --mode random "
            "--probability 0.25000000 -j DROP"
        ),
        "-I OUTPUT 1 -j SPLITBRAIN-SHAPE-OUT",
        "COMMIT",
    ]


def test_a_state_of_nothing_has_no_rules_even_where_ports_are_spared() -> None:
    assert chains_of(State(spare=(22,))) == {}


def test_leftovers_are_ours_alone() -> None:
    listing = """-P INPUT ACCEPT
-N DOCKER
-N SPLITBRAIN-OUT
-N SPLITBRAIN-OUTER
-A INPUT -j SPLITBRAIN-OUTER
-A OUTPUT -j SPLITBRAIN-OUT
-A OUTPUT -j DOCKER
-A SPLITBRAIN-OUT -d 10.0.0.2/32 -j DROP
"""
    assert leftovers_text(listing).splitlines() == [
        "*filter",
        "-D OUTPUT -j SPLITBRAIN-OUT",
        "-F SPLITBRAIN-OUT",
        "-X SPLITBRAIN-OUT",
        "COMMIT",
    ]
    assert leftovers_text("-P INPUT ACCEPT\n-N DOCKER\n") == ""


# --- shapes -------------------------------------------------------------------------------------

FORMS = st.builds(
    Form,
    delay_ns=st.integers(0, 100 * MS),
    jitter_ns=st.integers(0, 100 * MS),
    loss=st.floats(0, 1),
    duplicate=st.floats(0, 1),
    reorder=st.floats(0, 1),
    corrupt=st.floats(0, 1),
    bits_per_s=st.sampled_from([0.0, 1e5, 1e9]),
)
ARRIVALS = st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(20, 1500)), max_size=60)


@given(form=FORMS, arrivals=ARRIVALS)
def test_a_line_delays_and_keeps_order(form: Form, arrivals) -> None:
    line, now, last, bits = Line(form, "seed"), 0, 0, 0.0
    for wait, size in arrivals:
        now += wait
        fate = line.take(now, size)
        if fate is None:
            continue
        bits += size * 8
        assert fate.at_ns >= now + form.delay_ns
        assert fate.at_ns >= last, "jitter alone overtakes nobody"
        if form.bits_per_s:
            assert fate.at_ns >= bits / form.bits_per_s * 1e9 - len(arrivals)
        elif not form.jitter_ns:
            assert fate.at_ns == now + form.delay_ns
        last = fate.at_ns


@given(form=FORMS, other=FORMS)
def test_the_fate_of_the_nth_packet_depends_on_nothing_else(form: Form, other: Form) -> None:
    one, changed = Line(form, "seed"), Line(other, "seed")
    for _ in range(20):
        one.take(0, 100)
        changed.take(0, 1400)
    one.form = changed.form = Form(loss=0.5, duplicate=0.5, reorder=0.5, corrupt=0.5)
    for _ in range(20):
        fate, same = one.take(10**18, 100), changed.take(10**18, 100)
        assert fate == same


def test_a_full_link_loses_what_would_wait_too_long() -> None:
    line = Line(Form(bits_per_s=1e6), "seed")
    fates = [line.take(0, 1250) for _ in range(100)]  # 10 ms each
    passed = [fate.at_ns for fate in fates if fate is not None]
    assert passed == [10 * MS * n for n in range(1, 52)]


def checksum(data: bytes) -> int:
    """Of the internet, over whole words; 0 over data that holds its own."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet_of(protocol: int, payload: bytes) -> tuple[bytes, bytes]:
    """An IPv4 packet with right checksums, and its pseudo-header."""
    payload += bytes(len(payload) % 2)
    header = bytes(8) if protocol == 17 else bytes(12) + b"\x50" + bytes(7)
    at = 6 if protocol == 17 else 16
    ends = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
    pseudo = ends + struct.pack("!HH", protocol, len(header) + len(payload))
    right = checksum(pseudo + header + payload)
    header = header[:at] + struct.pack("!H", right) + header[at + 2 :]
    ip = b"\x45" + bytes(8) + bytes([protocol]) + bytes(2) + ends
    return ip + header + payload, pseudo


@given(
    protocol=st.sampled_from([6, 17]),
    payload=st.binary(max_size=40),
    flip=st.floats(0, 1, exclude_max=True),
)
def test_damage_is_one_bit_that_the_checksum_tells(protocol, payload, flip) -> None:
    packet, pseudo = packet_of(protocol, payload)
    assert checksum(pseudo + packet[20:]) == 0
    changed = damaged(packet, flip)
    assert len(changed) == len(packet)
    assert sum((a ^ b).bit_count() for a, b in zip(packet, changed, strict=True)) == 1
    assert changed[:20] == packet[:20]
    assert checksum(pseudo + changed[20:]) != 0


# --- counts -------------------------------------------------------------------------------------


def test_what_came_twice_or_late_is_counted_as_such() -> None:
    draw = random.Random(3)
    numbers = list(range(1, 3001))
    sent = [n for n in numbers if draw.random() > 0.2]
    doubled = [n for n in sent for _ in range(1 + (draw.random() < 0.3))]
    tally, seen, newest = Tally(lateness=True), set(), 0
    duplicates = reordered = 0
    for n in sorted(doubled, key=lambda n: n + 4 * draw.random()):
        duplicates += n in seen
        reordered += n not in seen and n < newest
        seen.add(n)
        newest = max(newest, n)
        tally.saw(Datagram(BEAT, "n1", 7, n, n, 0), n + 10)
    assert tally.counts() == {
        "received": len(doubled),
        "duplicates": duplicates,
        "reordered": reordered,
        "lateness_ns": 10 * len(doubled),
    }
    tally.saw(Datagram(BEAT, "n1", 8, 1, 0, 0), 0)
    tally.saw(Datagram(BEAT, "n1", 7, 4000, 0, 0), 0)
    counts = tally.counts()
    assert counts["received"] == len(doubled) + 1, "a new sender counts, the old one's rest not"
    assert (counts["duplicates"], counts["reordered"]) == (duplicates, reordered)


@given(st.binary(max_size=80))
def test_what_others_send_is_ignored(data: bytes) -> None:
    assert decode(data, "s") is None


# --- faults -------------------------------------------------------------------------------------


def test_faults_of_client_links_are_done_at_the_node() -> None:
    ips = {"n1": "10.0.0.1", "n2": "10.0.0.2"}
    gateways = {"n1": "10.0.0.254", "n2": "10.1.0.254"}
    late = Shape(delay_ms=5, rate_kbps=100)
    later = Shape(delay_ms=7, jitter_ms=1, rate_kbps=50)
    orders = fold(
        ips,
        gateways,
        [
            LinkFault(links=(("client", "n1"), ("n2", "client"))),
            LinkFault(links=(("client", "n2"),), shape=late),
            LinkFault(links=(("client", "n2"), ("n2", "n1")), shape=later),
        ],
    )
    assert orders["n1"].cut_from == ("10.0.0.254",)
    assert orders["n1"].cut_to == ()
    assert (orders["n2"].cut_from, orders["n2"].cut_to) == ((), ("10.1.0.254",))
    assert orders["n2"].shape_from == {
        "10.1.0.254": Shape(delay_ms=12, jitter_ms=1, rate_kbps=50)
    }
    assert orders["n2"].shape_to == {"10.0.0.1": later}
    assert orders["n1"].shape_to == orders["n1"].shape_from == {}
