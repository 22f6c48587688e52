"""A pytest plug-in: a test states workload, system, faults and what must hold.

    @pytest.mark.splitbrain("register", nemesis="partition,kill", time_limit=20)
    def test_no_write_is_lost(splitbrain):
        assert splitbrain.valid

The words of the marker are those of ``splitbrain run``; by default the test runs in simulation.  What
a failure prints: the verdict's sentence, the seed, the commands to run it again, and the report.

Nothing but this file is imported until a test asks for a run, so suites that use none pay nothing.

**Seeds.**  A session draws one base seed and prints it; the seed of a run follows from it and from
the test's id, whatever the order of tests and the number of xdist workers.

**Outcomes.**  A run that this machine cannot do is a skip, with the reason.  A malformed request, a
node that does not come up or a broken plug-in is an error.  A marker without a word of ``expect``
leaves it to the test what must hold; but a test that never looks at the verdict demands a valid one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from splitbrain.commands.trial import TrialResult

__all__ = ["Runner"]

_SEEDS: Final = 1_000_000
_BASE: Final = "splitbrain_base_seed"
_RUNS: Final = pytest.StashKey[list["TrialResult"]]()
_REPEAT: Final = "splitbrain_repetition"
_EXPECTED: Final = ("valid", "invalid", "unknown", "any")
_OUTCOMES: Final = ("fail", "skip")


# --- options ------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``pytest --help``."""
    group = parser.getgroup("splitbrain", "tests of distributed systems")
    group.addoption(
        "--splitbrain-on", metavar="SUBSTRATE", help="run all on sim, local, docker or ssh"
    )
    group.addoption(
        "--splitbrain-seed",
        metavar="N",
        type=int,
        help="the seed of every run, as a failure printed it",
    )
    group.addoption(
        "--splitbrain-base-seed",
        metavar="N",
        type=int,
        help="what seeds follow from, as a session printed it (default: drawn)",
    )
    group.addoption(
        "--splitbrain-store",
        metavar="DIR",
        help="where run directories are made (default: ini splitbrain_store, else store)",
    )
    group.addoption(
        "--splitbrain-repeat",
        metavar="N",
        type=int,
        default=1,
        help="each test N times, each time by another seed",
    )
    group.addoption(
        "--splitbrain-unknown",
        choices=_OUTCOMES,
        default="fail",
        help="what an unknown verdict is where valid was expected (default: fail)",
    )
    group.addoption(
        "--splitbrain-unsupported",
        choices=_OUTCOMES,
        default="skip",
        help="what a run is that is not possible here (default: skip)",
    )
    parser.addini("splitbrain_store", "where run directories are made", default="store")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and settle the base seed: xdist's workers get the controller's."""
    config.addinivalue_line(
        "markers",
        "splitbrain(workload, *, system, on, nodes, concurrency, rate, time_limit, nemesis, "
        "nemesis_interval, faults, skip_unsupported, seed, bugs, options, load, expect): run a "
        "distributed system under faults; the fixture splitbrain is the finished run",
    )
    if config.getoption("--splitbrain-repeat") < 1:
        raise pytest.UsageError("--splitbrain-repeat must be at least 1")
    given = getattr(config, "workerinput", {}).get(_BASE)
    if given is None:
        given = config.getoption("--splitbrain-base-seed")
    config.stash[_BASE_KEY] = secrets.randbelow(_SEEDS) if given is None else given


_BASE_KEY: Final = pytest.StashKey[int]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by xdist for each worker."""
    node.workerinput[_BASE] = node.config.stash[_BASE_KEY]


def pytest_report_header(config: pytest.Config) -> str | None:
    """With xdist nobody knows yet whether a test asks for a run; the seed is printed all the same."""
    if getattr(config.option, "numprocesses", None) or _given(config):
        return _base_line(config)
    return None


def pytest_report_collectionfinish(
    config: pytest.Config, items: list[pytest.Item]
) -> str | None:
    """The base seed, if a test asks for a run and the header did not tell it."""
    told = pytest_report_header(config) is not None
    return None if told or not any(map(_asks, items)) else _base_line(config)


def _given(config: pytest.Config) -> bool:
    names = ("on", "seed", "base-seed", "store")
    return any(config.getoption(f"--splitbrain-{name}") is not None for name in names)


def _base_line(config: pytest.Config) -> str:
    fixed = config.getoption("--splitbrain-seed")
    if fixed is not None:
        return f"splitbrain: seed {fixed} for every run"
    base = config.stash[_BASE_KEY]
    return f"splitbrain: base seed {base} (again: --splitbrain-base-seed {base})"


