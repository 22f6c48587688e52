"""The pytest plug-in, as a user's suite sees it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from splitbrain.commands.trial import run_trial

pytest_plugins = "pytester"

PAGE = Path(__file__).parents[1] / "docs" / "pytest.md"
STORE = (
    "class Forgetful:"
    + PAGE.read_text().partition("class Forgetful:")[2].partition("@pytest.mark")[0]
)
GOOD = """
import pytest
@pytest.mark.splitbrain("register", nodes=1, time_limit=2)
def test_good(splitbrain):
    assert splitbrain.valid
"""
BAD = """
import pytest, sys
sys.path.insert(0, ".")
from store import Forgetful
@pytest.mark.splitbrain("register", system=Forgetful, time_limit=3{more})
def test_bad({takes}):
    {body}
"""


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory):
    """Inner sessions forget what they imported; so all that a run needs is imported before them."""
    words = {"workload": "register", "nemesis": "partition", "nodes": 2, "time_limit": 1}
    run_trial(words, store=tmp_path_factory.mktemp("store"), seed=1)


@pytest.fixture(autouse=True)
def _own_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def bad(pytester):
    pytester.makepyfile(store="import asyncio\nfrom contextlib import suppress\n"
                              "from splitbrain.errors import Definite\n" + STORE)  # fmt: skip

    def write(takes="splitbrain", body="assert splitbrain.valid", more=""):
        pytester.makepyfile(BAD.format(takes=takes, body=body, more=more))

    return write


PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")


def run(pytester, *words):
    return pytester.runpytest_inprocess(*PLAIN, "-p", "no:xdist", *words)


def test_a_valid_run_passes(pytester):
    pytester.makepyfile(GOOD)
    done = run(pytester)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["splitbrain: base seed * (again: --splitbrain-base-seed *)"])
    assert len(list(pytester.path.glob("store/register/*/report.html"))) == 1


@pytest.mark.parametrize(
    ("takes", "body"), [("splitbrain", "assert splitbrain.valid"), ("", "pass"), ("splitbrain", "pass")]
)  # fmt: skip
def test_a_failure_says_how_to_see_it_again(pytester, bad, takes, body):
    bad(takes, body)
    done = run(pytester)
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    assert "INVALID: " in text
    seed = re.search(r"^seed    (\d+)$", text, flags=re.MULTILINE)[1]
    path = pytester.path.name
    assert f"::test_bad --splitbrain-seed {seed}\n" in text, path
    report = re.search(r"^report  (.*)$", text, flags=re.MULTILINE)[1]
    assert Path(report).is_file()
    again = run(pytester, "--splitbrain-seed", seed)
    again.assert_outcomes(failed=1)
    sentence = re.search(r"^(?:E .*)?(INVALID: .*\.)$", text, flags=re.MULTILINE)[1]
    assert sentence in again.stdout.str()


def test_what_is_expected_is_no_failure(pytester, bad):
    bad(more=', expect="invalid"', body="assert splitbrain.invalid and splitbrain.kinds")
    run(pytester).assert_outcomes(passed=1)
    bad(more=', expect="any"', body="pass")
    run(pytester).assert_outcomes(passed=1)
    bad(more="", body='assert splitbrain.verdict == "invalid"')
    run(pytester).assert_outcomes(passed=1)
    pytester.makepyfile(GOOD.replace("time_limit=2", 'time_limit=2, expect="invalid"'))
    done = run(pytester)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["expected invalid, got VALID: *"])


def test_seeds_follow_from_the_base_seed_and_the_id(pytester):
    pytester.makepyfile("""
import pytest
pytestmark = pytest.mark.splitbrain("register", nodes=1, time_limit=1)
@pytest.mark.parametrize("n", [1, 2])
def test_it(splitbrain, n):
    print("SEED", n, splitbrain.seed)
