"""The style guide as a test: what is not checked here is not a rule."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "splitbrain"
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400
BLOB_BYTES_MAX = 400_000


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: run this from a clone")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def modules() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if not generated(path)]


def generated(path: Path) -> bool:
    return path.stem.endswith(("_pb2", "_pb2_grpc"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_fit_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in modules()
        for node in functions(ast.parse(path.read_text()))
        if node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long, "split these functions:\n" + "\n".join(long)


def test_modules_fit_a_sitting() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in modules()
        if (count := len(path.read_text().splitlines())) > MODULE_LINES_MAX
    ]
    assert not long, "split these modules:\n" + "\n".join(long)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if len(ast.get_docstring(ast.parse(path.read_text())) or "") < 20
    ]
    assert not silent, "write a docstring that teaches:\n" + "\n".join(silent)


def exported(path: Path) -> list[str] | None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [element.value for element in node.value.elts]  # type: ignore[attr-defined]
    return None


def test_exports_are_true() -> None:
    problems = []
    for path in modules():
        names = exported(path)
        if names is None:
            continue
        where = path.relative_to(ROOT)
        text = path.read_text()
        problems.extend(
            f"{where}: __all__ names {name!r}, which is not there"
            for name in names
            if not re.search(rf"\b{re.escape(name)}\b", text.replace(f'"{name}"', ""))
            and path.name != "__init__.py"
        )
    assert not problems, "\n".join(problems)


def markdown() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def test_markdown_has_one_title_and_links_that_resolve() -> None:
    problems = []
    for path in markdown():
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        titles = re.findall(r"^# .+$", text, flags=re.MULTILINE)
        if len(titles) != 1:
            problems.append(f"{path.relative_to(ROOT)}: {len(titles)} titles, expected one")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (path.parent / target).exists():
                problems.append(
                    f"{path.relative_to(ROOT)}: link to {target}, which is not there"
                )
    assert not problems, "\n".join(problems)


def test_changelog_has_a_line_for_the_present() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## Unreleased$", text, flags=re.MULTILINE)
    entries = [line for line in text.splitlines() if line.startswith("- ")]
    assert entries, "write what a user will notice"


def test_no_large_blobs() -> None:
    large = [
        f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes"
        for path in tracked()
        if path.stat().st_size > BLOB_BYTES_MAX
    ]
    assert not large, "keep these out of the repository:\n" + "\n".join(large)


def test_constraints_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "@" not in text


def test_layers_hold() -> None:
    done = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "lint-imports")]
        if (ROOT / ".venv" / "bin" / "lint-imports").exists()
        else ["lint-imports"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
