"""Golden explanations: each kind of violation, told in its words."""

import time

import msgspec
import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.explain import explain
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.checkers.linearizable.prepare import Outcome, calls_of
from splitbrain.checkers.linearizable.synthetic import Shape, synthetic
from splitbrain.env.random import Random
from splitbrain.errors import RequestError, UnknownName
from splitbrain.history.history import History
from splitbrain.history.op import Op


def history(script, key="x"):
    """Events as lines ``process type f value``, a tenth of a second apart.

    A value is an integer, nil, or ``old>new``; ``saw=V`` says what a failed cas observed.
    """
    ops = []
    for line in script.strip().splitlines():
        process, kind, f, value, *rest = line.split()
        ops.append(
            Op(process=int(process), type=kind, f=f, key=key, value=_value(value),
               time_ns=len(ops) * 100_000_000,
               ext={"observed": _value(rest[0][4:])} if rest else None)
        )  # fmt: skip
    return History(ops)


def _value(text):
    if ">" in text:
        return [_value(part) for part in text.split(">")]
    return None if text == "nil" else int(text)


def check(script, model="cas-register", **options):
    return LinearizableChecker(model).check(history(script), options, Budget(10))


STALE = """
0 invoke write 3
0 ok write 3
1 invoke write 9
1 ok write 9
4 invoke read nil
4 ok read 9
7 invoke read nil
7 ok read 3
"""


def test_stale_read():
    result = check(STALE)
    assert result.verdict == "invalid"
    anomaly = result.anomalies[0]
    assert anomaly.kind == "stale-read"
    assert anomaly.explanation == (
        'key "x": read 3 by process 7 at 0.700 s is stale: the write of 9 by process 1 had '
        "finished at 0.300 s, before that read began at 0.600 s, and process 4 before read 9 at 0.500 s"
    )
    assert anomaly.ops == (0, 1, 2, 3, 4, 5, 6, 7)
    assert anomaly.key == "x"
    assert [op["what"] for op in anomaly.picture["ops"]] == [
        "write 3", "write 9", "read 9", "read 3"
    ]  # fmt: skip
    assert result.kernel == "zones"


