"""The CI templates and docs/ci.md work as printed: their scripts are taken out of the files and run."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from splitbrain.cli import main

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / "docs" / "ci" / "github-actions.yml"
GITLAB = ROOT / "docs" / "ci" / "gitlab-ci.yml"
ACTION = ROOT / "action.yml"

DRILL = """
name = "tiny"
[defaults]
workload = "register"
on = "sim"
time-limit = 3
[[scenario]]
name = "fine"
[[scenario]]
name = "a bug that is not there"
seeds = [5, 6]
expect = "invalid"
"""


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())  # type: ignore[no-any-return]


def github_steps() -> list[dict[str, Any]]:
    return read(GITHUB)["jobs"]["drill"]["steps"]  # type: ignore[no-any-return]


def action_steps() -> list[dict[str, Any]]:
    return read(ACTION)["runs"]["steps"]  # type: ignore[no-any-return]


def gitlab_script(*keys: str) -> str:
    job = read(GITLAB)["chaos"]
    return "\n".join(line for key in keys for line in job[key])


def scripts() -> dict[str, str]:
    """Every shell script of the three files."""
    found = {f"github: {step['name']}": step["run"] for step in github_steps() if "run" in step}
    found |= {
        f"action: {step['name']}": step["run"] for step in action_steps() if "run" in step
    }
    return {**found, "gitlab": gitlab_script("before_script", "script")}


def script(name: str) -> str:
    return scripts()[name]


@pytest.mark.parametrize("name", scripts())
def test_scripts_are_shell_and_take_values_from_the_environment(name: str) -> None:
    text = script(name)
    done = subprocess.run(
        ["bash", "-n"], input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "${{" not in text, "a value pasted into a script is run by the shell"


def uploaded(step: dict[str, Any], **places: str) -> list[str]:
    """The paths of an upload step, with expressions filled in."""
    text = step["with"]["path"]
    for name, value in places.items():
        text = text.replace(f"${{{{ runner.{name} }}}}", value)
    return [line for line in text.splitlines() if line]


def test_templates_upload_also_after_a_failure_and_name_jobs_apart() -> None:
    job = read(GITHUB)["jobs"]["drill"]
    kept = [step for step in job["steps"] if re.search("upload|save", step.get("uses", ""))]
    assert [step["if"] for step in kept] == ["always()", "always()"]
    assert "matrix.shard" in kept[1]["with"]["name"]
    assert job["strategy"]["fail-fast"] is False
    assert job["timeout-minutes"] > 45
    gitlab = read(GITLAB)["chaos"]
    assert gitlab["artifacts"]["when"] == gitlab["cache"]["when"] == "always"
    assert action_steps()[-1]["if"] == "always()"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's checkout with a small drill in it, and ``splitbrain`` on the path."""
    (tmp_path / "drills").mkdir()
    (tmp_path / "drills" / "tiny.toml").write_text(DRILL)
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "splitbrain"
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m splitbrain "$@"\n')
    tool.chmod(0o755)
    return tmp_path


