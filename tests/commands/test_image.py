"""``splitbrain image build``: what it prints, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import splitbrain
from splitbrain.errors import HostError
from splitbrain.substrates.docker.image import connect, ensure

Invoke = Callable[..., Result]


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")


@pytest.fixture
def built() -> str:
    """The id of the image that all tests share."""
    try:
        client = connect()
    except HostError as error:
        pytest.skip(str(error))
    try:
        return ensure(client).id
    except HostError as error:
        if "debootstrap" in str(error) and "or pass --base" in str(error):
            pytest.skip(str(error))
        raise
    finally:
        client.close()


@pytest.mark.usefixtures("no_engine")
def test_no_engine_is_one_line_and_exit_4(invoke: Invoke) -> None:
    done = invoke("image", "build")
    assert done.exit_code == 4
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("splitbrain: no Docker engine answers at unix:///")
    spoken = invoke("image", "build", "--json")
    assert spoken.exit_code == 4
    assert json.loads(spoken.stdout)["summary"] == done.stderr.strip().removeprefix(
        "splitbrain: "
    )


def test_a_word_that_it_does_not_know_is_exit_2(invoke: Invoke) -> None:
    for words in (("image", "bild"), ("image", "build", "--bas", "x")):
        done = invoke(*words)
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.docker
@pytest.mark.timeout(1200)
def test_a_second_build_is_up_to_date(invoke: Invoke, built: str) -> None:
    done = invoke("image", "build")
    assert done.exit_code == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"splitbrain-node:{splitbrain.__version__}: ")
    assert line.endswith(", up to date")
    told = json.loads(invoke("image", "build", "--json").stdout)
    assert told["id"] == built
    assert told["current"] is True
    assert told["built"] is False
    assert told["steps"] == []
    assert told["tag"] == f"splitbrain-node:{splitbrain.__version__}"
    assert told["size_bytes"] > 10_000_000
