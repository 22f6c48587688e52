"""Files given by ``--load``: Python that is not part of splitbrain, run with its mistakes told.

What such a file raises is its author's to mend, so it comes out as one line that names the file and
the line in it, never as a traceback through splitbrain:

    my_store.py:12: NameError: name 'Workload' is not defined
"""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from splitbrain.errors import PluginError

__all__ = ["NAME", "line_in", "line_of", "load_module"]

NAME = re.compile(r"(?!latest$)[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of plug-ins become directories of the store, beside its link ``latest``."""


def load_module(path: Path) -> ModuleType:
    """Run the file and return its module.

    Raises:
        PluginError: no such file, or what was wrong with it, and at which of its lines.
    """
    if not path.is_file():
        raise PluginError(path, None, "no such file; --load takes a Python file")
    name = f"splitbrain_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(path, None, "not a Python file; --load takes FILE.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        own = error.filename == str(path)
        line = error.lineno if own else line_in(path, error)
        where = "" if own else f" in {error.filename}:{error.lineno}"
        raise PluginError(path, line, f"syntax error{where}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
        raise PluginError(path, line_in(path, error), problem) from error
    return module


def line_in(path: object, error: BaseException) -> int | None:
    """The line of that file at which ``error`` came up, if it did."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)


def line_of(path: Path, name: str) -> int | None:
    """The line that begins with ``name``, if there is one."""
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if line.startswith(name):
            return number
    return None
