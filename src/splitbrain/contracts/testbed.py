"""What a substrate gives: a place where nodes live, and the means to hurt and to observe them.

    substrate.run(main)        runs the coroutine ``main`` on the substrate's own event loop
      testbed = await substrate.open(site)
        node = testbed.node("n1");  await node.start(program);  await node.kill();  await node.restart()
        await testbed.net.cut("p1", (("n1", "n2"), ("n2", "n1")));  await testbed.net.heal("p1")
      await testbed.close()    heals everything, ends every node, removes what was made

Acts raise ``Unsupported`` where the substrate lacks them, ``NodeFailed`` where a node does not come
up.  Every act is idempotent: killing a dead node or healing a healed cut does nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from splitbrain.contracts.fault import Cut, Fault, Shape
from splitbrain.contracts.journal import Journal
from splitbrain.contracts.spec import TestSpec
from splitbrain.env import Caller, Env, Shell
from splitbrain.env.random import Random

__all__ = [
    "ClockFaults",
    "ExecResult",
    "Inhabited",
    "LinkCount",
    "Net",
    "Node",
    "NodeCrash",
    "NodeState",
    "Observation",
    "Program",
    "Site",
    "Substrate",
    "Testbed",
]

T = TypeVar("T")
EventSink = Callable[[Mapping[str, Any]], None]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What a System asks a Node to run.

    Attributes:
        name: short, for logs.
        argv: command line for real substrates.
        environment: added to the child's environment.
        files: relative name -> content, written into ``Node.config_dir`` before the start.
        control: True if the program opens the control socket ``Node.control_path``.
        build: makes the node's shell, for ``sim``; None where only real substrates can run it.
        image: for ``docker``: the image to run it in, by default the one with splitbrain in it.  An
            empty ``argv`` stands for the image's own command there.
    """

    name: str
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    files: Mapping[str, bytes] = {}
    control: bool = False
    build: Callable[[Env], Shell] | None = None
    image: str = ""


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """What the substrate believes of one node.

    Attributes:
        status: ``new``, ``running``, ``paused``, ``killed`` (by us) or ``exited`` (by itself).
        incarnation: how many times it was started.
    """

    status: str
    incarnation: int = 0


class NodeCrash(msgspec.Struct, frozen=True, kw_only=True):
    """A node that ended without the nemesis.

    Attributes:
        time_ns: when it was noticed, since the test began.
        reason: exit code or signal, or the failed assertion.
        log: the last lines of its log.
    """

    node: str
    time_ns: int
    incarnation: int
    reason: str
    log: tuple[str, ...] = ()


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One look at a node from outside: /proc and its clocks, or the simulator's own record.

    Attributes:
        process: ``running``, ``stopped`` (SIGSTOP), ``absent``.
        started: identifies the incarnation (start time from /proc; in sim the incarnation).
        base_ns: the observer's monotonic clock at the reading of the clocks.
        monotonic_ns: the node's own monotonic clock, None if it did not answer.
        wall_ns: the node's own wall clock, None if it did not answer.
        base_wall_ns: the observer's wall clock at the reading.
        throttled_ns: how long this incarnation was held back because its processor time was used up.
        ended: of an absent one, how it ended, if something else than we can tell: ``out of memory``.
    """

    process: str
    started: str = ""
    base_ns: int = 0
    base_wall_ns: int = 0
    monotonic_ns: int | None = None
    wall_ns: int | None = None
    throttled_ns: int | None = None
    ended: str = ""


class ExecResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a command on a node ended.

    Attributes:
        code: its exit code; negative: ended by that signal.
        out: standard output.
        err: standard error.
    """

    code: int
    out: bytes = b""
    err: bytes = b""


class LinkCount(msgspec.Struct, frozen=True, kw_only=True):
    """What both ends of a directed link have seen since the testbed was opened.

    Attributes:
        sent: messages handed to the sender's transport.
        received: messages that the receiver's transport delivered.
        duplicates: received more than once.
        reordered: received after one that was sent later.
        lateness_ns: sum over received messages of arrival minus sending.
    """

    sent: int = 0
    received: int = 0
    duplicates: int = 0
    reordered: int = 0
    lateness_ns: int = 0


