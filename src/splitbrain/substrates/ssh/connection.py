"""One SSH connection to a host: who it is, sessions, files, sockets forwarded from there.

A host whose key is not known is refused; nothing is added to the known hosts behind the user's back.
paramiko blocks, so whatever waits for the host runs in threads of the connection's own.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import paramiko

from splitbrain.errors import HostError
from splitbrain.substrates.ssh.hosts import Entry
from splitbrain.substrates.ssh.wire import Wire

__all__ = ["Connection", "Login", "login_of"]

T = TypeVar("T")

_TIMEOUT_S = 15.0
_STREAMLOCAL = "direct-streamlocal@openssh.com"
_SYSTEM_HOSTS = "/etc/ssh/ssh_known_hosts"

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what fails is told by us


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a host: what its entry says, and for the rest the user's SSH configuration.

    Attributes:
        place: as the user wrote it, for messages.
        host: its address or name.
        keys: files of private keys; empty: the agent's and the usual ones.
        known: the file of known hosts.
        proxy: command whose pipes lead there; empty for none.
        accept_new: add its key at the first meeting.
    """

    place: str
    host: str
    user: str
    port: int
    keys: tuple[str, ...] = ()
    known: str
    proxy: str = ""
    accept_new: bool = False


def login_of(entry: Entry, config: str | None = None) -> Login:
    """Of an entry and ``~/.ssh/config``, or the configuration of that path.

    Raises:
        HostError: the configuration is malformed.
    """
    path = Path(config) if config else Path("~/.ssh/config").expanduser()
    said: Mapping[str, Any] = {}
    try:
        if path.is_file():
            said = paramiko.SSHConfig.from_path(str(path)).lookup(entry.host)
    except (OSError, paramiko.ConfigParseError) as error:
        raise HostError(f"{path}: {error}") from error
    key = [os.path.expanduser(entry.key)] if entry.key else list(said.get("identityfile", ()))
    known = str(said.get("userknownhostsfile", "~/.ssh/known_hosts")).split()[0]
    return Login(
        place=entry.place,
        host=str(said.get("hostname", entry.host)),
        user=entry.user or str(said.get("user", "")) or getpass.getuser(),
        port=entry.port or int(said.get("port", 22)),
        keys=tuple(one for one in key if Path(one).is_file() or entry.key),
        known=os.path.expanduser(known),
        proxy=str(said.get("proxycommand", "")),
        accept_new=entry.accept_new,
    )


class _Transport(paramiko.Transport):
    """One that can also open channels to unix sockets of the host, as OpenSSH does.

    ``open_channel`` knows the general part of the request; the path that this kind needs is added to
    the message on its way.
    """

    _adding = threading.local()

    def open_streamlocal(self, path: str, timeout: float) -> paramiko.Channel:
        self._adding.path = path
        try:
            return self.open_channel(_STREAMLOCAL, timeout=timeout)
        finally:
            self._adding.path = None

    def _send_user_message(self, data: paramiko.Message) -> None:
        path = getattr(self._adding, "path", None)
        if path is not None:
            self._adding.path = None
            data.add_string(path)
            data.add_string("")
            data.add_int(0)
        super()._send_user_message(data)  # type: ignore[misc]


def _transport(*where: Any, **how: Any) -> paramiko.Transport:
    return _Transport(*where, **how)


