"""``splitbrain image build``: the image in which nodes of the docker substrate run."""

from __future__ import annotations

import contextlib
import time

import msgspec

from splitbrain.substrates.docker.image import ImageInfo, Step, Told, build, connect

__all__ = ["Built", "Step", "build_image"]


class Built(msgspec.Struct, frozen=True):
    """What a build came to.

    Attributes:
        image: the image.
        steps: what was done, each with its seconds; none when the image was up to date.
        seconds: all in all.
    """

    image: ImageInfo
    steps: tuple[Step, ...]
    seconds: float


def build_image(
    *,
    base: str | None = None,
    tag: str | None = None,
    no_cache: bool = False,
    told: Told | None = None,
) -> Built:
    """Build the image on the engine of the environment, unless it is up to date.

    Raises:
        HostError: no engine, no base, or the build failed.
    """
    begun = time.monotonic()
    steps: list[Step] = []

    def hear(step: Step) -> None:
        if step.seconds is not None or step.name == "note":
            steps.append(step)
        if told is not None:
            told(step)

    with contextlib.closing(connect()) as client:
        image = build(client, base=base, tag=tag, no_cache=no_cache, told=hear)
    return Built(image, tuple(steps), time.monotonic() - begun)
