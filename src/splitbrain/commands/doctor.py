"""``splitbrain doctor``: what this machine can do, and what is missing for the rest."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence

import splitbrain
from splitbrain.catalog import Catalog
from splitbrain.contracts.fault import Fault
from splitbrain.errors import SplitbrainError

__all__ = ["diagnose"]

Row = tuple[str, str, str]


def diagnose(catalog: Catalog) -> Sequence[Row]:
    """Rows of (what, ``yes`` or ``no``, details)."""
    rows: list[Row] = [
        ("splitbrain", "yes", splitbrain.__version__),
        (
            "python",
            "yes",
            f"{platform.python_version()} on {platform.system()} {platform.release()}",
        ),
        ("cores", "yes", str(os.cpu_count())),
    ]
    for package in ("msgspec", "numpy", "networkx", "grpcio", "protobuf"):
        try:
            rows.append((package, "yes", importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((package, "no", "pip install splitbrain installs it"))
    browser = shutil.which("chromium")
    words = browser or "only the tests of the report need it: apt-get install chromium"
    rows.append(("chromium", "yes" if browser else "no", words))
    for name, make in catalog.substrates.items():
        rows.extend(_substrate_rows(name, make))
    return rows


def _substrate_rows(name: str, make: object) -> list[Row]:
    assert callable(make)
    try:
        substrate = make()
    except SplitbrainError as error:
        return [(f"--on {name}", "no", str(error))]
    missing: Mapping[Fault, str] = substrate.missing
    reasons = {missing.get(fault, "") for fault in Fault}
    if not substrate.supports and len(reasons) == 1:
        (reason,) = reasons  # told once
        return [(f"--on {name}", "no", reason)]
    rows = [(f"--on {name}", "yes", "")]
    if name in _BESIDES:
        rows.extend(_BESIDES[name]())
    for fault in Fault:
        if fault in substrate.supports:
            rows.append((f"{name}: {fault}", "yes", ""))
        else:
            why = missing.get(fault, "not in this version")
            rows.append((f"{name}: {fault}", "no", why))
    return rows


def _docker_rows() -> list[Row]:
    """The engine, and the image of nodes in it."""
    from splitbrain.substrates.docker.image import connect, default_tag, engine_errors, find

    rows: list[Row] = []
    try:
        with contextlib.closing(connect()) as client, engine_errors("asking for its version"):
            rows.append(("docker: engine", "yes", str(client.version()["Version"])))
            image = find(client)
    except SplitbrainError as error:
        return [*rows, ("docker: engine", "no", str(error))]
    if image is not None and image.current:
        words = f"{image.tag}, {image.size_bytes / 1e6:.0f} MB, on {image.base}"
        return [*rows, ("docker: image", "yes", words)]
    state = f"{default_tag()} is {'stale' if image is not None else 'not there'}"
    how = "the next run builds it, as does: splitbrain image build"
    return [*rows, ("docker: image", "no", f"{state}; {how}")]


_BESIDES: Mapping[str, Callable[[], list[Row]]] = {"docker": _docker_rows}
"""What else there is to say of a substrate."""
