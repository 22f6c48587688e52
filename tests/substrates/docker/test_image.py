"""The image of nodes: what is in it, when it is stale, what it is built on, and what can go wrong."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.errors import HostError
from splitbrain.substrates.docker import image
from splitbrain.substrates.docker.image import base as bases
from splitbrain.substrates.docker.image import building
from splitbrain.substrates.wheels.house import Python, alone, cache_directory, fetch
from splitbrain.substrates.wheels.source import Source, read_source, wheel

HERE = Python(sys.version_info.minor, "x86_64", 36)
NOWHERE = "localhost:1/nothing:1"
"""An image of a registry that refuses connections."""

real = pytest.mark.docker
patient = pytest.mark.timeout(1200)
"""On a fresh machine the first build makes its base, which takes a minute or two."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    try:
        one = image.connect()
    except HostError as error:
        pytest.skip(str(error))
    with contextlib.closing(one):
        yield one


@pytest.fixture
def tag(client: Any) -> Iterator[str]:
    """A tag of this test's own; its image goes with it, unless others share it."""
    name = f"splitbrain-test-{os.getpid()}:image"
    yield name
    with contextlib.suppress(Exception):
        client.images.remove(name)


@pytest.fixture
def built(client: Any) -> image.ImageInfo:
    """The image that all tests share; built if it is not there."""
    try:
        return image.ensure(client)
    except HostError as error:
        if "debootstrap" in str(error) and "or pass --base" in str(error):
            pytest.skip(str(error))
        raise


def within(client: Any, reference: str, script: str) -> str:
    """What a shell script prints in a container of the image."""
    labels = {"splitbrain.image": "test"}
    output = client.containers.run(
        reference, ["sh", "-ec", script], remove=True, stderr=True, labels=labels
    )
    return str(output.decode())


