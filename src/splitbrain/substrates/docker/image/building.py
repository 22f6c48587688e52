"""Building the image in which nodes run, and finding it again."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import IO, TYPE_CHECKING, Any, TypeGuard

import msgspec

import splitbrain
from splitbrain.errors import HostError
from splitbrain.substrates.docker.image import base as bases
from splitbrain.substrates.docker.image.engine import engine_errors
from splitbrain.substrates.docker.image.progress import Progress, Told
from splitbrain.substrates.wheels.house import Python, alone, cache_directory, fetch
from splitbrain.substrates.wheels.source import Source, read_source, wheel

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["ImageInfo", "build", "default_tag", "ensure", "find", "source_hash"]

VERSION, SOURCE, BASE = "splitbrain.version", "splitbrain.source", "splitbrain.base"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_DOCKERFILE = Path(__file__).with_name("Dockerfile")
_BUILD_SECONDS = 1200
_ASK = (
    "import json, platform, sys; "
    "print(json.dumps([*sys.version_info[:2], platform.machine(), *platform.libc_ver()]))"
)


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An image of nodes that the engine has.

    Attributes:
        tag: its reference.
        id: the engine's, ``sha256:...``.
        version: of the splitbrain within; empty where the image is none of ours.
        source: digest of what nodes run within, and of the Dockerfile.
        base: the reference it was built on.
        size_bytes: of all its layers.
        current: whether its nodes run what is here now; else it is stale.
    """

    tag: str
    id: str
    version: str
    source: str
    base: str
    size_bytes: int
    current: bool


def default_tag() -> str:
    """Where this version's image is kept."""
    return f"splitbrain-node:{splitbrain.__version__}"


def source_hash() -> str:
    """The digest of what a node's image would be made of now."""
    return _digest(read_source())


def _digest(source: Source) -> str:
    whole = hashlib.sha256(source.digest.encode())
    whole.update(_DOCKERFILE.read_bytes())
    return whole.hexdigest()


def find(client: DockerClient, *, tag: str | None = None) -> ImageInfo | None:
    """The image with this tag, or None.

    Raises:
        HostError: the engine does not answer.
    """
    return _find(client, tag or default_tag(), source_hash())


def ensure(
    client: DockerClient, *, tag: str | None = None, told: Told | None = None
) -> ImageInfo:
    """The image for nodes of this very splitbrain: built when it is missing or stale.

    Raises:
        HostError: as :func:`build`.
    """
    return build(client, tag=tag, told=told)


def build(
    client: DockerClient,
    *,
    base: str | None = None,
    tag: str | None = None,
    no_cache: bool = False,
    told: Told | None = None,
) -> ImageInfo:
    """Build the image, unless it is there and current.

    Args:
        client: of the engine.
        base: the image to build on; without it, what :mod:`.base` finds best.
        tag: by default :func:`default_tag`.
        no_cache: build each layer anew, also where nothing has changed.
        told: called for each step; for none when nothing is to be done.

    Raises:
        HostError: no base, no wheels, no Python in the base, or a step of the build failed.
    """
    tag = tag or default_tag()
    if not no_cache and _serves(there := find(client, tag=tag), base):
        return there
    with alone(cache_directory()) as cache:
        source = read_source()
        there = _find(client, tag, _digest(source))
        if not no_cache and _serves(there, base):  # another process has built it meanwhile
            return there
        progress = Progress(told)
        chosen = bases.choose(client, base, cache, progress)
        with progress.step("base", chosen):
            python = _python_of(client, chosen)
        with progress.step("wheels", f"for {python.words}"):
            wheels = fetch(python, source.requires, cache / "wheels")
        labels = {VERSION: source.version, SOURCE: _digest(source), BASE: chosen}
        with tempfile.TemporaryFile() as context:
            _write_context(context, source, labels, wheels)
            _build(client, context, chosen, tag, no_cache, progress)
        made = _find(client, tag, _digest(source))
        assert made is not None, f"{tag} was built and is not there"
        _sweep(client)
    return made