class Connection:
    """One open connection; inside an event loop only.

    Example::

        connection = await Connection.open(login_of(entry))
        wire = await connection.session("exec uname -a")
        print(await wire.reader.read())
        await connection.close()
    """

    def __init__(self, login: Login, client: paramiko.SSHClient, proxy: _Proxy | None) -> None:
        self.login = login
        self._client = client
        self._proxy = proxy
        self._threads = ThreadPoolExecutor(8, thread_name_prefix=f"ssh {login.place}")
        self._writers = ThreadPoolExecutor(1, thread_name_prefix=f"ssh to {login.place}")
        self._sftp: paramiko.SFTPClient | None = None
        self._opening = asyncio.Lock()

    @classmethod
    async def open(cls, login: Login) -> Connection:
        """Connect and log in.

        Raises:
            HostError: it cannot be reached, is not known, or does not let us in: with the remedy.
        """
        return cls(login, *await asyncio.to_thread(_connect, login))

    async def session(self, command: str) -> Wire:
        """Run a command in a session of its own, which costs some 100 ms."""

        def start() -> paramiko.Channel:
            channel = self._transport.open_session(timeout=_TIMEOUT_S)
            channel.exec_command(command)
            return channel

        return Wire(await self._wait("run a command", start), self._writers)

    async def forward(self, path: str) -> Wire:
        """A connection to a unix socket of the host.

        Raises:
            ConnectionError: nobody listens there, or the server forwards no sockets.
        """
        try:
            opened = await self._wait(
                "forward a socket",
                lambda: self._transport.open_streamlocal(path, _TIMEOUT_S),
            )
        except HostError as error:
            raise ConnectionRefusedError(str(error)) from error
        return Wire(opened, self._writers)

    async def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file there, whole or not at all.

        Raises:
            FileNotFoundError: its directory is not there.
            HostError: it cannot be written.
        """

        def write(sftp: paramiko.SFTPClient) -> None:
            aside = f"{path}.{os.getpid()}.new"
            with sftp.open(aside, "wb") as file:
                file.set_pipelined(True)
                file.write(content)
            sftp.chmod(aside, mode)
            sftp.posix_rename(aside, path)

        await self._files(f"write {path}", write)

    async def get(self, path: str) -> bytes:
        """Read a file there.

        Raises:
            FileNotFoundError: it is not there.
            HostError: it cannot be read.
        """

        def read(sftp: paramiko.SFTPClient) -> bytes:
            with sftp.open(path, "rb") as file:
                file.prefetch(file.stat().st_size)
                return bytes(file.read())

        return await self._files(f"read {path}", read)

    async def close(self) -> None:
        """Close it, and with it all channels."""
        await asyncio.to_thread(self._client.close)
        if self._proxy is not None:
            await asyncio.to_thread(self._proxy.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=False, cancel_futures=True)

    @property
    def peer(self) -> str:
        """The address that the connection leads to; empty behind a proxy command."""
        try:
            return str(self._transport.getpeername()[0]) if self._proxy is None else ""
        except OSError:
            return ""

    @property
    def _transport(self) -> _Transport:
        transport = self._client.get_transport()
        if not isinstance(transport, _Transport):
            raise HostError(f"host {self.login.place}: the connection is closed")
        return transport

    async def _files(self, what: str, act: Callable[[paramiko.SFTPClient], T]) -> T:
        async with self._opening:
            if self._sftp is None:
                self._sftp = await self._wait("open sftp", self._client.open_sftp)
        sftp = self._sftp
        return await self._wait(what, lambda: act(sftp))

    async def _wait(self, what: str, act: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, act)
        except FileNotFoundError:
            raise
        except (OSError, EOFError, paramiko.SSHException, RuntimeError) as error:
            transport = self._client.get_transport()
            lost = transport is None or not transport.is_active()
            why = "the connection is lost" if lost else str(error) or type(error).__name__
            raise HostError(f"host {self.login.place}: cannot {what}: {why}") from error


def _connect(login: Login) -> tuple[paramiko.SSHClient, _Proxy | None]:
    client = paramiko.SSHClient()
    proxy = _Proxy(login.proxy) if login.proxy else None
    place, login_at = login.place, f"{login.user}@{login.host}"
    try:
        _learn_hosts(client, login)
        client.connect(
            login.host,
            port=login.port,
            username=login.user,
            key_filename=list(login.keys) or None,  # type: ignore[arg-type]  # or a list
            look_for_keys=not login.keys,
            timeout=_TIMEOUT_S,
            banner_timeout=_TIMEOUT_S,
            auth_timeout=_TIMEOUT_S,
            sock=proxy.socket if proxy is not None else None,
            transport_factory=_transport,
        )
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(15)
        return client, proxy
    except paramiko.BadHostKeyException:
        why = (
            f"its key is not the one in {login.known}: somebody else answers, or it was set up "
            f"anew; look, then ssh-keygen -R {_known_name(login)}"
        )
    except paramiko.PasswordRequiredException:
        why = "its key has a passphrase: give it to an agent by ssh-add"
    except paramiko.AuthenticationException:
        why = f"it does not let {login.user} in: try ssh {login_at}; key=FILE names another key"
    except (socket.gaierror, TimeoutError, OSError, EOFError, paramiko.SSHException) as error:
        why = _reason(login, error)
    client.close()
    if proxy is not None:
        proxy.close()
    raise HostError(f"host {place}: {why}")


class _Proxy:
    """The user's proxy command, with one end of a socket as both its input and its output."""

    def __init__(self, command: str) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def close(self) -> None:
        """End it; it may have ended already, for its socket is closed."""
        self.socket.close()
        self._process.kill()
        self._process.wait()


def _learn_hosts(client: paramiko.SSHClient, login: Login) -> None:
    """Without ``accept_new`` what is learnt can never be written back."""
    if Path(_SYSTEM_HOSTS).is_file():
        client.load_system_host_keys(_SYSTEM_HOSTS)
    if login.accept_new:
        Path(login.known).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(login.known).touch()
        client.load_host_keys(login.known)
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        return
    if Path(login.known).is_file():
        client.load_system_host_keys(login.known)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())


def _known_name(login: Login) -> str:
    return login.host if login.port == 22 else f"'[{login.host}]:{login.port}'"


def _reason(login: Login, error: BaseException) -> str:
    if isinstance(error, paramiko.SSHException) and "known_hosts" in str(error):
        scan = f"ssh-keyscan -p {login.port} {login.host} >> {login.known}"
        return (
            f"its key is not in {login.known}; see that it is the right one and add it: {scan}; "
            "or let its line of the hosts file say accept-new"
        )
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        first = next(iter(error.errors.values()))
        what = getattr(first, "strerror", None) or first
        return f"no SSH server at port {login.port} of {login.host}: {what}"
    if isinstance(error, FileNotFoundError):
        return f"no such file: {error.filename}"
    if isinstance(error, socket.gaierror):
        return f"nobody knows the name {login.host!r}"
    if isinstance(error, TimeoutError):
        return f"no answer from {login.host} port {login.port} in {_TIMEOUT_S:.0f} s"
    told = " ".join(str(error).split()) or "it closed the connection"
    if "banner" in told or "No existing session" in told:
        return f"what answers at port {login.port} of {login.host} does not speak SSH in time"
    return told
