"""The image in which nodes run in containers: built from this very splitbrain, found by its tag.

    with contextlib.closing(connect()) as client:
        image = ensure(client)                  # builds it when it is missing or stale
        client.containers.run(image.tag, [...])

An image is labelled with splitbrain's version, the digest of its source and its base.  One whose
digest is not :func:`source_hash` is *stale*: ``find(client).current`` is false.
"""

from __future__ import annotations

from splitbrain.substrates.docker.image.building import (
    ImageInfo,
    build,
    default_tag,
    ensure,
    find,
    source_hash,
)
from splitbrain.substrates.docker.image.engine import connect, engine_errors
from splitbrain.substrates.docker.image.progress import Step, Told

__all__ = [
    "ImageInfo",
    "Step",
    "Told",
    "build",
    "connect",
    "default_tag",
    "engine_errors",
    "ensure",
    "find",
    "source_hash",
]
