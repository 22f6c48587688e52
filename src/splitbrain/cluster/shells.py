"""What one node runs: a store, and on some nodes a member of the placement driver beside it.

Both are shells over the node's one Env; they keep different files, and a message's type says for whom
it is.  What one sends to the own node goes to the other (or to itself) in a later turn, and no network
has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from splitbrain.cluster.messages import PdRaftBatch
from splitbrain.cluster.messages.pd_errors import PdNotLeader
from splitbrain.cluster.pd.answers import PD_MESSAGES, refusal
from splitbrain.env import Env, Shell, Transport

__all__ = ["SharedEnv", "Shells"]

Receive = Callable[[str, Any], None]

PD_VERB = "pd-"
"""Verbs of the control socket that begin so are for the placement driver's member."""


class SharedEnv:
    """A node's Env as one of its shells has it."""

    def __init__(self, env: Env, receive: Receive) -> None:
        self.node = env.node
        self.peers = env.peers
        self.clock = env.clock
        self.random = env.random
        self.disk = env.disk
        self.transport: Transport = _Homing(env, receive)
        self.event = env.event
        self.log = env.log


class _Homing:
    """Sends to others; what is for the own node comes back as a callback."""

    def __init__(self, env: Env, receive: Receive) -> None:
        self._node = env.node
        self._clock = env.clock
        self._away = env.transport.send
        self._receive = receive

    def send(self, to: str, message: Any) -> None:
        """See :class:`splitbrain.env.Transport`."""
        if to == self._node:
            now_ns = self._clock.monotonic_ns()
            self._clock.call_at(now_ns, partial(self._receive, to, message))
        else:
            self._away(to, message)


class Shells:
    """The store and, if there is one, the member of the placement driver.

    Args:
        env: the node's.
        make_store: makes the store over the Env that it is given.
        make_pd: likewise the member; None: this node has none.
    """

    def __init__(
        self,
        env: Env,
        make_store: Callable[[Env], Shell],
        make_pd: Callable[[Env], Shell] | None,
    ) -> None:
        self._send = env.transport.send
        shared = SharedEnv(env, self.on_message)
        self._pd = None if make_pd is None else make_pd(shared)
        self._store = make_store(shared)

    def start(self) -> None:
        """Start both."""
        if self._pd is not None:
            self._pd.start()
        self._store.start()

    def on_message(self, sender: str, message: Any) -> None:
        """Hand it to whom it is for; a request to a member that is not here is refused."""
        if type(message) not in PD_MESSAGES:
            self._store.on_message(sender, message)
        elif self._pd is not None:
            self._pd.on_message(sender, message)
        elif type(message) is not PdRaftBatch:
            self._send(sender, refusal(message, PdNotLeader()))

    def status(self) -> Mapping[str, Any]:
        """The store's, with the member's as ``member``, and the probes of both."""
        status = dict(self._store.status())
        if self._pd is not None:
            member = dict(self._pd.status())
            status["probes"] = {**status.get("probes", {}), **member.pop("probes", {})}
            status["member"] = member
        return status

    def control(self, verb: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The store's verbs; with ``pd-`` before them, the member's."""
        if not verb.startswith(PD_VERB):
            return self._store.control(verb, arguments)
        if self._pd is None:
            raise ValueError(f"{verb}: this node has no member of the placement driver")
        return self._pd.control(verb.removeprefix(PD_VERB), arguments)