""")

    def seeds(*words):
        text = run(pytester, "-s", "--splitbrain-base-seed", "5", *words).stdout.str()
        return re.findall(r"SEED (\d) (\d+)", text)

    first = seeds()
    assert len({seed for _, seed in first}) == 2
    assert seeds("-k", "2") == first[1:]
    repeated = seeds("--splitbrain-repeat", "2")
    assert len({seed for _, seed in repeated}) == 4
    assert set(first) < set(repeated)
    assert {seed for _, seed in seeds("--splitbrain-seed", "7")} == {"7"}


def test_repeats_are_tests_of_their_own(pytester, bad):
    bad()
    done = run(pytester, "--splitbrain-repeat", "3", "-v")
    done.assert_outcomes(failed=3)
    done.stdout.fnmatch_lines(["*::test_bad?repeat-2? FAILED*"])
    assert "repeat-" not in "".join(re.findall(r"again .*", done.stdout.str()))
    run(pytester, "--splitbrain-repeat", "0").stderr.fnmatch_lines(["*must be at least 1"])


def test_a_file_of_ones_own_is_loaded_from_beside_the_test(pytester, bad):
    (pytester.path / "sub").mkdir()
    store = pytester.path / "sub" / "mine.py"
    store.write_text(f"import asyncio\n{STORE}\nSYSTEMS = {{'mine': Forgetful}}\n")
    (pytester.path / "sub" / "test_mine.py").write_text(
        GOOD.replace("time_limit=2", 'time_limit=3, system="mine", load="mine.py"')
    )
    done = run(pytester)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*splitbrain run register * --system mine * --load *mine.py *"])
    store.write_text("import asyncio\nrubbish\n")
    done = run(pytester)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*mine.py:2: NameError: name 'rubbish' is not defined"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('"registre"', "unknown workload 'registre'; did you mean register"),
        ('"register", time=3', "unknown argument 'time'"),
        ('"register", nodes="many"', "nodes='many': a number is needed"),
        ('"register", expect="fine"', "expect='fine': valid, invalid"),
        ('"register", "kv"', "the marker takes one workload"),
        ("", "no workload is named"),
        ('"register", seed="x"', "seed='x': a whole number"),
    ],
)
def test_malformed_requests_are_told_in_a_line(pytester, words, said):
    pytester.makepyfile(GOOD.replace('"register", nodes=1, time_limit=2', words))
    done = run(pytester)
    text = done.stdout.str()
    assert said in text
    assert "Traceback" not in text
    outcomes = done.parseoutcomes()
    assert outcomes.get("errors", 0) + outcomes.get("failed", 0) == 1


def test_objects_instead_of_names(pytester):
    pytester.makepyfile("""
import pytest
from splitbrain.contracts.spec import TestSpec
from splitbrain.workloads.register import register

def my_register(spec):
    return register(spec)

def test_own(splitbrain_run):
    for workload in (my_register, register(TestSpec(workload="own"))):
        one = splitbrain_run(workload, nodes=1, time_limit=1)
        assert one.valid
        assert one.spec.workload == ("own-my-register" if workload is my_register else "own-register")
        assert len(one.history) > 100
        with pytest.raises(pytest.fail.Exception, match="a name, an object, or what makes one"):
            splitbrain_run(workload, system=3)
        with pytest.raises(pytest.fail.Exception, match="no frozenset"):
            splitbrain_run(workload, nemesis=[test_own])

async def two(splitbrain_run):
    splitbrain_run("register")

def test_inside_a_loop(splitbrain_run):
    import asyncio
    with pytest.raises(pytest.fail.Exception, match="call it from a plain function"):
        asyncio.run(two(splitbrain_run))
""")
    run(pytester).assert_outcomes(passed=2)


def test_an_interrupt_ends_the_run_in_good_order_and_the_session(pytester):
    pytester.makepyfile("""
import os, pathlib, pytest, signal, threading, time

@pytest.mark.splitbrain("register", time_limit=100000)
def test_long(splitbrain):
    pass

def press():
    def written():
        return sum(path.stat().st_size for path in pathlib.Path("store").glob("*/*/history.jsonl"))
    while not written():
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

@pytest.fixture(autouse=True, scope="session")
def key():
    threading.Thread(target=press, daemon=True).start()

def test_after():
    pass
