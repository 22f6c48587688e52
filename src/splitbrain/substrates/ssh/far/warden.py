"""The warden: one small process on a node's host that launches its program and tells what it does.

It is carried there as this one file and needs Python 3.9 and the standard library.  It has two lives:

``warden.py serve DIRECTORY LABEL PLACE`` is asked over its standard input, one JSON object a line::

    > {"n": 1, "verb": "clock"}
    < {"n": 1, "ok": {"monotonic_ns": 81234000000}}
    > {"n": 2, "verb": "launch", "argv": ["/bin/sleep", "60"], ...}
    < {"n": 2, "ok": {"pid": 4242, "start": 991234}}
    < {"push": "log", "data": "aGVsbG8K"}
    < {"push": "end", "incarnation": 1, "code": -9}

It streams what the program writes to its log and its events file, in base64, and tells its end after
the last of both.  It ends when its input does; programs go on, each under a *keeper*, a fork of the
warden that leads its own session, writes the program's pid file, waits for it and writes how it ended.

``warden.py sweep DIRECTORY LABEL PLACE`` ends every process that carries the label in its environment
and removes the directory if the label is its mark; it prints one JSON object that says what it did.
``warden.py free DIRECTORY LABEL PLACE`` prints who else has the host.

Only one warden serves a host's user at a time, who holds the lock in PLACE: links are faulted for the
whole host, so two runs would heal each other's faults.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

Request = Mapping[str, Any]

MARK = ".splitbrain-run"
LOCK = "lock"
LABEL = "SPLITBRAIN_RUN"

_POLL_S = 0.05
_CHUNK = 1 << 17
_SWEEP_S = 5.0
_EXIT_S = 2.0
_QUIET_LOOKS = 3
_QUIET_S = 0.05


class Refused(Exception):
    """What is asked cannot be done; the message is the answer."""


def say(message: Request) -> None:
    """One line on standard output."""
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def start_of(pid: object) -> int:
    """Start time of a living process in clock ticks since boot; 0 if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def make_place(directory: str, label: str) -> None:
    """Make the run's directory, below one that is this user's alone; mark it with the label."""
    parent = os.path.dirname(directory)
    with contextlib.suppress(FileExistsError):
        os.makedirs(parent, mode=0o700)
    status = os.lstat(parent)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise Refused(f"{parent} is not a directory of this user's; choose another remote-dir")
    os.mkdir(directory, 0o700)
    with open(os.path.join(directory, MARK), "w", encoding="utf-8") as file:
        file.write(label)
    for part in ("data", "config", "run"):
        os.mkdir(os.path.join(directory, part), 0o700)


def claim(place: str, label: str) -> IO[str]:
    """Be the only warden of this user; the file that is locked, or Refused with the other's label.

    The last one removes the file, so whoever has locked it must look whether it is still there.
    """
    for _ in range(100):
        with contextlib.suppress(FileExistsError):
            os.mkdir(place, 0o700)
        if os.lstat(place).st_uid not in (
            os.getuid(),
            int(os.environ.get("SUDO_UID", os.getuid())),
        ):
            raise Refused(f"{place} is another user's")
        path = os.path.join(place, LOCK)
        with contextlib.suppress(FileNotFoundError):
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - locked for as long as it is open
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise Refused(f"in use by the run {file.read()}") from None
            if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
                file.truncate(0)
                file.write(label)
                file.flush()
                return file
            file.close()
    raise Refused(f"{place} cannot be claimed")


def release(place: str) -> str:
    """Remove the lock and its directory, unless somebody uses them; who does, in words."""
    if not os.path.isdir(place):
        return ""
    try:
        with claim(place, ""):
            os.unlink(os.path.join(place, LOCK))
    except Refused as refused:
        return str(refused)
    with contextlib.suppress(OSError):  # another run's directory lies there, dead or not
        os.rmdir(place)
    return ""


