"""Names to factories, and plug-in files: what works, and what is told by file and line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitbrain import catalog as names
from splitbrain.contracts.fault import Fault
from splitbrain.contracts.spec import ScheduledFault, TestSpec
from splitbrain.contracts.workload import Workload
from splitbrain.errors import PluginError, RequestError, UnknownName, Unsupported

CATALOG = names.builtin()


def spec(**changes: object) -> TestSpec:
    return TestSpec(**{"workload": "register", "substrate": "sim", **changes})  # type: ignore[arg-type]


def test_every_name_of_the_catalogue_can_be_made() -> None:
    for workload in CATALOG.workloads:
        for substrate in ("sim", "local", "docker"):  # ssh wants hosts
            for system in CATALOG.systems:
                if not offered(workload, system):
                    continue
                test = names.resolve(
                    spec(workload=workload, substrate=substrate, system=system), CATALOG
                )
                assert test.workload.name == workload
                assert test.substrate.name == substrate
                assert test.system.name == system
                assert not test.outside
    for model in CATALOG.models.values():
        assert model().init() is not NotImplemented


def offered(workload: str, system: str) -> bool:
    """Whether the system speaks the workload's vocabulary; if not, it is refused by that name."""
    made = names.make_workload(spec(workload=workload), CATALOG)
    if made.vocabulary in CATALOG.systems[system]().vocabularies:
        return True
    told = f"workload '{workload}' needs the vocabulary '{made.vocabulary}', which {system} does not"
    with pytest.raises(Unsupported, match=told) as caught:
        names.resolve(spec(workload=workload, system=system), CATALOG)
    assert caught.value.exit_code == 4
    return False


def test_every_name_has_words() -> None:
    for table in ("workloads", "systems", "substrates", "models", "nemeses"):
        names_of = set(getattr(CATALOG, table))
        judges = set(CATALOG.judges) if table == "models" else set()
        assert names_of | judges == set(CATALOG.described[table])


@pytest.mark.parametrize("name", sorted(names.OWN_CHECKERS))
def test_a_workload_s_checker_is_not_silently_replaced_by_ours(name: str) -> None:
    def mine(spec: TestSpec) -> Workload:
        made = names.make_workload(msgspec.structs.replace(spec, workload="register"), CATALOG)
        return msgspec.structs.replace(made, checkers={name: made.checkers["linearizable"]})

    catalog = msgspec.structs.replace(CATALOG, workloads={**CATALOG.workloads, "mine": mine})
    with pytest.raises(RequestError, match=f"a checker named '{name}' judges every run"):
        names.resolve(spec(workload="mine"), catalog)


@pytest.mark.parametrize("name", sorted(CATALOG.nemeses))
def test_every_fault_can_be_asked_for_somewhere(name: str) -> None:
    kinds = CATALOG.nemeses[name]
    if not kinds:  # a lever of the system's own
        lever = spec(workload="append", nemesis=(name,), options={"replicas": 3})
        assert names.resolve(lever, CATALOG).packages
        return
    found = [
        names.resolve(spec(nemesis=(name,), substrate=substrate), CATALOG)
        for substrate in ("sim", "docker")
        if kinds & CATALOG.substrates[substrate]().supports
    ]
    if not found:
        pytest.skip(f"{name} needs an engine for containers")
    assert all(kinds & test.faults for test in found)


