"""Five hosts for tests of ``ssh``: containers with an SSH server, made once a session, all removed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from splitbrain.errors import HostError

MARK = "splitbrain.test"
USER = "tester"

_SERVER = """
RUN apt-get update -q && apt-get install -qy --no-install-recommends openssh-server sudo \\
    && rm -rf /var/lib/apt/lists/* && mkdir -p /run/sshd \\
    && useradd -m -s /bin/bash tester && echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester \\
    && useradd -m -s /bin/sh guest \\
    && for user in tester guest; do \\
         mkdir -m 700 /home/$user/.ssh && chown $user:$user /home/$user/.ssh; done
CMD ["/usr/sbin/sshd", "-D", "-e"]
"""


class Lab:
    """Containers n1 ... n5; ``guest`` has no sudo, ``tester`` has, and root may log in too.

    Attributes:
        home: a home directory for this machine's user, with the key and the known hosts.
        addresses: the hosts'.
    """

    def __init__(self, home: Path, count: int = 5) -> None:
        from splitbrain.substrates.docker.image import connect

        self.home = home
        self.client = connect()
        self.containers: list[Any] = []
        try:
            self._make_key()
            image = self._image()
            for number in range(count):
                self.containers.append(self._start(image, f"lab{number + 1}"))
            self.addresses = [self._address(one) for one in self.containers]
            for one in self.containers:
                self._let_in(one)
            self._wait()
            self._learn()
        except BaseException:
            self.close()
            raise

    def _make_key(self) -> None:
        folder = self.home / ".ssh"
        folder.mkdir(parents=True, mode=0o700)
        self.key = folder / "id_ed25519"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True
        )

    def _image(self) -> str:
        """Built once for a base, by the engine's own builder; kept until the base is another."""
        import docker
        from splitbrain.substrates.docker.image import base
        from splitbrain.substrates.docker.image.progress import Progress
        from splitbrain.substrates.wheels.house import cache_directory

        chosen = base.choose(self.client, None, cache_directory(), Progress(None))
        recipe = f"FROM {chosen}{_SERVER}"
        of = hashlib.sha256((recipe + str(self.client.images.get(chosen).id)).encode())
        tag = f"splitbrain-test-sshd:{of.hexdigest()[:12]}"
        if not self.client.images.list(tag):
            self.client.images.build(
                fileobj=io.BytesIO(recipe.encode()),
                tag=tag,
                rm=True,
                forcerm=True,
                labels={MARK: "ssh"},
            )
        for old in self.client.images.list("splitbrain-test-sshd"):
            if tag not in old.tags:
                with contextlib.suppress(
                    docker.errors.APIError
                ):  # another session has it in use
                    self.client.images.remove(old.id)
        return tag

    def _start(self, image: str, name: str) -> Any:
        return self.client.containers.run(
            image,
            name=f"splitbrain-test-{os.getpid()}-{name}",
            hostname=name,
            detach=True,
            init=True,
            cap_add=["NET_ADMIN", "NET_RAW"],
            labels={MARK: "ssh"},
        )

    def _address(self, container: Any) -> str:
        container.reload()
        return str(container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])

    def _let_in(self, container: Any) -> None:
        public = self.key.with_suffix(".pub").read_text().strip()
        for user, folder in (
            ("root", "/root"),
            (USER, f"/home/{USER}"),
            ("guest", "/home/guest"),
        ):
            place = f"{folder}/.ssh"
            script = (
                f"mkdir -p -m 700 {place} && echo '{public}' >{place}/authorized_keys "
                f"&& chown -R {user} {place}"
            )
            code, out = container.exec_run(["sh", "-c", script])
            assert code == 0, out

    def _wait(self) -> None:
        for address in self.addresses:
            until = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.create_connection((address, 22), 1):
                    break
                if time.monotonic() > until:
                    raise HostError(f"no SSH server at {address}")
                time.sleep(0.05)

    def _learn(self) -> None:
        lines = []
        for container, address in zip(self.containers, self.addresses, strict=True):
            _, out = container.exec_run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
            kind, key, *_ = out.decode().split()
            lines.append(f"{address} {kind} {key}\n")
        (self.home / ".ssh" / "known_hosts").write_text("".join(lines))

    def hosts(self, count: int, *, words: str = "sudo=yes own=yes") -> str:
        """The option ``hosts``: root on the first, a user with sudo on the others."""
        users = ["root", *[USER] * 4]
        return "; ".join(
            f"n{n + 1}={users[n]}@{self.addresses[n]} {words}" for n in range(count)
        )

    def on(self, number: int, script: str) -> str:
        """What a script of root prints in a container."""
        code, out = self.containers[number].exec_run(["sh", "-c", script])
        assert code == 0, out
        return str(out.decode())

    def leftovers(self) -> list[str]:
        """Anything of a run on any host."""
        script = (
            "ls -d /tmp/* 2>/dev/null; iptables -S | grep SPLITBRAIN; "
            "grep -lz '^SPLITBRAIN_RUN=' /proc/[0-9]*/environ 2>/dev/null | "
            "while read f; do tr '\\0' ' ' <${f%environ}cmdline; echo; done; true"
        )
        return [
            f"{container.name}: {line}"
            for number, container in enumerate(self.containers)
            for line in self.on(number, script).splitlines()
        ]

    def close(self) -> None:
        for container in self.containers:
            container.remove(force=True, v=True)
        self.client.close()