class Node(Protocol):
    """One node of a testbed."""

    @property
    def name(self) -> str:
        """Its name, such as ``n1``."""

    @property
    def address(self) -> str:
        """The advertised host:port at which nodes, our clients and foreign ones reach it."""

    @property
    def data_dir(self) -> str:
        """Where the program keeps its data; survives kills and restarts."""

    @property
    def config_dir(self) -> str:
        """Where ``Program.files`` are written."""

    @property
    def control_path(self) -> str:
        """Path of the control socket, as the program sees it (empty where there is none)."""

    @property
    def python(self) -> str:
        """The interpreter there in which splitbrain is installed, for ``Program.argv``."""

    def state(self) -> NodeState:
        """What the substrate believes; no I/O."""

    async def start(self, program: Program) -> None:
        """Start ``program`` (wiping nothing); remembers it for ``restart``."""

    async def restart(self) -> None:
        """Start the remembered program again if the node is not running."""

    async def stop(self) -> None:
        """End the node in good order; kill it when that takes too long."""

    async def kill(self) -> None:
        """SIGKILL: the process is gone, all written bytes stay."""

    async def power(self) -> None:
        """Kill, and bytes not fsynced are lost; the last write may be torn."""

    async def pause(self) -> None:
        """SIGSTOP."""

    async def resume(self) -> None:
        """SIGCONT."""

    async def throttle(self, cores: float | None) -> None:
        """Let the node have so many cores at most, also after a restart; None: as at its start.

        Raises:
            Unsupported: the substrate cannot limit it.
        """

    async def starve(self) -> None:
        """Take its memory until the kernel kills it; a restarted node has its memory again.

        Raises:
            Unsupported: the substrate cannot limit it.
            HostError: the kernel did not kill it.
        """

    async def control(
        self, verb: str, arguments: Mapping[str, Any], *, timeout_s: float = 1.0
    ) -> Mapping[str, Any]:
        """Ask the node's control socket; verb ``status`` gives ``Shell.status()``.

        Raises:
            ConnectionError: the node is down.
            TimeoutError: no answer in time (paused, or overloaded).
            Unsupported: the program has no control socket.
        """

    async def observe(self) -> Observation:
        """Look at the node from outside; never raises for a dead node."""

    async def log_tail(self, lines: int = 20) -> Sequence[str]:
        """The last lines of the node's log."""

    async def exec(self, argv: Sequence[str], *, timeout_s: float = 10.0) -> ExecResult:
        """Run a command where the node lives, beside its program.

        Raises:
            Unsupported: in ``sim``, where there is no operating system.
            TimeoutError: it took longer than ``timeout_s``, and was ended.
            HostError: it cannot be started.
        """

    async def put(self, path: str, content: bytes) -> None:
        """Write a file where the node lives; a path as the program sees it."""

    async def get(self, path: str) -> bytes:
        """Read a file where the node lives; FileNotFoundError if there is none."""


class Net(Protocol):
    """Faults on links.  Each has an id; those of different ids add up; healing one leaves the rest.

    A link may also be ``("client", "n1")`` or ``("n1", "client")``: between our clients and a node.
    """

    @property
    def counts_at_once(self) -> bool:
        """True if reading ``counts`` takes no time of the test, so that a tight schedule may too."""

    async def cut(self, id: str, links: Cut) -> None:  # noqa: A002
        """Let no payload pass from the first to the second node of each pair."""

    async def shape(self, id: str, links: Cut, shape: Shape) -> None:  # noqa: A002
        """Delay, lose, double ... the messages of these directed links."""

    async def heal(self, id: str | None = None) -> None:  # noqa: A002
        """End the fault of that id; all of them for None.  Afterwards a *new* connection passes."""

    async def reach(
        self, links: Cut, *, timeout_s: float = 0.5
    ) -> Mapping[tuple[str, str], bool | None]:
        """One-way probes over the ordinary data links: did the payload arrive at the far end?

        True: it arrived.  False: it was sent and did not arrive within ``timeout_s``.  None: it
        could not be tried, because an end is dead, paused or has no control socket.
        """

    async def counts(self) -> Mapping[tuple[str, str], LinkCount]:
        """What both ends of each link have counted."""

    async def round_trip_ms(self, a: str, b: str, *, timeout_s: float = 5.0) -> float | None:
        """An echo from a to b and back over the data link; None if it did not come back."""


