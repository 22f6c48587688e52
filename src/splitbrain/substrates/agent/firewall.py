"""Runs iptables: puts a state of rules in place, and sees to it that they go when the agent goes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping

from .asking import Refused
from .rules import CHAINS, NEEDS, State, chains_of, leftovers_text, restore_text, try_text

__all__ = ["Firewall"]

_NAMES = ("iptables", "iptables-legacy", "iptables-nft")
_TIMEOUT_S = 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_WAIT = ("-w", "5")

_GUARD = """
cat > /dev/null
for pair in $2; do
    "$1" -w 5 -D "${pair%%:*}" -j "${pair##*:}"
    "$1" -w 5 -F "${pair##*:}"
    "$1" -w 5 -X "${pair##*:}"
done
"""
"""Waits until its input closes, which happens however the agent ends."""


def _run(argv: list[str], text: str = "") -> str:
    """Run a command; what it printed.

    Raises:
        Refused: it failed; what it first complained of.
    """
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={"PATH": _PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{argv[0]} cannot be run: {error}") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Refused(said[0] if said else f"{argv[0]} failed and did not say why")
    return done.stdout


def _try(path: str, *rules: str) -> str:
    """Why the kernel does not take these rules; empty if it does."""
    try:
        _run([f"{path}-restore", *_WAIT, "-n"], try_text(*rules))
    except Refused as refused:
        return str(refused)
    return ""


class Firewall:
    """The filter table of this namespace, our part of it.

    Args:
        claim: what says that the namespace is ours; held until the last rule is gone.

    Attributes:
        path: the iptables command that works here; None if there is none.
        missing: what does not work here (keys of ``rules.NEEDS``), and why.
    """

    def __init__(self, claim: socket.socket) -> None:
        self._claim = claim
        self.path: str | None = None
        self.missing: Mapping[str, str] = {}
        self._state = State()
        self._installed: frozenset[str] = frozenset()
        self._guard: subprocess.Popen[bytes] | None = None
        self._find()
        self._remove_leftovers()

    @property
    def state(self) -> State:
        """What is in force."""
        return self._state

    def put(self, state: State) -> None:
        """Put this state in force, in place of the one before.

        Raises:
            Refused: it cannot be; then nothing of ours is in force any more.
        """
        chains = chains_of(state)
        if chains == chains_of(self._state):
            self._state = state
            return
        if self.path is None:
            raise Refused(f"no rules are possible here: {self.missing['iptables']}")
        if chains and self._guard is None:
            self._guard = self._start_guard(self.path)
        try:
            self._restore(restore_text(chains, self._installed))
        except Refused:
            # Somebody may have emptied the table under us: begin anew from what is there.
            self._remove_leftovers()
            self._state = State()
            self._restore(restore_text(chains, self._installed))
        self._state, self._installed = state, frozenset(chains)

    def close(self) -> None:
        """Remove all that is ours; never raises, for there is nobody to tell."""
        try:
            self.put(State())
            if self._guard is not None:
                self._guard.kill()
        except Refused:
            self._remove_leftovers()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()

    def _find(self) -> None:
        """Choose the first command whose rules the kernel takes, and see what else it takes."""
        reasons = []
        for name in _NAMES:
            path = shutil.which(name, path=_PATH)
            if path is None:
                continue
            why = _try(path, *NEEDS.values()) and _try(path, NEEDS["iptables"])
            if not why:
                self.path = path
                break
            reasons.append(why)
        if self.path is None:
            why = reasons[0] if reasons else "install iptables"
            if reasons and os.geteuid() != 0:
                why = f"run the agent as root: {why}"
            self.missing = dict.fromkeys(NEEDS, why)
        elif _try(self.path, *NEEDS.values()):
            tried = {need: _try(self.path, rule) for need, rule in NEEDS.items()}
            self.missing = {need: why for need, why in tried.items() if why}

    def _restore(self, text: str) -> None:
        _run([f"{self.path}-restore", *_WAIT, "-n"], text)

    def _remove_leftovers(self) -> None:
        """Remove what an agent before us left, whose guard was ended as well."""
        if self.path is None:
            return
        try:
            text = leftovers_text(_run([self.path, *_WAIT, "-S"]))
            if text:
                self._restore(text)
        except Refused:
            return  # ``put`` will say so, if it matters
        self._installed = frozenset()

    def _start_guard(self, path: str) -> subprocess.Popen[bytes]:
        pairs = " ".join(f"{parent}:{name}" for name, parent in CHAINS.items())
        # In a session of its own and without our environment: what ends us by group or by the
        # run's label must not end it before its work is done.
        return subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", path, pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._claim.fileno(),),
            cwd="/",
            env={"PATH": _PATH},
        )