KINDS = {
    "twice: a write that was answered late came back after another": (
        "write-applied-twice",
        """
        1 invoke write 5
        3 invoke read nil
        3 ok read 5
        3 invoke write 7
        3 ok write 7
        1 ok write 5
        2 invoke read nil
        2 ok read 5
        """,
    ),
    "stale: a lagging replica among fresh ones": (
        "stale-read",
        """
        0 invoke write 1
        0 ok write 1
        0 invoke write 2
        0 ok write 2
        1 invoke read nil
        1 ok read 1
        2 invoke read nil
        2 ok read 2
        """,
    ),
    "stale: nothing where something had been read": (
        "stale-read",
        """
        0 invoke write 1
        1 invoke read nil
        1 ok read 1
        2 invoke read nil
        2 ok read nil
        0 ok write 1
        """,
    ),
    "lost: never seen, and the old value is back for good": (
        "lost-write",
        """
        0 invoke write 1
        0 ok write 1
        0 invoke write 2
        0 ok write 2
        1 invoke read nil
        1 ok read 1
        2 invoke read nil
        2 ok read 1
        3 invoke read nil
        3 ok read 1
        """,
    ),
    "lost: the first write of all, nil again": (
        "lost-write",
        """
        0 invoke write 1
        0 ok write 1
        1 invoke read nil
        1 ok read nil
        2 invoke read nil
        2 ok read nil
        """,
    ),
    "lost: had been seen before the crash, gone after it": (
        "lost-write",
        """
        0 invoke write 1
        0 ok write 1
        0 invoke write 2
        0 ok write 2
        1 invoke read nil
        1 ok read 2
        2 invoke read nil
        2 ok read 1
        3 invoke read nil
        3 ok read 1
        0 invoke write 3
        0 ok write 3
        1 invoke read nil
        1 ok read 3
        """,
    ),
    "lost: a cas built on what was overwritten": (
        "lost-write",
        """
        0 invoke write 1
        0 ok write 1
        0 invoke write 2
        0 ok write 2
        1 invoke cas 1>5
        1 ok cas 1>5
        """,
    ),
    "phantom": (
        "phantom-read",
        """
        0 invoke write 1
        0 ok write 1
        1 invoke read nil
        1 ok read 77
        """,
    ),
    "failed": (
        "failed-write-visible",
        """
        0 invoke write 1
        0 fail write 1
        1 invoke read nil
        1 ok read 1
        """,
    ),
    "failed cas": (
        "failed-write-visible",
        """
        0 invoke write 1
        0 ok write 1
        0 invoke cas 1>4
        0 fail cas 1>4
        1 invoke read nil
        1 ok read 4
        """,
    ),
    "future": (
        "read-from-future",
        """
        1 invoke read nil
        1 ok read 1
        0 invoke write 1
        0 ok write 1
        """,
    ),
    "observed by a failed cas": (
        "phantom-read",
        """
        0 invoke write 1
        0 ok write 1
        1 invoke cas 5>6
        1 fail cas 5>6 saw=8
        """,
    ),
    "failed: refused, read, and written only then": (
        "failed-write-visible",
        """
        0 invoke write 1
        0 fail write 1
        1 invoke read nil
        1 ok read 1
        0 invoke write 1
        0 ok write 1
        """,
    ),
    "future: refused, but only after it had been read": (
        "read-from-future",
        """
        1 invoke read nil
        1 ok read 1
        0 invoke write 1
        0 fail write 1
        """,
    ),
    "stale: what replaced it is what a later cas found": (
        "stale-read",
        """
        0 invoke write 1
        0 ok write 1
        0 invoke write 2
        0 ok write 2
        1 invoke read nil
        1 ok read 1
        2 invoke cas 2>3
        2 ok cas 2>3
        """,
    ),
    "stale: of unknown outcome, seen, replaced, and what replaced it is there again later": (
        "stale-read",
        """
        1 invoke write 5
        1 info write 5
        3 invoke read nil
        3 ok read 5
        3 invoke write 7
        3 ok write 7
        2 invoke read nil
        2 ok read 5
        3 invoke read nil
        3 ok read 7
        """,
    ),
    "two of one": (
        "not-linearizable",
        """
        0 invoke write 1
        0 ok write 1
        1 invoke cas 1>2
        2 invoke cas 1>3
        1 ok cas 1>2
        2 ok cas 1>3
        """,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    kind, script = KINDS[name]
    result = check(script)
    assert result.verdict == "invalid"
    anomaly = result.anomalies[0]
    assert anomaly.kind == kind, anomaly.explanation
    assert "\n" not in anomaly.explanation
    assert anomaly.explanation in result.summary


def test_a_violation_among_many_operations_is_shown_by_few():
    lines = []
    for n in range(100, 160):
        lines += [
            f"0 invoke write {n}",
            f"0 ok write {n}",
            "1 invoke read nil",
            f"1 ok read {n}",
        ]
    lines += STALE.strip().splitlines()
    for model in ("cas-register", "register"):
        anomaly = check("\n".join(lines), model).anomalies[0]
        assert anomaly.kind == "stale-read"
        assert len(anomaly.picture["ops"]) <= 4
        assert min(anomaly.ops) >= 240


def test_jit_violations_shrink_and_give_states_and_reasons():
    """A value written twice keeps zones away."""
    lines = ["5 invoke write 3", "5 info write 3"]
    for n in range(30):
        lines += [f"0 invoke cas {n}>{n + 1}", f"0 fail cas {n}>{n + 1}"]
    lines += ["0 invoke write 9", "0 ok write 9", "0 invoke write 9", "0 ok write 9"]
    lines += ["2 invoke read nil", "2 ok read 9", "1 invoke cas 4>5", "1 ok cas 4>5"]
    result = check("\n".join(lines))
    anomaly = result.anomalies[0]
    assert result.kernel == "jit"
    assert anomaly.kind == "failed-write-visible"
    assert anomaly.explanation.startswith('key "x": cas of 4 to 5 by process 1')
    assert len(anomaly.picture["ops"]) <= 3
    assert any("cas 4 to 5 needs the value 4" in reason for reason in anomaly.picture["why"])


def test_what_cannot_be_shrunk_in_time_is_explained_all_the_same():
    """Without a budget the whole history is what is told of; that must not take for ever."""
    shape = Shape(calls=20_000, functions=("read", "write", "cas"), values=7)
    model = make_model("cas-register")
    past = synthetic(Random(5).stream("long"), shape)
    ops = [Op(process=77, type="invoke", f="cas", key="k0", value=[1, 1]),
           Op(process=77, type="ok", f="cas", key="k0", value=[1, 1])]  # fmt: skip
    whole = History(msgspec.structs.replace(op, index=-1) for op in [*past, *ops])
    calls = calls_of(whole, model)
    outcome = Outcome(verdict="invalid", engine="jit", failed_at=len(calls) - 1)
    began = time.monotonic()
    anomaly = explain("k0", whole, calls, model, outcome, Budget(0.0))
    assert time.monotonic() - began < 10.0
    assert anomaly.ops[-1] == len(whole) - 1


def test_events_without_time_are_named_by_index():
    ops = [Op(process=0, type="invoke", f="read"), Op(process=0, type="ok", f="read", value=4)]
    result = LinearizableChecker("register").check(History(ops), {}, Budget(5))
    assert "by process 0 at event 1 " in result.summary


def test_valid_tells_which_unknown_outcomes_it_took():
    result = check(
        """
        0 invoke write 1
        0 info write 1
        2 invoke write 5
        2 info write 5
        1 invoke read nil
        1 ok read 1
        """
    )
    assert result.verdict == "valid"
    assert result.stats["crashed_needed"] == 1
    assert result.stats["needed"] == [0]
    assert "1 of unknown outcome took effect" in result.summary


# --- semantics -----------------------------------------------------------------------------------


def test_a_nil_read_is_an_observation_or_a_wildcard():
    script = "0 invoke write 1\n0 ok write 1\n1 invoke read nil\n1 ok read nil"
    assert check(script).verdict == "invalid"
    assert check(script, make_model("register", nil_reads="wildcard")).verdict == "valid"


def test_initial_values():
    script = "1 invoke read nil\n1 ok read 0"
    assert check(script).verdict == "invalid"
    assert check(script, make_model("register", initial=0)).verdict == "valid"


def test_a_delete_leaves_nothing():
    script = "0 invoke write 1\n0 ok write 1\n0 invoke delete nil\n0 ok delete nil\n{}"
    nothing = script.format("1 invoke read nil\n1 ok read nil")
    assert check(nothing, "kv").verdict == "valid"
    assert check(script.format("1 invoke read nil\n1 ok read 1"), "kv").verdict == "invalid"


def test_a_failed_cas_that_saw_nothing_says_so():
    script = "0 invoke write 1\n0 ok write 1\n1 invoke cas 5>6\n1 fail cas 5>6 saw=nil"
    assert check(script).verdict == "invalid"
    assert check(script.replace(" saw=nil", "")).verdict == "valid"


def many_keys(*scripts):
    ops = []
    for number, script in enumerate(scripts):
        for op in history(script, key=f"k{number}"):
            ops.append(Op(process=op.process + 100 * number, type=op.type, f=op.f, key=op.key,
                          value=op.value))  # fmt: skip
    return History(ops)


def test_the_first_invalid_key_ends_it():
    good = "0 invoke write 1\n0 ok write 1"
    bad = "1 invoke read nil\n1 ok read 4"
    result = LinearizableChecker("register").check(
        many_keys(good, bad, bad, good), {}, Budget(5)
    )
    assert result.anomalies[0].key == "k1"
    assert len(result.anomalies) == 1
    assert result.stats["keys_not_looked_at"] == 2
    assert "2 keys not looked at" in result.summary


def test_undecided_keys_are_named():
    history = many_keys("0 invoke write 1\n0 ok write 1")
    result = LinearizableChecker("register").check(history, {}, Budget(0.0))
    assert (result.verdict, result.reason) == ("unknown", "budget")
    assert result.undecided == ('key "k0": not begun',)


def test_requests_that_make_no_sense():
    with pytest.raises(UnknownName, match="did you mean zones"):
        LinearizableChecker("register", engine="zone")
    with pytest.raises(UnknownName, match="did you mean cas-register"):
        make_model("casregister")
    with pytest.raises(RequestError, match="has no function 'cas'"):
        check("0 invoke cas 1>2\n0 ok cas 1>2", "register")
    with pytest.raises(RequestError, match="\\[old, new\\]"):
        check("0 invoke cas 1\n0 ok cas 1")
    with pytest.raises(RequestError, match="--engine auto"):
        check("0 invoke cas 1>2\n0 ok cas 1>2", engine="zones")


def test_the_same_history_gives_the_same_answer():
    for _, script in KINDS.values():
        assert check(script) == check(script)
