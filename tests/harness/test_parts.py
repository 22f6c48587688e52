"""Small parts: checks of answers, composed nemeses, open faults."""

import asyncio

import msgspec
import pytest

from splitbrain.errors import HarnessError
from splitbrain.harness.compose import ComposedNemesis
from splitbrain.harness.heal import OpenFaults
from splitbrain.harness.validate import check_client, check_client_answer, check_nemesis_answer
from splitbrain.history.op import NEMESIS, Op

READ = Op(index=4, time_ns=5, process=3, type="invoke", f="read", key="k")


@pytest.mark.parametrize("kind", ["ok", "fail", "info"])
def test_a_sound_answer_passes(kind):
    answer = msgspec.structs.replace(READ, type=kind, value=9)
    assert check_client_answer(READ, answer) is answer


def test_all_problems_are_told_with_both_operations():
    answer = Op(process=4, type="invoke", f="write", key="other", value=7)
    with pytest.raises(HarnessError) as info:
        check_client_answer(READ, answer)
    text = str(info.value)
    for part in (
        "process should stay 3, was 4",
        "f should stay 'read', was 'write'",
        "key should stay 'k', was 'other'",
        "type should be ok or fail or info, was 'invoke'",
        "invocation Op(time_ns=5, process=3, type='invoke', f='read', key='k')",
        "value=7",
    ):
        assert part in text
    assert "\n" not in text


def test_an_answer_that_is_no_op_is_told():
    with pytest.raises(HarnessError, match="an Op should be returned, was NoneType"):
        check_client_answer(READ, None)


def test_the_nemesis_answers_info_only():
    begun = Op(process=NEMESIS, type="info", f="start-kill")
    assert check_nemesis_answer(begun, begun) is begun
    with pytest.raises(HarnessError, match=r"nemesis .* type should be info, was 'ok'"):
        check_nemesis_answer(begun, msgspec.structs.replace(begun, type="ok"))


def test_what_open_gives_must_be_a_client():
    class Half:
        open = setup = close = None

    with pytest.raises(HarnessError, match=r"open\('n1'\) gave .* lacks invoke, teardown"):
        check_client(Half(), Half(), "n1")


class Nemesis:
    def __init__(self, *functions, fails=False):
        self.functions = frozenset(functions)
        self.fails = fails
        self.seen = []

    async def setup(self):
        self.seen.append("setup")

    async def invoke(self, op):
        self.seen.append(op.f)
        return op

    async def teardown(self):
        self.seen.append("teardown")
        if self.fails:
            raise OSError("stuck")


def test_operations_go_to_the_nemesis_that_understands_them():
    kill, cut = Nemesis("start-kill", "stop-kill"), Nemesis("start-partition")
    both = ComposedNemesis([kill, cut])
    assert both.functions == kill.functions | cut.functions

    async def main():
        await both.setup()
        for f in ("start-partition", "stop-kill"):
            await both.invoke(Op(process=NEMESIS, type="info", f=f))
        with pytest.raises(HarnessError, match=r"no nemesis understands 'start-flood'; known"):
            await both.invoke(Op(process=NEMESIS, type="info", f="start-flood"))

    asyncio.run(main())
    assert kill.seen == ["setup", "stop-kill"]
    assert cut.seen == ["setup", "start-partition"]


def test_two_nemeses_of_one_function_are_refused():
    with pytest.raises(HarnessError, match="several nemeses understand a, b"):
        ComposedNemesis([Nemesis("a", "b", "c"), Nemesis("b", "a")])


def test_all_are_torn_down_even_if_one_fails():
    first, second = Nemesis("a"), Nemesis("b", fails=True)
    with pytest.raises(OSError, match="stuck"):
        asyncio.run(ComposedNemesis([first, second]).teardown())
    assert first.seen == second.seen == ["teardown"]


def nemesis_op(f, **value):
    return Op(process=NEMESIS, type="info", f=f, value=value or None)


def test_open_faults_are_those_without_a_stop():
    functions = frozenset({"start-kill", "stop-kill", "start-jump"})
    faults = OpenFaults()
    for op in (
        nemesis_op("start-kill", id="a", fault="kill", targets=["n1"]),
        nemesis_op("start-kill", id="b", fault="kill", targets=["leader"]),
        nemesis_op("start-jump", id="c", fault="clock-jump"),
        nemesis_op("stop-kill", id="a"),
        # The completion knows who the leader was.
        nemesis_op("start-kill", id="b", fault="kill", targets=["n3"], proof=[]),
        nemesis_op("phase", phase="heal"),
    ):
        faults.saw(op)
    assert faults.stops(functions) == [
        {"f": "stop-kill", "value": {"id": "b", "fault": "kill", "targets": ["n3"]}}
    ]
    assert faults.names == ("kill",)
    faults.saw(nemesis_op("heal-all"))
    assert faults.stops(functions) == []
