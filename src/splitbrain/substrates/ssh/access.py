"""An open host before any run: what it is, our two tools carried there, and clearing it of a run.

The tools lie in the cache of the user there, ``~/.cache/splitbrain``, under the digest of their
content, so that they are sent once.  Nothing else stays on a host once a run is over.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from splitbrain.errors import HostError
from splitbrain.substrates.packets.bundle import bundle
from splitbrain.substrates.ssh.connection import Connection, Login
from splitbrain.substrates.ssh.shell import Shells

__all__ = ["Access", "Facts", "Swept"]

_SHELLS = 2
_OLDEST = (3, 9)
_SWEEP_S = 30.0
_FAR = Path(__file__).with_name("far")

_ASK = (
    "import json, platform, sys; print(json.dumps({'executable': sys.executable, "
    "'version': list(sys.version_info[:2]), 'machine': platform.machine(), "
    "'libc': list(platform.libc_ver())}))"
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of itself.

    Attributes:
        uid: the user's number there.
        cache: directory for what outlives a run.
        client: our address, as the host sees us.
        address: its own address, as it sees the connection.
        ssh_port: the port there of its SSH server.
        python: the interpreter's path.
        version: its major and minor version.
        machine: such as ``x86_64``.
        glibc: 36 for glibc 2.36; 0 where the C library is another.
        sudo: the words before a command that make it root's; None where we cannot be.
        boot: of which boot it is.
    """

    uid: int
    cache: str
    client: str
    address: str
    ssh_port: int
    python: str
    version: tuple[int, int]
    machine: str
    glibc: int
    sudo: tuple[str, ...] | None
    boot: str


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What clearing a host did.

    Attributes:
        ended: processes there.
        removed: directories there.
        left: one line for each thing that is left.
        busy: words about another run that has the host now; empty for none.
    """

    ended: tuple[int, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    busy: str = ""


class Access:
    """One open host; made by :meth:`open`.

    Attributes:
        shells: for our own short commands.
    """

    def __init__(self, connection: Connection, facts: Facts) -> None:
        self.connection = connection
        self.facts = facts
        self.shells = Shells(connection, _SHELLS)

    @classmethod
    async def open(cls, login: Login, *, python: str, sudo: bool | None) -> Access:
        """Connect, and ask what is there.

        Args:
            login: how.
            python: the interpreter there: a path or a name.
            sudo: whether to be root by sudo; None: if it lets us.

        Raises:
            HostError: it cannot be reached, or lacks what we need.
        """
        connection = await Connection.open(login)
        try:
            return cls(connection, await _ask(connection, python, sudo))
        except BaseException:
            await connection.close()
            raise

    @property
    def lock(self) -> str:
        """Directory there of the lock that keeps other runs away."""
        return f"/tmp/splitbrain-{self.facts.uid}"  # noqa: S108 - made 0700, and its owner checked

    async def tool(self, kind: str) -> str:
        """The path there of ``warden`` or ``agent``, sent if it is not there yet."""
        content = bundle() if kind == "agent" else (_FAR / "warden.py").read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        suffix = "pyz" if kind == "agent" else "py"
        folder = f"{self.facts.cache}/splitbrain/tools"
        path = f"{folder}/{kind}-{digest}.{suffix}"
        made = await self.shells.run(
            f"mkdir -p -m 700 {shlex.quote(folder)} && [ -e {shlex.quote(path)} ] && echo there"
        )
        if made.out != b"there\n":
            if made.err:
                raise HostError(
                    f"host {self.place}: {made.err.decode(errors='replace').strip()}"
                )
            await self.connection.put(path, content)
        return path

    async def command(
        self, kind: str, arguments: Sequence[str] = (), *, label: str = "", root: bool = False
    ) -> str:
        """The command that runs a tool, for a shell there."""
        words: list[str] = [*(self.facts.sudo or ())] if root else []
        words += ["env", f"SPLITBRAIN_RUN={label}"] if label else []
        words += [self.facts.python, "-I", await self.tool(kind), *arguments]
        return shlex.join(words)

    async def refuse_busy(self) -> None:
        """Raise HostError if another run has the host: an agent of ours would heal its faults."""
        command = await self.command("warden", ("free", "", "", self.lock))
        said = await self.shells.run(command)
        swept = msgspec.json.decode(said.out, type=Swept)
        if swept.busy:
            raise HostError(
                f"host {self.place}: {swept.busy}; wait for its end, or splitbrain heal where it began"
            )

    async def sweep(self, directory: str, label: str) -> Swept:
        """End all processes of a run there, remove its directory and its rules.

        Raises:
            HostError: the connection is lost.
        """
        command = await self.command(
            "warden", ("sweep", directory, label, self.lock), root=True
        )
        said = await self.shells.run(command, timeout_s=_SWEEP_S)
        try:
            swept = msgspec.json.decode(said.out, type=Swept)
        except msgspec.MsgspecError:
            complaint = said.err.decode(errors="replace").strip().split("\n")[-1]
            raise HostError(f"host {self.place}: cannot clear it: {complaint}") from None
        if not swept.busy and self.facts.sudo is not None:
            # An agent removes what one before it has left, and ends at once without input.
            agent = await self.command("agent", root=True)
            await self.shells.run(f"{agent} </dev/null", timeout_s=_SWEEP_S)
        return swept

    async def close(self) -> None:
        """Close the connection."""
        await self.shells.close()
        await self.connection.close()

    @property
    def place(self) -> str:
        """For messages."""
        return self.connection.login.place


async def _ask(connection: Connection, python: str, sudo: bool | None) -> Facts:
    shells = Shells(connection, 1)
    place = connection.login.place
    script = (
        'id -u; echo "${XDG_CACHE_HOME:-$HOME/.cache}"; echo "${SSH_CONNECTION:-}"\n'
        "cat /proc/sys/kernel/random/boot_id\n"
        "if [ $(id -u) = 0 ] || sudo -n true 2>/dev/null; then echo root; else echo user; fi\n"
        f"exec {shlex.quote(python)} -c {shlex.quote(_ASK)}"
    )
    try:
        said = await shells.run(script, timeout_s=30.0)
        return _facts(said.out.decode().splitlines(), place, sudo)
    except (ValueError, IndexError):
        why = said.err.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise HostError(
            f"host {place}: it needs Linux and {python} (another one: python=FILE in the hosts "
            f"file); it says: {why[0]}"
        ) from None
    except TimeoutError:
        raise HostError(f"host {place}: its shell does not answer") from None
    finally:
        await shells.close()


def _facts(lines: Sequence[str], place: str, sudo: bool | None) -> Facts:
    uid, cache, connection, boot, who, told = lines[:6]
    client, _, address, port = connection.split() if connection else ("", "", "", "22")
    python: dict[str, Any] = json.loads(told)
    libc, _, release = python["libc"][0], None, python["libc"][1]
    major, minor = python["version"]
    if (major, minor) < _OLDEST:
        raise HostError(
            f"host {place}: {python['executable']} is Python {major}.{minor}; 3.9 or newer is "
            "needed (another one: python=FILE in the hosts file)"
        )
    if sudo and int(uid) and who != "root":
        raise HostError(
            f"host {place}: sudo=yes, but sudo -n asks for a password: let it not (NOPASSWD), log in "
            "as root, or say sudo=no and do without faults of links"
        )
    may = who == "root" and (sudo is not False or not int(uid))
    return Facts(
        uid=int(uid),
        cache=cache,
        client=client,
        address=address,
        ssh_port=int(port),
        python=python["executable"],
        version=(major, minor),
        machine=python["machine"],
        glibc=int(release.split(".")[1]) if libc == "glibc" else 0,
        sudo=(() if not int(uid) else ("sudo", "-n")) if may else None,
        boot=boot,
    )
