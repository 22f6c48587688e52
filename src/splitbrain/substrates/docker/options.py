"""The options of ``--on docker``: pure parsing."""

from __future__ import annotations

import re

import msgspec

from splitbrain.contracts.spec import TestSpec
from splitbrain.errors import RequestError
from splitbrain.substrates.real.testbed import flag

__all__ = ["Options", "memory_bytes"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LEAST = 6 << 20
PACKETS = ("auto", "host", "container")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a test's options say of its containers.

    Attributes:
        image: ``image=NAME``: run nodes in this image instead of the built one.
        memory: ``memory=256m``: limit of each node in bytes; 0 for none.
        cpus: ``cpus=0.5``: cores of each node; 0 for no limit.
        keep_data: ``keep-data=true``: copy the nodes' data into the run directory at the end.
        publish: ``publish=true``: a port of 127.0.0.1 leads to each node, and clients use it.
        packets: ``packets=auto|host|container``: where the agents of the links run.
        compose: ``compose=PROJECT``: the nodes are the containers of this compose project.
        containers: ``containers=NAME,...``: the nodes are these containers.
        port: ``port=8000``: where attached containers listen; 0 for the one that they expose.
    """

    image: str = ""
    memory: int = 0
    cpus: float = 0.0
    keep_data: bool = False
    publish: bool = False
    packets: str = "auto"
    compose: str = ""
    containers: tuple[str, ...] = ()
    port: int = 0

    @property
    def attached(self) -> bool:
        """True if the nodes are containers that are there already."""
        return bool(self.compose or self.containers)

    @classmethod
    def of(cls, spec: TestSpec) -> Options:
        """Those of a test; the others belong to other rooms.

        Raises:
            RequestError: one is malformed.
        """
        packets = str(spec.options.get("packets", "auto"))
        if packets not in PACKETS:
            raise RequestError(
                f"option packets={packets!r}: choose one of {', '.join(PACKETS)}"
            )
        made = cls(
            image=str(spec.options.get("image", "")),
            memory=memory_bytes(str(spec.options.get("memory", ""))),
            cpus=_cpus(spec.options.get("cpus", 0.0)),
            keep_data=flag(spec, "keep-data", default=False),
            publish=flag(spec, "publish", default=False),
            packets=packets,
            compose=str(spec.options.get("compose", "")),
            containers=_names(str(spec.options.get("containers", ""))),
            port=_port(spec.options.get("port", 0)),
        )
        made.check()
        return made

    def check(self) -> None:
        """Refuse what has no meaning together.

        Raises:
            RequestError: two of them contradict each other.
        """
        if self.compose and self.containers:
            raise RequestError(
                "--compose and --container each say which nodes there are: use one"
            )
        if not self.attached:
            if self.port:
                raise RequestError(
                    f"option port={self.port} goes with --compose or --container; leave it out"
                )
            return
        for name in ("image", "memory", "cpus", "publish", "keep_data"):
            if getattr(self, name):
                raise RequestError(
                    f"option {name.replace('_', '-')} is for containers that a run makes; those of "
                    "--compose and --container stay as they are: leave it out"
                )


def memory_bytes(text: str) -> int:
    """``256m`` in bytes; 0 for nothing.

    >>> memory_bytes("256m")
    268435456

    Raises:
        RequestError: it is no such size, or less than an engine allows.
    """
    if not text:
        return 0
    match = re.fullmatch(r"(\d+)([kmg]?)b?", text.lower())
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if size < _LEAST:
        raise RequestError(f"option memory={text!r}: choose a size such as 256m, at least 6m")
    return size


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65_535:
        raise RequestError(f"option port={value!r}: choose a number from 1 to 65535")
    return value


def _cpus(value: object) -> float:
    try:
        cpus = msgspec.convert(value, float, strict=False)
    except msgspec.ValidationError:
        cpus = -1.0
    if not 0 <= cpus <= 4096 or (0 < cpus < 0.01):
        raise RequestError(f"option cpus={value!r}: choose a number of cores such as 0.5")
    return cpus
