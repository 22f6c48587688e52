"""Which hosts a test uses, and how to log in to them: pure parsing.

A hosts file has one host a line; what it names is the user's own, by the user's word::

    # [name=][user@]host[:port]   key=FILE  sudo=yes|no  address=IP  python=FILE  accept-new
    n1=test@10.0.0.11        key=~/.ssh/lab  sudo=yes
    n2=test@10.0.0.12:2222   key=~/.ssh/lab  sudo=yes
    10.0.0.13

What is not said comes from ``~/.ssh/config``, the agent and the usual keys.  ``--node HOST`` means the
entry of that name or host, and else the host itself; then it needs ``--yes-i-own-these-hosts``.

A test keeps its hosts as one option, so that its spec alone can run it again::

    hosts = "n1=test@10.0.0.11 sudo=yes own=yes; n2=test@10.0.0.12 sudo=yes own=yes"
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from splitbrain.errors import RequestError

__all__ = [
    "Entry",
    "choose_hosts",
    "join_hosts",
    "parse_entry",
    "refuse_foreign",
    "split_hosts",
]

_PLACE = re.compile(r"(?:(?P<user>[^@\s:]+)@)?(?P<host>[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_FORM = "write it as [name=][user@]host[:port]"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One host.

    Attributes:
        name: the node's name; empty: n1, n2 ... in order.
        host: its name or IPv4 address, or a name of ``~/.ssh/config``.
        user: empty: as ssh would choose.
        port: 0: as ssh would choose.
        key: file of a private key; empty: the agent's and the usual ones.
        sudo: whether to make links' faults by ``sudo -n``; None: if it works.
        address: the IPv4 address at which the other nodes and our clients reach it; empty: ``host``'s.
        python: the interpreter there.
        accept_new: add its key to the known hosts at the first meeting.
        own: the user says that it may be hurt.
    """

    name: str = ""
    host: str
    user: str = ""
    port: int = 0
    key: str = ""
    sudo: bool | None = None
    address: str = ""
    python: str = "python3"
    accept_new: bool = False
    own: bool = False

    @property
    def place(self) -> str:
        """As the user would write it."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{user}{self.host}{port}"


def parse_entry(text: str, where: str) -> Entry:
    """One line.

    >>> parse_entry("n1=test@10.0.0.11:2222 sudo=yes", "--node").port
    2222

    Args:
        text: without comment.
        where: for messages: the file and line, or the option.

    Raises:
        RequestError: it is malformed.
    """
    try:
        place, *words = shlex.split(text, comments=True)
    except ValueError as error:
        raise RequestError(f"{where}: {text!r}: {error or 'no host'}; {_FORM}") from None
    name, equals, rest = place.rpartition("=")
    match = _PLACE.fullmatch(rest)
    if match is None or (equals and not _NAME.fullmatch(name)) or name == "client":
        raise RequestError(f"{where}: {place!r} is no host; {_FORM}")
    port = int(match["port"] or 0)
    if not 0 <= port < 65536:
        raise RequestError(f"{where}: {place!r}: port {port} is more than 65535")
    fields: dict[str, object] = {"name": name, "host": match["host"], "port": port}
    for word in words:
        key, value = _word(word, where)
        fields[key] = value
    return Entry(user=match["user"] or "", **fields)  # type: ignore[arg-type]


def _word(word: str, where: str) -> tuple[str, object]:
    key, equals, value = word.partition("=")
    if key == "accept-new" and value in ("", "yes", "no"):
        return "accept_new", value != "no"
    if key in ("sudo", "own") and value in ("yes", "no"):
        return key, value == "yes"
    if key in ("key", "python") and value and ";" not in value:
        return key, value
    if key == "address" and equals:
        try:
            return key, str(ipaddress.IPv4Address(value))
        except ValueError:
            raise RequestError(f"{where}: address={value} is no IPv4 address") from None
    raise RequestError(
        f"{where}: {word!r} says nothing; known: key=FILE, sudo=yes|no, address=IP, python=FILE, "
        "accept-new"
    )


def split_hosts(text: str) -> tuple[Entry, ...]:
    """The entries of a test's option ``hosts``, each with a name of its own.

    >>> [entry.name for entry in split_hosts("10.0.0.1; b=10.0.0.2; 10.0.0.3")]
    ['n1', 'b', 'n3']

    Raises:
        RequestError: one is malformed, or two are the same host or have the same name.
    """
    entries = [
        parse_entry(part, "option hosts") for part in re.split("[;\n]", text) if part.strip()
    ]
    named = tuple(
        msgspec.structs.replace(entry, name=entry.name or f"n{number}")
        for number, entry in enumerate(entries, 1)
    )
    for kind, values in (
        ("name", [entry.name for entry in named]),
        ("host", [f"{entry.host}:{entry.port}" for entry in named]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise RequestError(
                f"the {kind} {twice[0].removesuffix(':0')} is there twice: each node needs a host of "
                "its own, for links are faulted by address"
            )
    return named


def join_hosts(entries: Iterable[Entry]) -> str:
    """The option ``hosts`` of these entries.

    >>> text = join_hosts([parse_entry("a=u@h:1 sudo=no accept-new own=yes", "here")])
    >>> text, join_hosts(split_hosts(text)) == text
    ('a=u@h:1 sudo=no accept-new own=yes', True)
    """
    return "; ".join(_line(entry) for entry in entries)


def _line(entry: Entry) -> str:
    words = [f"{entry.name}={entry.place}" if entry.name else entry.place]
    if entry.key:
        words.append(f"key={entry.key}")
    if entry.sudo is not None:
        words.append(f"sudo={'yes' if entry.sudo else 'no'}")
    if entry.address:
        words.append(f"address={entry.address}")
    if entry.python != "python3":
        words.append(f"python={entry.python}")
    words += ["accept-new"] if entry.accept_new else []
    words += ["own=yes"] if entry.own else []
    return shlex.join(words)


def choose_hosts(nodes: Sequence[str], file: str | None, *, own: bool) -> str:
    """The option ``hosts`` of a command line.

    Args:
        nodes: what ``--node`` said, in order; empty: all of the file's.
        file: the hosts file, None for none.
        own: ``--yes-i-own-these-hosts``.

    Raises:
        RequestError: the file cannot be read; or a host is malformed, or named nowhere as the user's
            own.
    """
    listed = _read(file) if file is not None else ()
    chosen: list[Entry] = []
    for text in nodes:
        asked = parse_entry(text, f"--node {text}")
        known = [e for e in listed if asked.place in (e.name, e.host, e.place)]
        chosen.append(known[0] if known else msgspec.structs.replace(asked, own=own))
    entries = split_hosts(join_hosts(chosen or listed))
    refuse_foreign(entries)
    return join_hosts(entries)


def refuse_foreign(entries: Iterable[Entry]) -> None:
    """Refuse (RequestError) a host that the user did not say to own."""
    for entry in entries:
        if not entry.own:
            raise RequestError(
                f"host {entry.place} will not be touched: faults hurt whatever runs there; say "
                "--yes-i-own-these-hosts, or list it in a file and name that by --hosts FILE"
            )


def _read(file: str) -> tuple[Entry, ...]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise RequestError(f"--hosts {file}: cannot be read: {why}") from error
    entries = [
        msgspec.structs.replace(parse_entry(line, f"{file}:{number}"), own=True)
        for number, line in enumerate(lines, 1)
        if line.split("#")[0].strip()
    ]
    if not entries:
        raise RequestError(f"--hosts {file}: it lists no host; {_FORM}, one a line")
    return tuple(entries)
