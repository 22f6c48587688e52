"""Small parts: checks of answers, composed nemeses, open faults."""

import asyncio

import msgspec
import pytest

from splitbrain.errors import Definite, HarnessError
from splitbrain.harness.compose import ComposedNemesis
from splitbrain.harness.heal import OpenFaults
from splitbrain.harness.validate import check_client, check_client_answer, check_nemesis_answer
from splitbrain.harness.workers import ClientWorker
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


class Stubborn:
    """A client that makes something of its own of being cut off."""

    def __init__(self, answer):
        self.answer = answer

    async def open(self, node):
        return self

    async def invoke(self, op):
        if op.index:
            return msgspec.structs.replace(op, type="ok")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if isinstance(self.answer, Exception):
                raise self.answer from None
        return msgspec.structs.replace(op, type=self.answer)

    async def setup(self):
        pass

    teardown = close = setup


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Definite("aborted"), "info"), ("fail", "info"), (ValueError("x"), "info"), ("ok", "ok")],
)
def test_an_operation_that_was_cut_off_is_not_undone_whatever_its_client_says(answer, kind):
    ended = []

    async def main():
        worker = ClientWorker(
            0, lambda _, op: ended.append(op), ended.append, Stubborn(answer), "n1"
        )
        worker.start()
        for index in range(2):
            worker.give(Op(index=index, process=0, type="invoke", f="write"), 1 << 62)
            await asyncio.sleep(0.01)
            worker.expire("timeout: too long")
            await asyncio.sleep(0.01)
        await worker.stop()

    asyncio.run(main())
    assert [op.type for op in ended] == [kind, "ok"]