def _asks(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return "splitbrain" in names or "splitbrain_run" in names


# --- collection ---------------------------------------------------------------------------------


def pytest_pycollect_makeitem(obj: object) -> list[pytest.Item] | None:
    """``TestSpec`` and ``Testbed``, imported into a test, are words of the field and no tests."""
    ours = isinstance(obj, type) and obj.__module__.startswith("splitbrain.")
    return [] if ours else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A marked test has the fixture, named or not; ``--splitbrain-repeat`` makes several of it."""
    marked = metafunc.definition.get_closest_marker("splitbrain") is not None
    if marked and "splitbrain" not in metafunc.fixturenames:
        metafunc.fixturenames.append("splitbrain")
    count = metafunc.config.getoption("--splitbrain-repeat")
    if count > 1 and (marked or "splitbrain_run" in metafunc.fixturenames):
        metafunc.fixturenames.append(_REPEAT)
        ids = [f"repeat-{number + 1}" for number in range(count)]
        metafunc.parametrize(_REPEAT, range(count), indirect=True, ids=ids)


@pytest.fixture
def splitbrain_repetition(request: pytest.FixtureRequest) -> int:
    """Which of several runs of a test this is, from 0."""
    number: int = getattr(request, "param", 0)
    return number


# --- running ------------------------------------------------------------------------------------


class Runner:
    """Runs tests for one test function: the fixture ``splitbrain_run``.

    Args:
        item: the test function.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._runs = item.stash.setdefault(_RUNS, [])

    def __call__(self, workload: Any = None, /, **words: Any) -> TrialResult:
        """Run to the verdict, whatever it is.

        Args:
            workload: as in ``splitbrain run WORKLOAD``.
            **words: as the marker's, ``expect`` excepted.

        Raises:
            Skipped: not possible here.
            Failed: the request is malformed, or the harness or a plug-in broke.
        """
        __tracebackhide__ = True
        if workload is not None:
            words["workload"] = workload
        return self.run(words)

    def run(self, words: Mapping[str, Any]) -> TrialResult:
        """As a call, with all words in one mapping."""
        __tracebackhide__ = True
        from splitbrain.commands.run import Abandoned
        from splitbrain.commands.trial import run_trial
        from splitbrain.errors import SplitbrainError, Unsupported

        on = self._item.config.getoption("--splitbrain-on")
        words = words if on is None else {**words, "on": on}
        beside = self._item.path.parent
        seed, store = self._seed(words.get("seed")), self._store()
        try:
            one = run_trial(words, store=store, seed=seed, beside=beside)
        except SplitbrainError as error:
            problem = error
        else:
            self._note(one)
            if one.finished.interrupted:
                pytest.exit(f"interrupted during {self._item.nodeid}; {one!r}", returncode=2)
            return one
        if isinstance(problem, Abandoned):
            pytest.exit(_told(problem), returncode=2)
        skips = self._item.config.getoption("--splitbrain-unsupported") == "skip"
        if isinstance(problem, Unsupported) and skips:
            pytest.skip(f"splitbrain: {problem}")
        pytest.fail(f"splitbrain: {_told(problem)}", pytrace=False)

    def _store(self) -> Path:
        config = self._item.config
        given = config.getoption("--splitbrain-store")
        if given is not None:
            return Path(config.invocation_params.dir, given)
        return Path(config.rootpath, config.getini("splitbrain_store"))

    def _seed(self, given: Any) -> int:
        """Fixed for all, or given for this one, or a draw that depends on this test's id alone."""
        number = _repetition(self._item)
        fixed = self._item.config.getoption("--splitbrain-seed")
        if fixed is None:
            fixed = given
        if fixed is not None:
            if isinstance(fixed, bool) or not isinstance(fixed, int):
                pytest.fail(
                    f"splitbrain: seed={fixed!r}: a whole number is needed", pytrace=False
                )
            return fixed + number
        base = self._item.config.stash[_BASE_KEY]
        name = f"{base} {_plain_id(self._item)} {number} {len(self._runs)}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % _SEEDS

    def _note(self, one: TrialResult) -> None:
        self._runs.append(one)
        for name, value in (
            ("seed", one.seed),
            ("verdict", one.finished.verdict),
            ("report", str(one.report)),
        ):
            self._item.user_properties.append((f"splitbrain_{name}", value))


def _told(error: Exception) -> str:
    return "\n".join([str(error), *(f"    {note}" for note in getattr(error, "__notes__", ()))])


def _repetition(item: pytest.Item) -> int:
    callspec = getattr(item, "callspec", None)
    number: int = 0 if callspec is None else callspec.params.get(_REPEAT, 0)
    return number


def _plain_id(item: pytest.Item) -> str:
    """The id without what ``--splitbrain-repeat`` has added to it."""
    if item.config.getoption("--splitbrain-repeat") == 1 or not hasattr(item, "callspec"):
        return item.nodeid
    mine = f"repeat-{_repetition(item) + 1}"
    head, _, parameters = item.nodeid[:-1].rpartition("[")
    others = parameters.removeprefix(mine).removesuffix(mine).strip("-")
    return f"{head}[{others}]" if others else head


@pytest.fixture
def splitbrain_run(request: pytest.FixtureRequest) -> Runner:
    """``splitbrain_run("register", nemesis="partition")`` runs a test and gives the finished run."""
    return Runner(request.node)


@pytest.fixture
def splitbrain(request: pytest.FixtureRequest) -> TrialResult:
    """The finished run of the marker ``@pytest.mark.splitbrain(...)``."""
    words, expect = _marked(request.node), _expect(request.node)
    words.pop("expect", None)
    one = Runner(request.node).run(words)
    skips = request.config.getoption("--splitbrain-unknown") == "skip"
    if skips and one.finished.verdict == "unknown" and expect in (None, "valid"):
        pytest.skip(f"splitbrain: {one.sentence} (seed {one.seed}, {one.report})")
    return one


def _marked(item: pytest.Item) -> dict[str, Any]:
    """The words of all its markers: a function's before its class's before its module's."""
    words: dict[str, Any] = {}
    found = list(item.iter_markers("splitbrain"))
    if not found:
        pytest.fail(
            "splitbrain: the fixture splitbrain is the run of a marker; write "
            '@pytest.mark.splitbrain("register", ...) above this test, or take splitbrain_run',
            pytrace=False,
        )
    for marker in reversed(found):
        if len(marker.args) > 1:
            pytest.fail(
                "splitbrain: the marker takes one workload, and all else by name", pytrace=False
            )
        words |= {**({"workload": marker.args[0]} if marker.args else {}), **marker.kwargs}
    return words


def _expect(item: pytest.Item) -> str | None:
    expect: str | None = _marked(item).get("expect")
    if expect is not None and expect not in _EXPECTED:
        pytest.fail(f"splitbrain: expect={expect!r}: {', '.join(_EXPECTED)}", pytrace=False)
    return expect


# --- what must hold -----------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Before the test the verdict that its marker expects; after it a valid one, if it never looked."""
    if "splitbrain" not in pyfuncitem.funcargs or not pyfuncitem.stash.get(_RUNS, None):
        return (yield)
    one = cast("TrialResult", pyfuncitem.funcargs["splitbrain"])
    expect = _expect(pyfuncitem)
    if expect not in (None, "any"):
        _demand(one, expect)
    outcome = yield
    if expect is None and not one.looked:
        _demand(one, "valid")
    return outcome


def _demand(one: TrialResult, expect: str) -> None:
    if one.finished.verdict != expect:
        words = "" if expect == "valid" else f"expected {expect}, got "
        pytest.fail(f"{words}{one.sentence}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says how to see it again."""
    report = yield
    if report.failed and call.when in ("setup", "call"):
        for one in item.stash.get(_RUNS, []):
            lines = _lines(item, one)
            if one.sentence not in report.longreprtext:
                lines.insert(0, one.sentence)
            report.sections.append(("splitbrain", "\n".join(lines)))
    return report


def _lines(item: pytest.Item, one: TrialResult) -> list[str]:
    """How to see a run again."""
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    name = "::".join([path, *_plain_id(item).split("::")[1:]])
    words = ["pytest", name, "--splitbrain-seed", str(one.seed)]
    on = item.config.getoption("--splitbrain-on")
    if on is not None:
        words += ["--splitbrain-on", on]
    lines = [f"seed    {one.seed}", f"again   {shlex.join(words)}"]
    if one.command is not None:
        lines.append(f"        {one.command}")
    return [*lines, f"run     {one.directory}", f"report  {one.report}"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How many runs there were, by verdict, and what repeats all of them."""
    counts: dict[str, int] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call" or getattr(report, "skipped", False):
                for name, value in getattr(report, "user_properties", ()):
                    if name == "splitbrain_verdict":
                        counts[value] = counts.get(value, 0) + 1
    if counts:
        words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        terminalreporter.write_line(f"splitbrain: {words}; {_base_line(config)[12:]}")
