"""The options of ``--on ssh``: pure parsing."""

from __future__ import annotations

import msgspec

from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError
from splitbrain.substrates.real.testbed import flag
from splitbrain.substrates.ssh.hosts import Entry, refuse_foreign, split_hosts

__all__ = ["LIMITS_NEED", "Options"]

LIMITS_NEED = "processor time and memory are limited by a cgroup of one's own; use --on docker"

_PORT = 20160


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a test's options say of its hosts.

    Attributes:
        hosts: ``hosts=...``: one a node, in the spec's order.
        remote_dir: ``remote-dir=DIR``: where on the hosts the run's directory is made; empty: in /tmp.
        port: ``port=20160``: where each node listens.
        keep_data: ``keep-data=true``: copy the nodes' data into the run directory at the end.
    """

    hosts: tuple[Entry, ...]
    remote_dir: str = ""
    port: int = _PORT
    keep_data: bool = False

    @classmethod
    def of(cls, spec: TestSpec) -> Options:
        """Those of a test; the others belong to other rooms.

        Raises:
            RequestError: one is malformed, or a host is not the user's by the user's word.
        """
        text = str(spec.options.get("hosts", ""))
        if not text.strip():
            raise RequestError(
                "--on ssh needs hosts: name each by --node HOST, or all in a file by --hosts FILE"
            )
        hosts = split_hosts(text)
        refuse_foreign(hosts)
        by_name = {entry.name: entry for entry in hosts}
        lacking = [name for name in spec.nodes if name not in by_name]
        if lacking:
            raise RequestError(
                f"option hosts names no host for the node {lacking[0]}: it has "
                f"{', '.join(by_name)}, and the test has {', '.join(spec.nodes)}"
            )
        remote_dir = str(spec.options.get("remote-dir", ""))
        if remote_dir and not (remote_dir.startswith("/") and 1 < len(remote_dir) <= 60):
            raise RequestError(
                f"option remote-dir={remote_dir!r}: choose an absolute path of at most 60 bytes, for "
                "a unix socket's is short"
            )
        port = spec.options.get("port", _PORT)
        if not isinstance(port, int) or not 0 < port < 65536:
            raise RequestError(f"option port={port!r}: choose one from 1 to 65535")
        return cls(
            hosts=tuple(by_name[name] for name in spec.nodes),
            remote_dir=remote_dir,
            port=port,
            keep_data=flag(spec, "keep-data", default=False),
        )
