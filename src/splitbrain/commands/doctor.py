"""``splitbrain doctor``: what this machine can do, and what is missing for the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Sequence

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
    rows = [(f"--on {name}", "yes", "")]
    for fault in Fault:
        if fault in substrate.supports:
            rows.append((f"{name}: {fault}", "yes", ""))
        else:
            why = substrate.missing.get(fault, "not in this version")
            rows.append((f"{name}: {fault}", "no", why))
    return rows