class ClockFaults(Protocol):
    """Faults of a node's clocks, set through its control socket."""

    async def jump(self, node: str, delta_ms: float) -> None:
        """Add ``delta_ms`` to the wall clock, once."""

    async def strobe(self, node: str, delta_ms: float, period_ms: float) -> None:
        """Let the wall clock flip by ``delta_ms`` and back each period, until ``reset``."""

    async def drift(self, node: str, rate: float) -> None:
        """Let both clocks run at (1 + rate) times the true speed, until ``reset``."""

    async def reset(self, node: str) -> None:
        """Right wall clock, right speed."""


class Testbed(Protocol):
    """The nodes of one test, and the links between them."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """By name, in the spec's order."""

    @property
    def net(self) -> Net:
        """The links."""

    @property
    def clock(self) -> ClockFaults:
        """The nodes' clocks."""

    def node(self, name: str) -> Node:
        """One node."""

    def links(self, node: str) -> Mapping[str, str]:
        """For each other node the address that ``node`` must dial to reach it."""

    def client_address(self, node: str) -> str:
        """The address that our clients dial to reach ``node``."""

    def caller(self, client: str) -> Caller | None:
        """A way to call nodes with plain structs (``sim``); None where clients use the network."""

    def time_ns(self) -> int:
        """Monotonic nanoseconds since the test began, on the substrate's clock."""

    async def slow_disk(self, node: str, extra_ms: float) -> None:
        """Let each fsync of ``node`` take ``extra_ms`` longer; 0 heals."""

    def crashes(self) -> Sequence[NodeCrash]:
        """Nodes that ended without the nemesis and were not told yet; each is told once."""

    async def close(self) -> None:
        """Heal everything, end every node, remove all that was made."""


@runtime_checkable
class Inhabited(Protocol):
    """A testbed whose nodes have data from before the test."""

    @property
    def key_prefix(self) -> str:
        """Before each key of this run's clients, so that the test's keys begin absent."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where and for whom a testbed is opened.

    Attributes:
        spec: the test.
        directory: the run directory; logs and data go below it.  None: keep nothing.
        label: unique mark of this run, carried by everything made for it.
        random: the run's seed; substrates draw from ``random.child("substrate")``.
        journal: where acts on the world are written first.
        events: called with each event that a node says of itself ({time_ns, node, kind, ...}).
        power: True if the run may use the fault ``power`` (disks then keep un-fsynced bytes apart).
    """

    spec: TestSpec
    directory: str | None
    label: str
    random: Random
    journal: Journal
    events: EventSink
    power: bool = False


class Substrate(Protocol):
    """A place where tests run: ``sim``, ``local``, ``docker``, ``ssh``."""

    @property
    def name(self) -> str:
        """The name in ``--on``."""

    @property
    def supports(self) -> frozenset[Fault]:
        """The faults that can be injected here and now."""

    @property
    def missing(self) -> Mapping[Fault, str]:
        """For each other fault, what would make it possible."""

    def impossible(self, spec: TestSpec) -> Mapping[Fault, str]:
        """Faults of ``supports`` that this spec's options rule out: what would bring them back.

        Raises:
            RequestError: an option of the substrate that is malformed.
        """

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` to its end on this substrate's own event loop."""

    async def open(self, site: Site) -> Testbed:
        """Make the testbed; inside ``run`` only."""
