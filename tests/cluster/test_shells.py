"""A store and a member of the placement driver in one node: who gets what, and the way home."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from splitbrain.cluster.messages import Echo, PdRaftBatch, RawGet
from splitbrain.cluster.messages.pd import GetMembers, Tso, TsoReply
from splitbrain.cluster.messages.pd_errors import PdNotLeader
from splitbrain.cluster.shells import Shells


class Part:
    """A shell that writes down what it gets."""

    def __init__(self, env: Any, name: str) -> None:
        self.env, self.name = env, name
        self.got: list[tuple[str, Any]] = []

    def start(self) -> None:
        self.got.append(("start", None))

    def on_message(self, sender: str, message: Any) -> None:
        self.got.append((sender, message))

    def status(self) -> dict[str, Any]:
        return {"role": self.name, "probes": {self.name: 1}}

    def control(self, verb: str, arguments: Any) -> dict[str, Any]:
        return {"by": self.name, "verb": verb}


class World:
    """An Env of one node ``n1``: what is sent away, and callbacks that wait."""

    def __init__(self) -> None:
        self.away: list[tuple[str, Any]] = []
        self.later: list[Any] = []
        self.env: Any = SimpleNamespace(
            node="n1",
            peers=("n1", "n2"),
            clock=SimpleNamespace(
                monotonic_ns=lambda: 5, call_at=lambda _, callback: self.later.append(callback)
            ),
            random=None,
            disk=None,
            transport=SimpleNamespace(send=lambda to, message: self.away.append((to, message))),
            event=None,
            log=None,
        )


def shells(world: World, *, member: bool = True) -> tuple[Shells, Part, Part | None]:
    made: dict[str, Part] = {}

    def make(name: str) -> Any:
        return lambda env: made.setdefault(name, Part(env, name))

    both = Shells(world.env, make("store"), make("pd") if member else None)
    return both, made["store"], made.get("pd")


def test_each_gets_what_is_for_it() -> None:
    both, store, pd = shells(World())
    assert pd is not None
    both.start()
    both.on_message("n2", RawGet(b"k"))
    both.on_message("n2", TsoReply())
    both.on_message("n2", Echo(1))
    both.on_message("n2", Tso())
    both.on_message("n2", PdRaftBatch(()))
    assert [kind for kind, _ in store.got] == ["start", "n2", "n2", "n2"]
    assert [message for _, message in pd.got] == [None, Tso(), PdRaftBatch(())]


def test_what_is_sent_to_the_own_node_comes_in_a_later_turn() -> None:
    world = World()
    _, store, pd = shells(world)
    assert pd is not None
    store.env.transport.send("n1", GetMembers())
    store.env.transport.send("n2", GetMembers())
    assert pd.got == []
    assert world.away == [("n2", GetMembers())]
    for callback in world.later:
        callback()
    assert pd.got == [("n1", GetMembers())]


def test_where_no_member_is_requests_to_it_are_refused() -> None:
    world = World()
    both, store, _ = shells(world, member=False)
    both.on_message("request:1", Tso())
    both.on_message("n2", PdRaftBatch(()))
    assert world.away == [("request:1", TsoReply(error=PdNotLeader()))]
    assert store.got == []
    with pytest.raises(ValueError, match="no member"):
        both.control("pd-campaign", {})


def test_status_and_verbs_are_of_both() -> None:
    both, _, _ = shells(World())
    assert both.status() == {
        "role": "store",
        "probes": {"store": 1, "pd": 1},
        "member": {"role": "pd"},
    }
    assert both.control("campaign", {})["by"] == "store"
    assert both.control("pd-campaign", {}) == {"by": "pd", "verb": "campaign"}
