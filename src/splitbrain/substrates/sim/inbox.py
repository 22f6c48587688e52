"""What comes to a node: messages of peers, requests of clients, probes; and the door to its shell.

Everything checks three things on its way in: that the incarnation it was meant for still lives,
that no cut holds, and that the node is not paused.  While it is, the rest of the way is *held*, in
order, as in the buffers of a stopped process; :meth:`Inbox.release` goes through what was held
before anything that comes later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from splitbrain.env import Shell
from splitbrain.substrates.sim.caller import Call
from splitbrain.substrates.sim.links import Link
from splitbrain.substrates.sim.loop import SimLoop
from splitbrain.substrates.sim.network import Letter, Network

__all__ = ["Inbox"]


class Inbox:
    """The receiving side of a node.

    Attributes:
        epoch: number of the living incarnation, 0 if none lives.
        paused: callbacks are held.
        held: what waits for the resumption.
        links: to each peer.
        probes: nonce of each datagram that this node has received, and when: the receiver's log.
    """

    def __init__(self, name: str, loop: SimLoop, network: Network) -> None:
        self.name = name
        self.epoch = 0
        self.paused = False
        self.held: deque[tuple[Callable[[Any], None], Any]] = deque()
        self.links: dict[str, Link] = {}
        self.probes: dict[int, int] = {}
        self._loop = loop
        self._network = network
        self._resuming = False
        self._shell: Shell | None = None
        self._calls: dict[str, Call] = {}

    def crash(self, error: BaseException) -> None:
        """A callback has let out an exception."""
        raise NotImplementedError

    @property
    def stopped(self) -> bool:
        """Paused, and not about to go on."""
        return self.paused and not self._resuming

    def hold(self) -> None:
        """Begin to hold."""
        if self.epoch:
            self.paused, self._resuming = True, False

    def release(self) -> None:
        """Hand over what was held; what comes before that is done is held behind it."""
        if self.stopped:
            self._resuming = True
            self._loop.post_ns(self._loop.now_ns, self._drain, self.epoch)

    def _drain(self, epoch: int) -> None:
        if not self._resuming or epoch != self.epoch:
            return
        self.paused = self._resuming = False
        held = self.held
        while held:  # nobody adds to it: the node is not paused; its death empties it
            function, argument = held.popleft()
            function(argument)

    def shut(self) -> None:
        """The node has died: nothing reaches it, its connections are reset."""
        self.epoch = 0
        self.paused = self._resuming = False
        self._shell = None
        self.held.clear()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.fail(EOFError(f"node {self.name} ended while {call.token} was open"))

    # -- messages ----------------------------------------------------------------------------

    def deliver(self, letter: Letter) -> None:
        """A peer's message arrives."""
        link, epoch, number, sent_ns, message = letter
        if epoch != self.epoch or link.cuts:
            return
        if self.paused:
            self.held.append((self._deliver_held, letter))
            return
        late_ns = self._loop.now_ns - sent_ns
        if number == link.newest + 1:  # as link.arrived does, without its call
            link.newest = number
            link.received += 1
            link.lateness_ns += late_ns
        else:
            link.arrived(number, late_ns)
        try:
            self._shell.on_message(link.source, message)  # type: ignore[union-attr]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the node ends
            self.crash(error)

    def _deliver_held(self, letter: Letter) -> None:
        """A message that lay before the paused node: no cut can touch it any more."""
        link, epoch, number, sent_ns, message = letter
        if epoch != self.epoch:
            return
        if self.paused:
            self.held.append((self._deliver_held, letter))
            return
        link.arrived(number, self._loop.now_ns - sent_ns)
        self._hand(link.source, message)

    def _hand(self, sender: str, message: Any) -> None:
        shell = self._shell
        assert shell is not None, "a living node has a shell"
        try:
            shell.on_message(sender, message)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the node ends
            self.crash(error)

    def take(self, letter: Letter) -> None:
        """A client's request arrives: taken once, refused where nobody lives."""
        link, _, number, sent_ns, call = letter
        if link.cuts:
            return
        link.arrived(number, self._loop.now_ns - sent_ns)
        if call.taken:
            return
        call.taken = True
        if not self.epoch:
            call.fail(ConnectionRefusedError(f"node {self.name} is down"))
            return
        self._calls[call.token] = call
        self._serve((self.epoch, call))

    def _serve(self, request: tuple[int, Call]) -> None:
        epoch, call = request
        if epoch != self.epoch:
            return
        if self.paused:
            self.held.append((self._serve, request))
            return
        self._hand(call.token, call.request)

    def answer(self, token: str, message: Any) -> None:
        """The shell answers a client; a second answer, or one to nobody, is dropped."""
        call = self._calls.pop(token, None)
        if call is not None:
            call.answer(message)

    def forget(self, call: Call) -> None:
        """The client of this call waits no longer."""
        self._calls.pop(call.token, None)

    # -- probes ------------------------------------------------------------------------------

    def probe(self, to: Inbox, nonce: int, *, echo: bool = False) -> bool:
        """Send a datagram over the ordinary link to ``to``; False if an end is dead or paused."""
        if not (self.epoch and to.epoch) or self.paused or to.paused:
            return False
        link = self.links[to.name]
        self._network.transmit(
            link, to.receive_probe, (nonce, self if echo else None), to.epoch
        )
        return True

    def receive_probe(self, letter: Letter) -> None:
        """Note that a probe has come, and when; answer it if it asks for an echo."""
        link, epoch, number, sent_ns, (nonce, sender) = letter
        if epoch != self.epoch or link.cuts:
            return
        if self.paused:
            self.held.append((self.receive_probe, letter))
            return
        link.arrived(number, self._loop.now_ns - sent_ns)
        self.probes[nonce] = self._loop.now_ns
        if sender is not None:
            self.probe(sender, nonce)