""")
    done = pytester.runpytest_subprocess(*PLAIN)
    assert done.ret == 2
    done.stdout.fnmatch_lines(
        ["*interrupted during *::test_long; <UNKNOWN: unfinished*report.html)*"]
    )
    assert "passed" not in done.stdout.str()
    assert len(list(pytester.path.glob("store/register/*/report.html"))) == 1


def test_the_fixture_without_a_marker_is_an_error(pytester):
    pytester.makepyfile("def test_it(splitbrain): pass")
    done = run(pytester)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*write @pytest.mark.splitbrain(*"])


def test_what_is_not_possible_here_is_skipped(pytester, bad):
    bad(body="pass")
    store = pytester.path / "store.py"
    store.write_text(
        store.read_text().replace(
            "def validate(self, spec):\n        pass",
            "def validate(self, spec):\n        from splitbrain.errors import Unsupported\n"
            "        raise Unsupported('it needs a tape drive')",
        )
    )
    done = run(pytester, "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED * splitbrain: it needs a tape drive"])
    run(pytester, "--splitbrain-unsupported", "fail").assert_outcomes(errors=1)


def test_a_substrate_for_all(pytester):
    pytester.makepyfile(GOOD)
    done = run(pytester, "--splitbrain-on", "lokal")
    done.assert_outcomes(errors=1)
    assert "unknown substrate 'lokal'; did you mean local" in done.stdout.str()


def test_unknown_fails_or_is_skipped_as_asked(pytester):
    vacuous = GOOD.replace("time_limit=2", 'time_limit=2, options={"read-share": 1.0}')
    pytester.makepyfile(vacuous)
    done = run(pytester)
    done.assert_outcomes(failed=1)
    assert "UNKNOWN: " in done.stdout.str()
    run(pytester, "--splitbrain-unknown", "skip").assert_outcomes(skipped=1)


def test_on_xdist_workers_share_the_base_seed_and_the_store(pytester):
    pytester.makepyfile("""
import pytest
@pytest.mark.splitbrain("register", nodes=1, time_limit=1)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it(splitbrain, n):
    assert not splitbrain.valid
""")

    def seeds(*words):
        done = pytester.runpytest_subprocess(*PLAIN, "--splitbrain-base-seed", "9", *words)
        done.assert_outcomes(failed=3)
        return sorted(re.findall(r"^seed    (\d+)$", done.stdout.str(), flags=re.MULTILINE))

    assert seeds("-n", "2") == seeds()
    assert len(list(pytester.path.glob("store/register/*/result.json"))) == 6


def test_a_drawn_base_seed_is_the_same_on_all_workers(pytester):
    pytester.makepyfile("""
import pytest
@pytest.mark.parametrize("n", range(4))
def test_it(n, pytestconfig):
    from splitbrain.pytest_plugin import _BASE_KEY
    open(f"seed{n}", "w").write(str(pytestconfig.stash[_BASE_KEY]))
""")
    done = pytester.runpytest_subprocess(*PLAIN, "-n", "2")
    done.assert_outcomes(passed=4)
    found = {path.read_text() for path in pytester.path.glob("seed?")}
    assert len(found) == 1
    done.stdout.fnmatch_lines([f"splitbrain: base seed {found.pop()} *"])


def test_other_suites_import_nothing_and_read_nothing_of_it(pytester):
    pytester.makepyfile("""
def test_it():
    import sys
    ours = {name for name in sys.modules if name.startswith("splitbrain")}
    assert ours == {"splitbrain", "splitbrain.pytest_plugin"}
    assert not {"numpy", "grpc", "msgspec", "networkx", "click"} & set(sys.modules)
""")
    done = pytester.runpytest_subprocess(*PLAIN)
    done.assert_outcomes(passed=1)
    assert "base seed" not in done.stdout.str()


def test_runs_are_properties_of_a_junit_file(pytester):
    pytester.makepyfile(GOOD)
    run(pytester, "--junitxml", "junit.xml").assert_outcomes(passed=1)
    text = (pytester.path / "junit.xml").read_text()
    assert '<property name="splitbrain_verdict" value="valid"' in text
    assert '<property name="splitbrain_seed"' in text


def test_the_page_is_true(pytester):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 4
    pytester.makepyfile("\n".join(blocks))
    run(pytester, "--splitbrain-base-seed", "1").assert_outcomes(passed=5)