def run(place: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a CI server does: no terminal, an environment of its own."""
    environment = {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place),
        "CI": "true",
        **variables,
    }
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text],
        cwd=place, env=environment, text=True, capture_output=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def found(place: Path, patterns: list[str]) -> list[str]:
    """What each pattern of an upload finds; each must find something."""
    names = []
    for pattern in patterns:
        matches = glob.glob(pattern, root_dir=place)
        assert matches, pattern
        names += [Path(match).name for match in matches]
    return names


UPLOADED = ["failed.tar.gz", "index.html", "junit.xml", "summary.md", "drill.json"]


@pytest.mark.processes
def test_the_github_template_drills_uploads_and_brings_failing_seeds_back(place: Path) -> None:
    summary = place / "step-summary.md"
    summary.write_text("another tool\n")
    variables = {
        "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "DRILL": "drills/tiny.toml",
        "SHARD": "1/1", "DEADLINE": read(GITHUB)["jobs"]["drill"]["env"]["DEADLINE"],
    }  # fmt: skip
    done = run(place, script("github: Drill"), **variables)
    assert done.returncode == 1, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert found(place, uploaded(github_steps()[-1])) == UPLOADED
    text = summary.read_text()
    assert text.startswith("another tool\n")
    assert text.count("\n## ✕ drill tiny: 1 of 2 scenarios") == 1
    assert "expected invalid, got VALID" in text
    with tarfile.open(place / "failed.tar.gz") as archive:
        names = archive.getnames()
    assert sum(name.endswith("/report.html") for name in names) == 2
    again = run(place, script("github: Drill"), **variables)
    assert again.returncode == 1
    first = re.search(r"1/3 +(\w+) +(.*?)  +seed (\d)", again.stdout)
    assert first is not None, again.stdout
    assert first.groups() == ("failed", "a bug that is not there", "5")


@pytest.mark.processes
def test_the_gitlab_template_drills(place: Path) -> None:
    done = run(
        place, gitlab_script("script"), DRILL="drills/tiny.toml", DEADLINE="5m",
        CI_NODE_INDEX="1", CI_NODE_TOTAL="2", GITLAB_CI="true",
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    artifacts = read(GITLAB)["chaos"]["artifacts"]
    assert found(place, artifacts["paths"]) == UPLOADED
    (junit,) = glob.glob(artifacts["reports"]["junit"], root_dir=place)
    assert len(ET.parse(place / junit).getroot().findall("testsuite")) == 1
    assert (place / read(GITLAB)["chaos"]["cache"]["paths"][0]).is_dir()


@pytest.mark.processes
def test_the_action_drills(place: Path) -> None:
    (place / "splitbrain").mkdir()
    (place / "splitbrain" / "bin").symlink_to(place / "bin")
    output = place / "output"
    done = run(
        place, script("action: Drill"), DRILL="drills/tiny.toml", RUNNER_TEMP=str(place),
        ARGS="--deadline 5m --seeds 'my seeds.toml'", GITHUB_OUTPUT=str(output),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert output.read_text() == "exit-code=1\n"
    assert (place / "my seeds.toml").is_file()
    names = found(place, uploaded(action_steps()[-1], temp=str(place)))
    assert names == ["splitbrain-failed.tar.gz", *UPLOADED[1:]]


def quoted() -> list[str]:
    """Each command of docs/ci.md."""
    text = (ROOT / "docs" / "ci.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [line for kind, block in blocks if not kind for line in block.splitlines() if line]


@pytest.mark.parametrize("command", quoted())
def test_commands_of_the_page_are_understood(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program, *words = shlex.split(command)
    assert program == "splitbrain"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drills").symlink_to(ROOT / "drills")
    done = CliRunner().invoke(main, [*words, "--dry-run"])
    assert done.exit_code == 0, done.output


def test_the_page_names_drills_and_options_that_exist() -> None:
    text = (ROOT / "docs" / "ci.md").read_text() + GITHUB.read_text() + GITLAB.read_text()
    for name in set(re.findall(r"drills/[\w-]+\.toml", text)):
        assert (ROOT / name).is_file(), name
    helped = CliRunner().invoke(main, ["drill", "--help"]).output
    for option in set(re.findall(r"`(--[a-z-]+)", (ROOT / "docs" / "ci.md").read_text())):
        assert option in helped, option
    step = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, flags=re.DOTALL)[1])[1]  # type: ignore[index]
    assert step["with"].keys() <= read(ACTION)["inputs"].keys()
    words = ["drill", str(ROOT / step["with"]["drill"]), *shlex.split(step["with"]["args"])]
    assert CliRunner().invoke(main, [*words, "--dry-run"]).exit_code == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What pip needs of this checkout, apart from it: building leaves files."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, copy)
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "*_pb2*")
    shutil.copytree(ROOT / "src", copy / "src", ignore=leave)
    return copy


@pytest.mark.deep
@pytest.mark.processes
@pytest.mark.parametrize("name", ["github", "gitlab", "action"])
def test_installing_as_the_templates_do(name: str, place: Path, checkout: Path) -> None:
    """From nothing: an environment of its own, the package installed, the drill run with it."""
    (place / "bin" / "splitbrain").unlink()
    variables = {
        "DRILL": "drills/tiny.toml", "DEADLINE": "5m", "SHARD": "1/1", "SPLITBRAIN": str(checkout),
        "RUNNER_TEMP": str(place), "ACTION_PATH": str(checkout), "ARGS": "",
        "GITHUB_OUTPUT": str(place / "out"),
        "CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "1",
    }  # fmt: skip
    if name == "github":
        # What actions/setup-python gives: a python on the path, to install into.
        subprocess.run([sys.executable, "-m", "venv", str(place / "python")], check=True)
        activate = f". {shlex.quote(str(place / 'python'))}/bin/activate"
        shipped = "python -c \"from splitbrain.results.schema import load; load('drill')\""
        install, drill = script("github: Install splitbrain"), script("github: Drill")
        text = f"{activate}\n{install}\n{shipped}\n{drill}"
    elif name == "gitlab":
        text = gitlab_script("before_script", "script")
    else:
        text = "\n".join([script("action: Install splitbrain"), script("action: Drill")])
    done = run(place, text, **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "a bug that is not there" in done.stdout