def write_whole(path: str, text: str) -> None:
    """The file appears with all of its content."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


class Paths:
    """The files of the run's directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.data = os.path.join(directory, "data")
        self.config = os.path.join(directory, "config")
        self.log = os.path.join(directory, "log")
        self.events = os.path.join(directory, "events")
        self.pid = os.path.join(directory, "run", "pid")

    def end(self, incarnation: int) -> str:
        """How an incarnation ended."""
        return os.path.join(self.directory, "run", f"end-{incarnation}")


def keep(request: Request, paths: Paths, report: int) -> None:
    """The keeper's life: run the program, write its pid file, wait, write how it ended."""
    end = paths.end(request["incarnation"])
    try:
        with open(paths.log, "ab") as log:
            program = subprocess.Popen(
                request["argv"],
                env={**os.environ, **request["environment"]},
                cwd=paths.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        told = {"error": f"cannot run {request['argv'][0]!r}: {error.strerror}"}
        os.write(report, json.dumps(told).encode())
        return
    born = {"pid": program.pid, "start": start_of(program.pid)}
    write_whole(paths.pid, json.dumps(born) + "\n")
    os.write(report, json.dumps(born).encode())
    os.close(report)
    write_whole(end, f"{program.wait()}\n")


class Warden:
    """Serves until its input ends."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.seen = {"log": 0, "events": 0}
        self.program: tuple[int, int, int] | None = None  # incarnation, pidfd, keeper
        self.pending = b""

    def run(self) -> None:
        """Answer and tell, in turns."""
        while True:
            watched = [0] if self.program is None else [0, self.program[1]]
            ready, _, _ = select.select(watched, [], [], _POLL_S)
            if 0 in ready and not self.read():
                return
            self.stream()
            if self.program is not None and self.program[1] in ready:
                self.tell_end()

    def read(self) -> bool:
        """Take requests; False once there will be none."""
        data = os.read(0, _CHUNK)
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            try:
                verbs = {"clock": self.clock, "launch": self.launch, "flush": self.flush}
                answer: Request = {"ok": verbs[request["verb"]](request)}
            except Refused as refused:
                answer = {"error": str(refused)}
            except OSError as error:
                answer = {"error": f"{error.filename or request['verb']}: {error.strerror}"}
            say({"n": request["n"], **answer})
        return bool(data)

    def clock(self, request: Request) -> Request:
        """This machine's monotonic clock."""
        return {"monotonic_ns": time.monotonic_ns()}

    def flush(self, request: Request) -> Request:
        """All that is in the files has been told once this is answered."""
        self.stream()
        return {}

    def launch(self, request: Request) -> Request:
        """Write the program's files and run it under a keeper."""
        if self.program is not None:
            raise Refused("the program before it still runs")
        check_port(request["port"])
        for name, content in request["files"].items():
            path = os.path.join(self.paths.config, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(base64.b64decode(content))
        self.mend_events()
        out, report = os.pipe()
        keeper = os.fork()
        if keeper == 0:
            try:
                os.setsid()
                nothing = os.open(os.devnull, os.O_RDWR)
                for number in (0, 1, 2):
                    os.dup2(nothing, number)
                os.dup2(report, 3)
                os.closerange(4, 1024)
                keep(request, self.paths, 3)
            finally:
                os._exit(0)
        os.close(report)
        with open(out, "rb") as file:
            told: Request = json.loads(file.read() or b'{"error": "its keeper ended"}')
        if "error" in told:
            os.waitpid(keeper, 0)
            raise Refused(told["error"])
        try:
            watch = os.pidfd_open(told["pid"])
        except ProcessLookupError:  # it has ended, and its keeper has seen it
            watch = os.open(os.devnull, os.O_RDONLY)
        self.program = (request["incarnation"], watch, keeper)
        return told

    def mend_events(self) -> None:
        """A kill may have torn the last event; the next one must not be joined to it."""
        with open(self.paths.events, "ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def stream(self) -> None:
        """Tell what is new in both files."""
        for kind, path in (("log", self.paths.log), ("events", self.paths.events)):
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                file.seek(self.seen[kind])
                while data := file.read(_CHUNK):
                    self.seen[kind] += len(data)
                    say({"push": kind, "data": base64.b64encode(data).decode()})

    def tell_end(self) -> None:
        """The program is gone: wait for its keeper's word, and pass it on after its last line."""
        assert self.program is not None
        incarnation, watch, keeper = self.program
        os.close(watch)
        self.program = None
        until = time.monotonic() + _EXIT_S
        while os.waitpid(keeper, os.WNOHANG)[0] == 0 and time.monotonic() < until:
            time.sleep(0.001)
        try:
            with open(self.paths.end(incarnation), encoding="utf-8") as file:
                code = int(file.read())
        except (OSError, ValueError):  # the keeper was ended too: by whom, nobody can tell
            code = -int(signal.SIGKILL)
        self.stream()
        say({"push": "end", "incarnation": incarnation, "code": code})


def check_port(port: int) -> None:
    """Refuse if some program listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError as error:
            raise Refused(
                f"port {port} is taken by another program ({error.strerror}); "
                "end it there, or choose another --option port"
            ) from None


def serve(directory: str, label: str, place: str) -> None:
    """Claim the host, make the directory, serve."""
    try:
        lock = claim(place, label)
        make_place(directory, label)
    except (Refused, OSError) as error:
        what = (
            str(error) if isinstance(error, Refused) else f"{error.filename}: {error.strerror}"
        )
        say({"n": 0, "error": what})
        return
    say({"n": 0, "ok": {"pid": os.getpid()}})
    with lock, contextlib.suppress(BrokenPipeError):
        Warden(Paths(directory)).run()


def labelled(label: str) -> Iterator[tuple[int, int]]:
    """The living processes that carry the label: (pid, start)."""
    wanted = f"{LABEL}={label}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                start = start_of(name)
                if wanted in file.read().split(b"\0") and start:
                    yield int(name), start


def end(pid: int) -> str:
    """Kill a process; why that was not allowed, if so."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        return "" if isinstance(error, ProcessLookupError) else f"pid {pid}: {error.strerror}"
    return ""


def sweep(directory: str, label: str, place: str) -> None:
    """End the run's processes until looks find none; remove its directory.

    One look is not enough: in the moment of becoming another program a process shows no environment.
    """
    ended: set[tuple[int, int]] = set()
    left, removed = list[str](), list[str]()
    until = time.monotonic() + _SWEEP_S
    quiet = 0
    while quiet < _QUIET_LOOKS:
        found = set(labelled(label))
        quiet = 0 if found else quiet + 1
        left += [why for pid, _ in found if (why := end(pid))]
        ended |= found
        if left or time.monotonic() > until:
            left += [] if left else [f"pid {pid} does not end" for pid, _ in found]
            break
        time.sleep(_QUIET_S if quiet else 0.01)
    if os.path.lexists(directory):
        if marked(directory, label):
            shutil.rmtree(directory, ignore_errors=True)
        if not os.path.lexists(directory):
            removed.append(directory)
        else:
            left.append(f"{directory} cannot be removed, or is not what the run made")
    pids = sorted(pid for pid, _ in ended)
    say({"ended": pids, "removed": removed, "left": left, "busy": release(place)})


def free(directory: str, label: str, place: str) -> None:
    """Say who has the host, if anybody."""
    say({"busy": release(place)})


def marked(directory: str, label: str) -> bool:
    """Is this the directory that the label made?"""
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode):
        return False
    try:
        with open(os.path.join(directory, MARK), encoding="utf-8") as file:
            return file.read() in (label, "")
    except FileNotFoundError:
        return not os.listdir(directory)  # made, and not yet marked, when its maker died


if __name__ == "__main__":
    {"serve": serve, "sweep": sweep, "free": free}[sys.argv[1]](*sys.argv[2:5])
