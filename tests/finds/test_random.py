"""Seeded bugs that random faults reveal: found, absent in the control, and quiet otherwise."""

from __future__ import annotations

import pytest

from splitbrain.systems.minitikv.bugs import BUGS

RANDOM = sorted(name for name, bug in BUGS.items() if not bug.schedule)
SEEDS = range(1, 21)
"""The seeds of which ``Bug.share`` says how many find it."""

SHARE_MIN = 3
FAULTY = [name for name in RANDOM if BUGS[name].nemesis]
CONTENDED = [name for name in RANDOM if not BUGS[name].nemesis]
"""Found without a fault: by clients that get in each other's way."""
QUICK = (
    "no-conflict-check",
    "lock-no-conflict-check",
    "secondary-first",
    "notfound-is-rollback",
)
"""Of them those that are always tried: of rules, locks, commits and the resolver one each."""


def mostly_deep(bugs: list[str]) -> pytest.MarkDecorator:
    """Bugs of transactions take long; of those only ``QUICK`` are always tried."""
    slow = {bug for bug in bugs if BUGS[bug].workload != "register" and bug not in QUICK}
    marked = [
        pytest.param(bug, marks=[pytest.mark.deep] if bug in slow else []) for bug in bugs
    ]
    return pytest.mark.parametrize("bug", marked)


@mostly_deep(RANDOM)
def test_it_is_found_and_its_control_is_valid(bug: str, hunt) -> None:  # type: ignore[no-untyped-def]
    for seed in SEEDS:
        catch = hunt(bug, seed)
        if catch.verdict == "invalid":
            break
    else:
        pytest.fail(f"{bug}: none of the seeds {SEEDS} finds it")
    assert catch.kinds & set(BUGS[bug].anomalies), catch.kinds
    assert catch.probe > 0 or "node-crash" in catch.kinds
    control = hunt(bug, seed, with_bug=False)
    assert control.verdict == "valid", control.result.summary


@mostly_deep(FAULTY)
def test_it_is_quiet(bug: str, hunt) -> None:  # type: ignore[no-untyped-def]
    quiet = [hunt(bug, 1, nemesis=()), hunt(bug, 1, nemesis=BUGS[bug].harmless)]
    for catch in quiet:
        assert catch.verdict == "valid", catch.result.summary


@pytest.mark.deep
@pytest.mark.parametrize("bug", RANDOM)
def test_enough_seeds_find_it(bug: str, hunt, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    catches = [hunt(bug, seed) for seed in SEEDS]
    found = [catch.spec.seed for catch in catches if catch.verdict == "invalid"]
    with capsys.disabled():
        slowest = max(catch.wall_s for catch in catches)
        print(f"\n{bug}: {len(found)} of 20 seeds find it {found}, slowest {slowest:.1f} s")
    assert len(found) >= SHARE_MIN
    for catch in catches:
        if catch.verdict == "invalid":
            assert catch.kinds & set(BUGS[bug].anomalies), (catch.spec.seed, catch.kinds)


@pytest.mark.deep
@pytest.mark.parametrize("bug", RANDOM)
def test_every_control_is_valid(bug: str, hunt) -> None:  # type: ignore[no-untyped-def]
    for seed in SEEDS:
        control = hunt(bug, seed, with_bug=False)
        assert control.verdict == "valid", (seed, control.result.summary)


@pytest.mark.deep
@pytest.mark.parametrize("bug", FAULTY)
def test_it_is_quiet_in_twenty_runs(bug: str, hunt) -> None:  # type: ignore[no-untyped-def]
    probes = 0
    for nemesis in ((), BUGS[bug].harmless):
        for seed in range(1, 11):
            catch = hunt(bug, seed, nemesis=nemesis)
            assert catch.verdict == "valid", (nemesis, seed, catch.result.summary)
            probes += catch.probe
    assert probes > 0 or BUGS[bug].needs_fault


@pytest.mark.deep
@pytest.mark.parametrize("bug", CONTENDED)
def test_it_is_quiet_where_nobody_is_in_the_way(bug: str, hunt) -> None:  # type: ignore[no-untyped-def]
    for seed in range(1, 11):
        catch = hunt(bug, seed, alone=True)
        assert catch.verdict == "valid", (seed, catch.result.summary)


def test_loss_of_power_reveals_what_a_kill_hides(hunt) -> None:  # type: ignore[no-untyped-def]
    """A kill keeps written bytes, so acknowledging before the fsync costs nothing; power does not."""
    by_power = [hunt("append-no-fsync", seed, nemesis=("power",)) for seed in (1, 2, 3)]
    by_kill = [hunt("append-no-fsync", seed, nemesis=("kill",)) for seed in (1, 2, 3)]
    assert any(catch.verdict == "invalid" for catch in by_power)
    assert [catch.verdict for catch in by_kill] == ["valid"] * 3
    assert sum(catch.probe for catch in by_kill) > 0