def _serves(there: ImageInfo | None, base: str | None) -> TypeGuard[ImageInfo]:
    return there is not None and there.current and base in (None, there.base)


def _find(client: DockerClient, tag: str, digest: str) -> ImageInfo | None:
    import docker

    with engine_errors(f"looking for the image {tag}"):
        try:
            image = client.images.get(tag)
        except docker.errors.ImageNotFound:
            return None
    labels = image.labels
    return ImageInfo(
        tag=tag,
        id=str(image.id),
        version=labels.get(VERSION, ""),
        source=labels.get(SOURCE, ""),
        base=labels.get(BASE, ""),
        size_bytes=int(image.attrs["Size"]),
        current=labels.get(SOURCE) == digest,
    )


def _python_of(client: DockerClient, reference: str) -> Python:
    """Ask the base for its Python, in a container of some tenths of a second."""
    with engine_errors(f"the base {reference} has no python3 that runs"):
        container = client.containers.create(
            reference,
            ["-c", _ASK],
            entrypoint="python3",
            network_mode="none",
            labels={"splitbrain.image": "question"},
        )
        try:
            container.start()
            code = container.wait(timeout=60)["StatusCode"]
            answer = container.logs().decode(errors="replace")
        finally:
            container.remove(force=True)
    if code:
        raise HostError(f"the base {reference} has no python3 that runs: exit code {code}")
    major, minor, machine, library, release = json.loads(answer)
    if (major, minor) < (3, 11):
        raise HostError(f"the base {reference} has Python {major}.{minor}: 3.11 is needed")
    if library != "glibc":
        raise HostError(
            f"the base {reference} is not built on glibc: take one of Debian's kind"
        )
    return Python(minor, machine, int(release.split(".")[1]))


def _write_context(
    file: IO[bytes], source: Source, labels: Mapping[str, str], wheels: Path
) -> None:
    """Write what the builder reads, as a tar file without times and owners.

    The labels are one instruction more: given to the engine apart, each would be a layer.
    """
    words = " ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    name, content = wheel(source)
    files = {
        "Dockerfile": _DOCKERFILE.read_bytes() + f"LABEL {words}\n".encode(),
        f"splitbrain/{name}": content,
        **{f"dependencies/{path.name}": path.read_bytes() for path in wheels.iterdir()},
    }
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    file.seek(0)


def _build(
    client: DockerClient,
    context: IO[bytes],
    base: str,
    tag: str,
    no_cache: bool,
    progress: Progress,
) -> None:
    """Let the engine build; each instruction of the Dockerfile is a step."""
    arguments = {"BASE_IMAGE": base}
    for name in _PROXIES:  # an engine's containers do not see our environment
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value:
            arguments |= {name: value, name.upper(): value}
    with engine_errors("the image could not be built"):
        events = client.api.build(
            fileobj=context,
            custom_context=True,
            dockerfile="Dockerfile",
            tag=tag,
            buildargs=arguments,
            nocache=no_cache,
            rm=True,
            forcerm=True,
            decode=True,
            timeout=_BUILD_SECONDS,
        )
        with contextlib.ExitStack() as step:
            _follow(events, step, progress)


def _follow(
    events: Iterator[Mapping[str, Any]], step: contextlib.ExitStack, progress: Progress
) -> None:
    last = ""
    for event in events:
        if "error" in event:
            words = " ".join(str(event["error"]).split())
            raise HostError(f"the image could not be built: {words}: {last or 'no output'}")
        line = " ".join(str(event.get("stream", "")).split())
        if line.startswith("Step "):
            step.close()
            words = line.removeprefix("Step ").replace(" : ", " ", 1)
            step.enter_context(progress.step("build", shorten(words, 68, placeholder=" ...")))
        elif line and not line.startswith("--->"):
            last = line


def _sweep(client: DockerClient) -> None:
    """Remove our images that have lost their tag to a newer one, unless containers need them."""
    import docker

    with contextlib.suppress(docker.errors.APIError):
        for old in client.images.list(filters={"dangling": True, "label": SOURCE}):
            with contextlib.suppress(docker.errors.APIError):
                client.images.remove(str(old.id))
