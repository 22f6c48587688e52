"""A drill's file: what it means, and every mistake with its line, before anything starts."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitbrain.commands.drill
from splitbrain.commands.drill.lines import line_index
from splitbrain.commands.drill.matrix import Catalogs, Drill, read_drill
from splitbrain.commands.drill.plan import make_plan
from splitbrain.commands.drill.problems import MalformedDrill

Write = Callable[[str], Path]
CATALOGS = Catalogs()


@pytest.mark.parametrize(
    "name",
    [
        *(
            f"splitbrain.commands.drill.{it.name}"
            for it in pkgutil.iter_modules(splitbrain.commands.drill.__path__)
        ),
        "splitbrain.cli_drill.words",
    ],
)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def read(path: Path) -> Drill:
    return read_drill(path, CATALOGS)


def refused(path: Path) -> MalformedDrill:
    with pytest.raises(MalformedDrill) as caught:
        read(path)
    return caught.value


HEAD = '[[scenario]]\nname = "a"\nworkload = "register"\non = "sim"\n'
"""Four lines; what a test adds begins at line 5."""


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("seds = [1]", "5: scenario 'a': unknown key 'seds'; did you mean seeds?"),
        ("\n# x\nrate = -1", "7: scenario 'a': rate: -1 must be a number from 0 up"),
        ("rate = inf", "5: scenario 'a': rate: inf must be a number"),
        ("rate = true", "5: scenario 'a': rate: True must be a number"),
        ("time-limit = 0", "5: scenario 'a': time-limit: 0 must be a number above 0"),
        ("nodes = 0", "5: scenario 'a': nodes: 0 must be a whole number from 1 to 1000"),
        ("nodes = 2.5", "5: scenario 'a': nodes: 2.5 must be a whole number"),
        ("seeds = []", "5: scenario 'a': seeds: an empty list leaves nothing to run"),
        ("seeds = [3, 4, 3]", "5: scenario 'a': seeds: 3 stands there twice"),
        ('seeds = "9..3"', "5: scenario 'a': seeds: seeds 9..3: from 0 or more to no less"),
        ('seeds = "1-20"', '5: scenario \'a\': seeds: \'1-20\': write a range of seeds as "1..20"'),
        ('seeds = "1..999999999"', "at most 100000 of them"),
        ("seeds = { from = 1 }", "a table of seeds is { from = 1, to = 20 }"),
        ("seeds = [-1]", "-1 must be a whole number from 0 up"),
        ("nemesis = []", 'for no faults write "none"'),
        ('nemesis = "kill,none"', "none cannot be joined with other faults"),
        ('nemesis = ["kill", "kill"]', "('kill',) stands there twice"),
        ('nemesis = "partitio"', "5: scenario 'a': unknown fault 'partitio'; did you mean"),
        ('nemesis = ["kill",\n "partitio"]', "5: scenario 'a': unknown fault 'partitio'"),
        ('bugs = ["ack-on-apend"]', "5: scenario 'a': unknown bug 'ack-on-apend'; did you mean"),
        ('system = "minitikw"', "5: scenario 'a': unknown system 'minitikw'; did you mean"),
        ('faults = "vote-not"', "5: scenario 'a': faults 'vote-not': no such file"),
        ('concurrency = "2x"', "5: scenario 'a': concurrency '2x': a number such as 10"),
        ("concurrency = 0", "5: scenario 'a': concurrency: 0 must be a whole number"),
        ("options = { keys = 0 }", "5: scenario 'a': option keys=0: a whole number from 1"),
        ("[scenario.options]\nscale = 1\nkys = 3", "7: scenario 'a': unknown option 'kys'"),
        ("options = 3", "options: 3 must be a table such as { keys = 3 }"),
        ("options = { keys = [1] }", "options: keys = [1]: a number, a truth value or a word"),
        ('expect = "ok"', '5: scenario \'a\': expect: \'ok\' must be "valid", "invalid" or'),
        ("found = 1", '5: scenario \'a\': found goes with expect = "invalid", not with "valid"'),
        ('expect = "invalid"\nfound = 2', "6: scenario 'a': found = 2, but there are only 1 seeds"),
        ('expect = "invalid"\naccept = {}', '6: scenario \'a\': accept goes with expect = "valid"'),
        ("accept = { losst = 0 }", "5: scenario 'a': accept: unknown key 'losst'; did you mean lost?"),
        ("accept = { availability = 2 }", "accept: availability: 2 must be a number from 0 to 1"),
        ("accept = 1", "accept: 1 must be a table such as { lost = 0 }"),
        ('load = ["no.py"]', "5: scenario 'a': "),
        ("nodes = ", "5: not TOML: "),
        ("nodes = 1\nnodes = 2", "6: not TOML: "),
        ('[[scenario]]\nname = "b"', "5: scenario 'b': has no workload"),
        ("[[scenario]]\nworkload = 3", "5: scenario 2: has no name"),
        ('[[scenario]]\nname = "b"\nworkload = ""', "7: scenario 'b': workload: '' must be a word"),
        ("[[scenarios]]\nx = 1", "5: unknown key 'scenarios'; did you mean scenario?"),
        ("[defaults]\nname = 'x'", "6: unknown key 'name'; did you mean "),
        ("[defaults]\ntime-limit = 'x'", "6: time-limit: 'x' must be a number"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line(added: str, said: str, write: Write) -> None:
    error = refused(write(HEAD + added + "\n"))
    assert any(said in line for line in error.lines), error.lines
    assert all(line.startswith(str(write(HEAD + added))) for line in error.lines)
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "some.toml:1: holds no [[scenario]]"),
        ("[scenario]\nname = 'a'", "some.toml:1: each scenario begins with [[scenario]]"),
        ("nam = 'x'\n" + HEAD, "some.toml:1: unknown key 'nam'; did you mean name?"),
        ("\nname = '../x'\n" + HEAD, "some.toml:2: name = '../x': only letters"),
        ("defaults = 3\n" + HEAD, "some.toml:1: defaults = ...: write it as a table"),
        (HEAD + HEAD, "some.toml:5: scenario 'a': this name stands already at line 1"),
        (
            HEAD.replace('"sim"', '["sim", "local"]') + HEAD.replace('"a"', '"a/sim"'),
            "some.toml:5: scenario 'a/sim': the scenario at line 1 is called 'a/sim' too",
        ),
    ],
)
def test_mistakes_of_the_whole_file(text: str, said: str, write: Write) -> None:
    assert said in str(refused(write(text)))


def test_all_mistakes_are_told_at_once_and_nothing_starts(
    write: Write, invoke: Callable[..., Any], tmp_path: Path
) -> None:
    path = write(HEAD + "seds = 1\nrate = -1\n" + HEAD.replace('"a"', '"b"') + 'bugs = ["x"]\n')
    done = invoke("drill", path, "--json")
    lines = done.stderr.splitlines()
    assert done.exit_code == 2
    assert [line.split(":")[2] for line in lines] == ["5", "6", "11"]
    assert all(line.startswith(f"splitbrain: {path}:") for line in lines)
    row = json.loads(done.stdout)
    assert row["verdict"] == "error"
    assert [problem["line"] for problem in row["problems"]] == [5, 6, 11]
    assert not (tmp_path / "store").exists()


def test_what_the_machine_cannot_do_is_another_exit_code(write: Write) -> None:
    impossible = HEAD.replace('"sim"', '"local"') + 'nemesis = "loss"\n'
    error = refused(write(impossible))
    assert error.exit_code == 4
    assert ":5: scenario 'a': fault 'loss' is not possible on local" in str(error)
    error = refused(write(impossible + "seds = 1\n[[scenario]]\nname = 'b'\nworkload = 'x'\n"))
    assert error.exit_code == 2


@pytest.mark.parametrize("options", ["--shard 5/4", "--deadline soon", "--keep-size big",
    "--archive x.rar", "--archive no/x.zip", "--seeds no/seeds.toml", "--unknown maybe",
    "--keep-runs 0", "--shard 0/2"])  # fmt: skip
def test_words_that_make_no_sense(
    options: str, write: Write, invoke: Callable[..., Any], one_line: Callable[..., str]
) -> None:
    done = invoke("drill", write(HEAD), "--dry-run", *options.split())
    assert done.exit_code == 2
    assert one_line(done)


def test_a_file_that_is_not_there(
    invoke: Callable[..., Any], one_line: Callable[..., str], write: Write
) -> None:
    done = invoke("drill", "nowhere.toml")
    assert (done.exit_code, one_line(done)) == (
        2,
        "nowhere.toml: cannot be read: No such file or directory",
    )
    path = write("")
    path.write_bytes(b"\xff\xfe")
    done = invoke("drill", path)
    assert done.exit_code == 2
    assert "is not UTF-8" in one_line(done)


@pytest.mark.parametrize("name", ["smoke", "nightly"])
def test_the_drills_that_ship_can_be_run(name: str) -> None:
    drill = read(Path(__file__).parents[3] / "drills" / f"{name}.toml")
    minutes = make_plan(drill).seconds / 60
    assert {one.expect for one in drill.scenarios} == {"valid", "invalid"}
    assert {one.spec.substrate for one in drill.scenarios} == {"sim", "local"}
    assert minutes < {"smoke": 5, "nightly": 90}[name]


def test_lists_multiply_and_name_what_varies(write: Write) -> None:
    drill = read(
        write(
            """
            [defaults]
            time-limit = 7
            options = { keys = 3, read-share = 0.5 }
            accept = { lost = 0 }
            [[scenario]]
            name = "r"
            workload = ["register", "cas-register"]
            on = ["sim", "local"]
            nemesis = ["partition, kill", "none", ["pause"]]
            seeds = { from = 5, count = 3 }
            options = { keys = 4 }
            accept = { availability = 0.5 }
            [[scenario]]
            name = "one"
            workload = "register"
            on = "sim"
            bugs = ["ack-on-append"]
            nemesis = "all"
            expect = "invalid"
            """
        )
    )
    names = [one.name for one in drill.scenarios]
    assert len(names) == 2 * 2 * 3 + 1
    assert names[0] == "r/register/sim/partition+kill"
    assert names[-2:] == ["r/cas-register/local/pause", "one"]
    first, last = drill.scenarios[0], drill.scenarios[-1]
    assert first.spec.nemesis == ("partition", "kill")
    assert first.seeds == (5, 6, 7)
    assert first.spec.options == {"keys": 4, "read-share": 0.5}
    assert (first.accept.lost, first.accept.availability) == (0, 0.5)
    assert first.spec.time_limit_s == 7
    assert last.accept.lost is None, "a default of accept gives way to expect = invalid"
    assert len(last.spec.nemesis) > 3, "all is what is possible there"
    assert drill.name == "some"


def test_paths_are_relative_to_the_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.jsonl").write_text('{"time_ns":1000000000,"f":"start-kill","id":"k"}\n')
    (tmp_path / "own.py").write_text("OPTIONS = {'my-option': 'x'}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = HEAD + 'faults = "here.jsonl"\nload = "own.py"\noptions = { my-option = 3 }\n'
    (only,) = read(write(text)).scenarios
    assert only.spec.schedule[0].f == "start-kill"
    assert only.spec.load == ("../own.py",)
    assert only.faults == ("schedule here",)
    (shipped,) = read(write(HEAD + 'faults = "vote-not-durable"\nnodes = 3\n')).scenarios
    assert shipped.spec.schedule


VALUES = [
    "1", '"a # b"', "'[[scenario]]'", "[1, 2]", "[\n  1, # [\n  2,\n]", "{ a = 1, b = [2] }",
    '"""\n[[scenario]]\nx = 1\n"""', "'''\n[x]\n\n'''", '"\\""', '"""a"b""c"""""',
    "1979-05-27T07:32:00Z",
    '[["a", "]"],\n\n["b"]]', "-1.5e3",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_key_is_found_at_its_line(data: st.DataObject) -> None:
    """Documents with traps, written line by line, so that the lines are known."""
    lines: list[str] = []
    expected: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    counts: dict[str, int] = {}
    for number in range(data.draw(st.integers(1, 12))):
        kind = data.draw(
            st.sampled_from(["key", "key", "key", "array", "table", "sub", "noise"])
        )
        if kind == "noise":
            lines += data.draw(st.sampled_from([[""], ["# [[scenario]]"], ["", "   "]]))
        elif kind == "key":
            word = data.draw(st.sampled_from([f"k{number}", f"'k {number}'", f'"k.{number}"']))
            expected[(*table, word.strip("'\""))] = len(lines) + 1
            value = data.draw(st.sampled_from(VALUES))
            comment = data.draw(st.sampled_from(["", "  # x = 1"]))
            lines += f"{word} = {value}{comment}".split("\n")
        elif kind == "sub" and len(table) == 2:
            table = (*table, f"t{number}")
            expected[table] = len(lines) + 1
            lines.append(f" [ {table[0]} . t{number} ]")
        else:
            name = data.draw(st.sampled_from(["s", "t"])) if kind == "array" else f"x{number}"
            if kind == "array":
                counts[name] = counts.get(name, -1) + 1
                table = (name, counts[name])
            else:
                table = (name,)
            expected[table] = len(lines) + 1
            lines.append(f"[[{name}]]  # y" if kind == "array" else f"[{name}]")
    text = "\n".join(lines)
    tomllib.loads(text)
    found = line_index(text)
    assert {path: found.get(path) for path in expected} == expected