@pytest.mark.parametrize(
    ("changes", "kind", "near"),
    [
        ({"workload": "regster"}, "workload", "register"),
        ({"system": "minitkv"}, "system", "minitikv"),
        ({"substrate": "locl"}, "substrate", "local"),
        ({"nemesis": ("kil",)}, "fault", "kill"),
        ({"bugs": ("ack-on-apend",)}, "bug", "ack-on-append"),
        ({"options": {"scal": 1}}, "option", "scale"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(
    changes: dict[str, object], kind: str, near: str
) -> None:
    with pytest.raises(UnknownName) as caught:
        names.resolve(spec(**changes), CATALOG)
    assert caught.value.kind == kind
    assert near in caught.value.near
    assert caught.value.exit_code == 2


def test_a_name_far_from_all_lists_all() -> None:
    with pytest.raises(UnknownName, match="known: append, bank, cas-register, kv"):
        names.resolve(spec(workload="zzz"), CATALOG)


def test_a_package_of_which_something_is_possible_runs_with_that() -> None:
    test = names.resolve(spec(substrate="local", nemesis=("network",)), CATALOG)
    assert Fault.DELAY in test.faults
    assert Fault.LOSS not in test.faults


def test_what_is_impossible_names_what_would_help() -> None:
    for words in ({"nemesis": ("loss",)}, {"schedule": (_fault("start-loss"),)}):
        with pytest.raises(Unsupported, match="--on sim") as caught:
            names.resolve(spec(substrate="local", **words), CATALOG)
        assert caught.value.exit_code == 4


def _fault(f: str) -> ScheduledFault:
    return ScheduledFault(time_ns=1, f=f, id="x")


def test_a_system_without_the_workloads_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plug.py"
    path.write_text(
        "from splitbrain.systems.minitikv import Minitikv\n"
        "class Logs(Minitikv):\n"
        "    name = 'logs'\n"
        "    vocabularies = frozenset({'log'})\n"
        "SYSTEMS = {'logs': Logs}\n"
    )
    catalog = names.load([str(path)], CATALOG)
    with pytest.raises(Unsupported, match="needs the vocabulary 'kv', which logs does not"):
        names.resolve(spec(system="logs"), catalog)


def test_a_plugin_adds_and_the_catalogue_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "plug.py"
    path.write_text(
        "from splitbrain.workloads.register import register\n"
        "WORKLOADS = {'mine': register}\n"
        "OPTIONS = {'colour': 'of nothing'}\n"
    )
    catalog = names.load([str(path)], CATALOG)
    assert set(catalog.workloads) == {*CATALOG.workloads, "mine"}
    assert "mine" not in CATALOG.workloads
    names.resolve(spec(workload="mine", options={"colour": "red"}), catalog)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\ndef f(:\n", 2, "syntax error: invalid syntax"),
        ("x = 1\n\nimport no_such_module_here\n", 3, "ModuleNotFoundError: No module named"),
        ("def f():\n    return 1 / 0\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)\n", 1, "SystemExit: 0"),
        ("x = 1\nWORKLOADS = ['mine']\n", 2, "WORKLOADS must be a mapping, not list"),
        ("\nSYSTEMS = {'mine': 3}\n", 2, "SYSTEMS['mine'] is not callable"),
        ("WORKLOADS = {'a/../b': print}\n", 1, "'a/../b' is no name"),
        ("WORKLOADS = {'latest': print}\n", 1, "'latest' is no name"),
        ("WORKLOADS = {3: print}\n", 1, "3 is no name"),
    ],
)
def test_a_mistake_in_a_plugin_is_told_by_file_and_line(
    text: str, line: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "plug.py"
    path.write_text(text)
    with pytest.raises(PluginError) as caught:
        names.load([str(path)], CATALOG)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_mistake_in_a_file_that_a_plugin_imports_is_told_at_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong_helper.py").write_text("\n\nx = = 2\n")
    path = tmp_path / "plug.py"
    path.write_text("x = 1\nimport wrong_helper\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"plug.py:2: syntax error in .*wrong_helper.py:3"):
        names.load([str(path)], CATALOG)


def test_a_factory_that_fails_is_told_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "plug.py"
    path.write_text(
        "def mine(spec):\n    return spec.no_such_thing\n\nWORKLOADS = {'mine': mine}\n"
    )
    catalog = names.load([str(path)], CATALOG)
    with pytest.raises(
        PluginError, match=r"plug.py:2: workload 'mine' cannot be made: Attribute"
    ):
        names.resolve(spec(workload="mine", load=(str(path),)), catalog)


@pytest.mark.parametrize("name", ["nowhere.py", "."])
def test_a_plugin_file_that_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no such file; --load takes a Python file"):
        names.load([str(tmp_path / name)], CATALOG)


def test_a_plugin_file_that_is_not_python_is_told(tmp_path: Path) -> None:
    path = tmp_path / "plug.txt"
    path.write_text("WORKLOADS = {}\n")
    with pytest.raises(PluginError, match="not a Python file"):
        names.load([str(path)], CATALOG)
