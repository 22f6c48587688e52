"""Cut and shape: the rules, and the queue that they lead to.

The queue is bound before the first rule that leads to it, and unbound after the last one is gone, so
that no packet is lost or passes unshaped by the change itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .asking import Refused, address, addresses, integer, number, table
from .firewall import Firewall
from .loop import Loop
from .nfqueue import INPUT, OUTPUT, Queue
from .rules import QUEUE
from .shaper import Shaper, Way
from .shaping import Form

__all__ = ["Traffic"]

_MS_NS = 1_000_000
_HOUR_MS = 3_600_000
_SHARES = ("loss", "duplicate", "reorder", "corrupt")
_TIMES = ("delay_ms", "jitter_ms")


def _form(given: Any, ip: str) -> Form:
    """A form out of what is asked for."""
    if not isinstance(given, dict):
        raise Refused(f"the shape of {ip} must be an object, not {given!r}")
    known = (*_TIMES, *_SHARES, "rate_kbps")
    for name in given:
        if name not in known:
            raise Refused(f"unknown field {name!r} of a shape; known: {', '.join(known)}")
    shares = {name: number(given, name, 0, high=1) for name in _SHARES}
    return Form(
        delay_ns=int(number(given, "delay_ms", 0, high=_HOUR_MS) * _MS_NS),
        jitter_ns=int(number(given, "jitter_ms", 0, high=_HOUR_MS) * _MS_NS),
        bits_per_s=number(given, "rate_kbps", 0, high=1e9) * 1000,
        **shares,
    )


def _forms(arguments: Mapping[str, Any], name: str) -> Mapping[str, Form]:
    given = table(arguments, name, {})
    forms = {address(ip, name): _form(shape, ip) for ip, shape in given.items()}
    return {ip: forms[ip] for ip in sorted(forms) if forms[ip] != Form()}


def _ports(arguments: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = arguments.get(name, [])
    if not isinstance(value, list):
        raise Refused(f"{name} must be a list of TCP ports, not {value!r}")
    return tuple(sorted({integer({name: one}, name, low=1, high=65_535) for one in value}))


class Traffic:
    """What is done to the packets of this namespace."""

    def __init__(self, loop: Loop, claim: socket.socket) -> None:
        self._firewall = Firewall(claim)
        self._shaper = Shaper(loop)
        self._queue_missing = self._try_queue()

    def abilities(self) -> Mapping[str, Any]:
        """What is possible here: the iptables command, and by name what is missing and why."""
        missing = dict(self._firewall.missing)
        if self._queue_missing:
            missing["nfqueue"] = self._queue_missing
        return {
            "iptables": self._firewall.path,
            "nfqueue": "queue-rule" not in missing and "nfqueue" not in missing,
            "netem": _has_module("sch_netem"),
            "missing": missing,
        }

    def cut(self, arguments: Mapping[str, Any]) -> None:
        """Drop what comes ``from`` and what leaves ``to`` these addresses; nothing else any more."""
        state = self._firewall.state._replace(
            cut_from=addresses(arguments, "from"),
            cut_to=addresses(arguments, "to"),
            spare=_ports(arguments, "spare"),
        )
        self._firewall.put(state)

    def shape(self, arguments: Mapping[str, Any]) -> None:
        """Shape what comes ``from`` and what leaves ``to`` these addresses; nothing else any more."""
        from_, to = _forms(arguments, "from"), _forms(arguments, "to")
        seed = integer(arguments, "seed", 0, low=0, high=2**64 - 1)
        forced = bool(arguments.get("without_queue", False))
        state = self._firewall.state._replace(
            queue_from=(),
            queue_to=(),
            lose_from=(),
            lose_to=(),
            spare=_ports(arguments, "spare"),
        )
        if not from_ and not to:
            self._firewall.put(state)
            self._shaper.close()
            return
        why = "not to be used" if forced else self._why_no_queue()
        if not why:
            forms: dict[Way, Form] = {(INPUT, ip): form for ip, form in from_.items()}
            forms.update({(OUTPUT, ip): form for ip, form in to.items()})
            self._shaper.open()
            self._shaper.put(forms, seed)
            self._firewall.put(state._replace(queue_from=tuple(from_), queue_to=tuple(to)))
            return
        for form in (*from_.values(), *to.values()):
            if form != Form(loss=form.loss):
                raise Refused(f"only loss is possible without a packet queue (NFQUEUE): {why}")
        if statistic := self._firewall.missing.get("statistic"):
            raise Refused(
                f"no packet queue (NFQUEUE): {why}; and no loss by chance: {statistic}"
            )
        lose_from = tuple((ip, form.loss) for ip, form in from_.items())
        lose_to = tuple((ip, form.loss) for ip, form in to.items())
        self._firewall.put(state._replace(lose_from=lose_from, lose_to=lose_to))
        self._shaper.close()

    def close(self) -> None:
        """Remove all rules, let pass what waits, and unbind the queue."""
        self._firewall.close()
        self._shaper.close()

    def _why_no_queue(self) -> str:
        return self._firewall.missing.get("queue-rule") or self._queue_missing

    @staticmethod
    def _try_queue() -> str:
        """Why no queue can be bound; empty if one can."""
        try:
            Queue(QUEUE).close()
        except Refused as refused:
            return str(refused)
        return ""


def _has_module(name: str) -> bool:
    """Whether the kernel has this module, by what its files say."""
    directory = Path("/lib/modules") / os.uname().release
    known = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in (directory / "modules.builtin", directory / "modules.dep")
        if path.is_file()
    )
    return f"/{name}.ko" in known or Path("/sys/module", name).exists()