IMPORT_ALL = """
import importlib, pkgutil, sys, splitbrain
names = [one.name for one in pkgutil.walk_packages(splitbrain.__path__, "splitbrain.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(splitbrain.__file__)
print(*names)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_wheel_holds_all_that_its_modules_import_and_needs_only_what_it_says(
    tmp_path: Path,
) -> None:
    name, content = wheel(read_source())
    (tmp_path / name).write_bytes(content)
    place = tmp_path / "site"
    words = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(place)]
    subprocess.run([sys.executable, *words, str(tmp_path / name)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(place)!r})\n{IMPORT_ALL}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    file, modules, loaded = done.stdout.splitlines()
    assert file.startswith(str(place))
    assert "splitbrain.cluster.node" in modules.split()
    assert not {"numpy", "networkx", "click", "rich", "docker"} & set(loaded.split())
    assert {"grpc", "google", "msgspec", "sortedcontainers"} <= set(loaded.split())


NAMES = st.text("ab/", min_size=1, max_size=4)
SOURCES = st.builds(
    Source,
    version=st.sampled_from(["1", "12"]),
    requires=st.lists(NAMES, max_size=2).map(tuple),
    files=st.dictionaries(NAMES, st.binary(max_size=3), max_size=3),
)


@given(SOURCES, SOURCES)
def test_only_equal_sources_share_a_digest(one: Source, other: Source) -> None:
    assert (one.digest == other.digest) == (one == other)
    assert wheel(one) == wheel(one)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], ""),
        (["deb http://archive.example/ubuntu jammy main"], ""),
        (["# deb http://no.example/debian x main"], ""),
        (["deb [signed-by=/k] https://a.example/debian/ bookworm main"], "https://a.example/debian"),
        (["deb http://s.example/debian-security x main\ndeb http://b.example/debian x main"],
         "http://b.example/debian"),
        (["Types: deb\nURIs: http://c.example/debian\nSuites: bookworm"], "http://c.example/debian"),
        (["URIs: http://d.example/ubuntu", "deb http://e.example/debian x main"],
         "http://e.example/debian"),
    ],
)  # fmt: skip
def test_the_mirror_is_the_first_of_debian_that_this_machine_uses(
    files: list[str], expected: str
) -> None:
    assert bases.mirror(files) == expected


def test_wheels_are_fetched_once_and_replace_those_of_older_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for version in ("1.0", "2.0"):
        made = Source(version=version, requires=(), files={})
        (shelf / wheel(made)[0]).write_bytes(wheel(made)[1])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setattr("splitbrain.substrates.wheels.house.pins", lambda _: ())
    cache = tmp_path / "cache"
    first = fetch(HERE, ("splitbrain<2",), cache)
    assert [path.name for path in first.iterdir()] == ["splitbrain-1.0-py3-none-any.whl"]
    with pytest.raises(HostError, match=r"for Python 3\.\d+, x86_64: .*splitbrain>=3"):
        fetch(HERE, ("splitbrain>=3",), cache)
    assert list(cache.iterdir()) == [first]
    shutil.rmtree(shelf)
    assert fetch(HERE, ("splitbrain<2",), cache) == first
    shelf.mkdir()
    (shelf / wheel(made)[0]).write_bytes(wheel(made)[1])
    second = fetch(HERE, ("splitbrain",), cache)
    assert list(cache.iterdir()) == [second]


def test_without_an_engine_one_line_says_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"unix://{tmp_path}/none.sock"
    monkeypatch.setenv("DOCKER_HOST", place)
    with pytest.raises(HostError) as told:
        image.connect()
    assert str(told.value) == (
        f"no Docker engine answers at {place}: start it (systemctl start docker), "
        "or set DOCKER_HOST to where one runs"
    )
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(HostError, match=r"pip install 'splitbrain\[docker\]'$"):
        image.connect()


@real
@patient
def test_a_node_and_its_tools_run_in_the_image(client: Any, built: image.ImageInfo) -> None:
    assert built.current
    assert built.source == image.source_hash()
    script = (
        f"python3 -c '{IMPORT_ALL}'; iptables --version; ip -V; ps --version; sed --version"
    )
    lines = within(client, built.tag, script).splitlines()
    assert lines[0].startswith("/opt/splitbrain/")
    assert "splitbrain.cluster.node" in lines[1].split()
    assert lines[3].startswith("iptables v")
    assert lines[4].startswith("ip utility")


@real
@patient
def test_nothing_is_done_while_nothing_has_changed(
    client: Any, built: image.ImageInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert image.build(client, told=pytest.fail) == built
    assert image.build(client, base=built.base, told=pytest.fail) == built
    monkeypatch.setattr(building, "source_hash", lambda: "another")
    stale = image.find(client)
    assert stale is not None
    assert not stale.current
    assert image.find(client, tag="splitbrain-none:1") is None


@real
@patient
def test_a_changed_source_makes_a_new_image_and_drops_the_old(
    client: Any, built: image.ImageInfo, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import docker

    real_source = read_source()
    mark = {"splitbrain/env/mark.py": b'"""Changed."""\n'}
    changed = msgspec.structs.replace(real_source, files={**real_source.files, **mark})
    monkeypatch.setattr(building, "read_source", lambda: changed)
    steps: list[image.Step] = []
    first = image.build(client, base=built.base, tag=tag, told=steps.append)
    assert "splitbrain.env.mark" in within(client, tag, f"python3 -c '{IMPORT_ALL}'")
    assert first.source == image.source_hash() != built.source
    assert {step.name for step in steps if step.seconds is not None} == {
        "base",
        "wheels",
        "build",
    }
    monkeypatch.setattr(building, "read_source", lambda: real_source)
    second = image.build(client, base=built.base, tag=tag)
    assert second.source == built.source
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get(first.id)


@real
def test_a_base_that_cannot_be_had_or_used_is_told_in_a_line(
    client: Any, tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError, match=f"^the base {NOWHERE} cannot be pulled: .*refused"):
        image.build(client, base=NOWHERE, tag=tag)
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("nothing"))
    name, version = tag.split(":")
    client.api.import_image_from_data(empty.getvalue(), repository=name, tag=version)
    with pytest.raises(HostError, match=f"^the base {tag} has no python3 that runs"):
        image.build(client, base=tag, tag="splitbrain-none:1")
    assert not client.containers.list(all=True, filters={"ancestor": tag})
    monkeypatch.setattr(bases, "USUAL", NOWHERE)
    monkeypatch.setattr(bases, "MADE", "splitbrain-none:1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"^debootstrap is missing: apt-get install .*--base"):
        bases.choose(client, None, tmp_path, building.Progress(None))


@real
@patient
@pytest.mark.skipif(
    shutil.which("debootstrap") is None or os.geteuid() != 0,
    reason="a base is made by debootstrap and root: apt-get install debootstrap, run as root",
)
def test_a_base_made_here_comes_back_from_the_cache_when_the_engine_has_lost_it(
    client: Any, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "USUAL", NOWHERE)
    monkeypatch.setattr(bases, "MADE", tag)
    with alone(cache_directory()) as cache:
        # Made once on a machine, in this test or by the first build; then shared.
        assert bases.choose(client, None, cache, building.Progress(None)) == tag
    assert not list(cache.glob("*.root"))
    tools = "iptables --version; ip -V; ps --version; python3 -c 'import ensurepip, venv, ssl'"
    assert within(client, tag, tools).startswith("iptables v")
    client.images.remove(tag)
    monkeypatch.setattr(bases, "make_tarball", pytest.fail)
    assert bases.choose(client, None, cache, building.Progress(None)) == tag
    monkeypatch.setattr(bases, "import_base", pytest.fail)
    assert bases.choose(client, None, cache, building.Progress(None)) == tag


def test_the_recipe_is_one_file_in_the_checkout_and_in_the_package() -> None:
    root = Path(__file__).parents[3]
    packaged = Path(building.__file__).with_name("Dockerfile")
    assert packaged.resolve() == (root / "docker" / "Dockerfile").resolve()
