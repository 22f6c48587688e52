"""The image that a node's image is built on: a registry's, or one made here where none is reachable.

A base asked for by name is taken as it is, pulled if it is not there.  Without a name the first of
these serves:

1. ``python:3.11-slim``, if the engine has it;
2. ``splitbrain-base:bookworm``, made here before; if the engine lost it, it is imported again from
   the user's cache, in seconds;
3. ``python:3.11-slim``, pulled;
4. ``splitbrain-base:bookworm``, made by debootstrap, which takes a minute or two, root, and a Debian
   mirror; then cached.

What is made here carries the digest of its recipe, so that a newer recipe is not taken for the old.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitbrain.errors import HostError
from splitbrain.substrates.docker.image.engine import engine_errors, reason
from splitbrain.substrates.docker.image.progress import Progress

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["MADE", "RECIPE", "USUAL", "choose", "import_base", "make_tarball", "mirror"]

USUAL: Final = "python:3.11-slim"
MADE: Final = "splitbrain-base:bookworm"
RECIPE_LABEL: Final = "splitbrain.recipe"

_SUITE: Final = "bookworm"
_PACKAGES: Final = (
    "ca-certificates",
    "iproute2",
    "iptables",
    "procps",
    "python3",
    "python3-venv",
)
_LEFT_OUT: Final = (
    "./dev/*",
    "./proc/*",
    "./sys/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
)
RECIPE: Final = hashlib.sha256(repr((_SUITE, _PACKAGES, _LEFT_OUT)).encode()).hexdigest()[:12]
_SECONDS: Final = 1200


def choose(client: DockerClient, asked: str | None, cache: Path, progress: Progress) -> str:
    """The reference of a base that the engine has when this returns.

    Raises:
        HostError: it cannot be had: why, and what would help.
    """
    if asked is not None:
        if _find(client, asked) is None:
            with progress.step("base", f"{asked} pulled"):
                refused = _pull(client, asked)
                if refused:
                    raise HostError(f"the base {asked} cannot be pulled: {refused}")
        return asked
    if _find(client, USUAL) is not None:
        return USUAL
    made = _find(client, MADE)
    if made is not None and made.labels.get(RECIPE_LABEL) == RECIPE:
        return MADE
    tarball = cache / f"{_SUITE}-{platform.machine()}-{RECIPE}.tar.gz"
    if not tarball.exists():
        refused = _pull(client, USUAL)
        if not refused:
            return USUAL
        progress.note(
            f"{USUAL} cannot be pulled ({refused}): making a base by debootstrap, in a minute or two"
        )
        _can_make(client)
        with progress.step("base", f"{_SUITE} by debootstrap"):
            make_tarball(tarball)
    with progress.step("base", f"{MADE} imported"):
        import_base(client, tarball, MADE)
    return MADE


def _find(client: DockerClient, reference: str) -> Any:
    import docker

    with engine_errors(f"looking for the image {reference}"):
        try:
            return client.images.get(reference)
        except docker.errors.ImageNotFound:
            return None


def _pull(client: DockerClient, reference: str) -> str:
    """Pull it; why it could not be, or the empty string."""
    import requests
    from docker.utils import parse_repository_tag

    import docker

    name, tag = parse_repository_tag(reference)
    try:
        events = client.api.pull(name, tag=tag or "latest", stream=True, decode=True)
        errors = [str(event["error"]) for event in events if "error" in event]
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        errors = [reason(error)]
    return " ".join(errors[0].split()) if errors else ""


def _can_make(client: DockerClient) -> None:
    """Raise HostError unless debootstrap can be run here for this engine."""
    instead = (
        "or pass --base IMAGE, one with python3 (3.11 or later) and apt, or with all tools"
    )
    if shutil.which("debootstrap") is None:
        raise HostError(f"debootstrap is missing: apt-get install debootstrap, {instead}")
    if os.geteuid() != 0:
        raise HostError(f"debootstrap needs root: run this once as root, {instead}")
    with engine_errors("asking the engine for its machine"):
        theirs = client.info().get("Architecture")
    if theirs != platform.machine():
        raise HostError(
            f"the engine runs on {theirs}, and debootstrap would make a base for "
            f"{platform.machine()}: pull one for the engine there, {instead}"
        )


def make_tarball(path: Path) -> None:
    """Make the base's files by debootstrap and pack them; ``path`` appears only when it is whole.

    Raises:
        HostError: debootstrap or tar failed: the last thing it said.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    root, packed = path.with_name(f"{_SUITE}.root"), path.with_name(f"{_SUITE}.partial")
    shutil.rmtree(root, ignore_errors=True)
    words = ["--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root)]
    leave = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    try:
        # In namespaces of its own: whatever happens to it, its mounts and processes end with it.
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        _run([*alone, "debootstrap", *words, *filter(None, [_host_mirror()])])
        _run(["tar", "-cz", "--numeric-owner", *leave, "-f", str(packed), "-C", str(root), "."])
        packed.rename(path)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        packed.unlink(missing_ok=True)


def _run(words: list[str]) -> None:
    name = next(word for word in words if word in {"debootstrap", "tar"})
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{name} has not ended in {_SECONDS} s") from None
    except FileNotFoundError as error:
        raise HostError(f"{error.filename} is missing on this machine") from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        errors = (
            [line for line in lines if line.startswith("E: ")] or lines[-1:] or ["no words"]
        )
        raise HostError(f"{name} failed: {errors[0].removeprefix('E: ')}")


def _host_mirror() -> str:
    places = [Path("/etc/apt/sources.list")]
    for pattern in ("*.list", "*.sources"):
        places += sorted(Path("/etc/apt/sources.list.d").glob(pattern))
    return mirror(path.read_text(errors="replace") for path in places if path.is_file())


def mirror(sources: Iterable[str]) -> str:
    """The first mirror of Debian that apt's files name, of either form; else empty.

    >>> mirror(["deb [arch=amd64] http://mirror.example/debian bookworm main"])
    'http://mirror.example/debian'
    """
    for text in sources:
        for line in text.splitlines():
            if line.startswith(("deb ", "URIs:")):
                found = re.search(r"https?://\S+/debian/?(?=\s|$)", line)
                if found:
                    return found[0].rstrip("/")
    return ""


def import_base(client: DockerClient, tarball: Path, reference: str) -> None:
    """Make an image of a tarball; some seconds.

    Raises:
        HostError: the engine refuses it.
    """
    name, tag = reference.split(":")
    labels = [f"LABEL {RECIPE_LABEL}={RECIPE}", f"LABEL splitbrain.base={_SUITE}"]
    with engine_errors(f"importing {tarball}"):
        client.api.import_image_from_file(
            str(tarball), repository=name, tag=tag, changes=labels
        )
