"""Builds what cannot be committed: the protobuf modules of ``splitbrain.cluster.rpc``.

Everything else about the project is in pyproject.toml.  The modules are generated next to their
``.proto`` files, for wheels and editable installs alike; ``python setup.py build_protos`` makes
them alone.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).resolve().parent / "src"
PROTOS = SOURCE / "splitbrain" / "cluster" / "rpc"


def build_protos() -> None:
    """Generate ``*_pb2.py`` and ``*_pb2.pyi``.

    Paths are given from ``src``, so that the modules import each other by their full name.
    """
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    protos = sorted(str(path.relative_to(SOURCE)) for path in PROTOS.glob("*.proto"))
    out = str(SOURCE)
    arguments = [f"-I{out}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main(["protoc", *arguments, *protos]) != 0:
        raise SystemExit(
            f"protoc could not compile the files in {PROTOS}; see its message above"
        )
    for stub in PROTOS.glob(
        "*_pb2.pyi"
    ):  # protoc writes a bare Mapping, which strict mypy refuses
        stub.write_text("# mypy: disable-error-code=type-arg\n" + stub.read_text())


class BuildProtos(Command):
    """``python setup.py build_protos``."""

    description = "generate the protobuf modules in the source tree"
    user_options: list[tuple[str, str | None, str]] = []  # noqa: RUF012

    def initialize_options(self) -> None:
        """No options."""

    def finalize_options(self) -> None:
        """No options."""

    def run(self) -> None:
        """Generate."""
        build_protos()


class BuildPy(build_py):
    """The ordinary step, after the modules were generated."""

    def run(self) -> None:
        """Generate, then collect the modules."""
        build_protos()
        # The list of files may have been made before the generated ones existed.
        self.__dict__.pop("data_files", None)
        super().run()


setup(cmdclass={"build_py": BuildPy, "build_protos": BuildProtos})
