"""What plug-ins return: all that is wrong is told at once, and whose fault it is."""

import asyncio
import importlib.util
import re

import msgspec
import pytest

from splitbrain.contracts.generator import Emit
from splitbrain.errors import HarnessError, whose
from splitbrain.harness.generator import clients, invocations, lift, map, stagger  # noqa: A004
from splitbrain.harness.validate import (
    awaited,
    check_client_answer,
    check_nemesis_answer,
    proof_problems,
)
from splitbrain.harness.workers import ClientWorker
from splitbrain.history.op import NEMESIS, Op

READ = Op(index=4, time_ns=5, process=3, type="invoke", f="read", key="k")
START = Op(
    index=1, time_ns=2, process=NEMESIS, type="info", f="start-kill",
    value={"id": "kill-1", "fault": "kill", "targets": ["leader"], "parameters": {}},
)  # fmt: skip


@pytest.fixture
def plugin(tmp_path):
    """A module of a user's, with a client and a generator."""
    path = tmp_path / "own.py"
    path.write_text(
        "\n\nclass Own:\n    def op(self, *_):\n        return 7\n    update = op\n"
    )
    spec = importlib.util.spec_from_file_location("splitbrain_plugin_own", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module, path


def said(check, *given):
    with pytest.raises(HarnessError) as info:
        check(*given)
    assert "\n" not in str(info.value)
    return str(info.value)


def test_a_client_s_problems_are_told_all_at_once_with_its_file(plugin):
    module, path = plugin
    answer = Op(
        index=9, time_ns=8, process=4, type="invoke", f="write", value=object(),
        error=["x"], ext={"a": {1, object()}},
    )  # fmt: skip
    text = said(check_client_answer, READ, answer, module.Own())
    for part in (
        f"client Own ({path}:3) broke its contract",
        "process should stay 3, was 4",
        "f should stay 'read', was 'write'",
        "key should stay 'k', was None",
        "type should be ok or fail or info, was 'invoke'",
        "index is the harness's to set (leave it 4), was 9",
        "time_ns is the harness's to set (leave it 5), was 8",
        "error should be a string or None, was ['x']",
        "value cannot be written as JSON",
        "ext cannot be written as JSON",
        "invocation Op(time_ns=5, process=3",
        "completion Op(time_ns=8, process=4",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("value", "fine"),
    [(None, True), ([1, {"a": "b"}], True), (b"x", True), (object(), False),
     ("\ud800", False), ({(1, 2): 3}, False)],
)  # fmt: skip
def test_a_value_must_be_writable(value, fine):
    answer = msgspec.structs.replace(READ, type="ok", value=value)
    if fine:
        assert check_client_answer(READ, answer) is answer
    else:
        assert "value cannot be written as JSON" in said(check_client_answer, READ, answer)


def test_an_answer_made_anew_needs_neither_index_nor_time():
    answer = Op(process=3, type="ok", f="read", key="k", value=1)
    assert check_client_answer(READ, answer) is answer


def test_a_plain_function_where_a_coroutine_is_needed_is_told(plugin):
    module, path = plugin
    text = said(awaited, READ, module.Own(), "invoke")
    assert f"Own ({path}:3).invoke gave Op(" in text
    assert "async def invoke" in text


def test_a_client_whose_invoke_is_no_coroutine_ends_the_test():
    """Else each of its operations would seem to have an unknown outcome."""

    class Plain:
        async def open(self, node):
            return self

        def invoke(self, op):
            return msgspec.structs.replace(op, type="ok")

        async def close(self):
            pass

        setup = teardown = close

    ended, failed = [], []

    async def main():
        worker = ClientWorker(0, lambda _, op: ended.append(op), failed.append, Plain(), "n1")
        worker.start()
        worker.give(msgspec.structs.replace(READ, process=0), 1 << 62)
        await asyncio.sleep(0.01)
        await worker.stop()

    asyncio.run(main())
    assert ended == []
    (failure,) = failed
    assert isinstance(failure, HarnessError)
    assert "async def invoke" in str(failure)


def test_a_generator_s_problems_are_told_all_at_once(plugin):
    module, path = plugin

    class Wrong:
        def op(self, test, ctx):
            return Emit(Op(process=9, type="ok", f=3, value=object()), "nothing")

        def update(self, test, ctx, event):
            return self

    text = said(invocations, Wrong())
    for part in (
        "process should be 1, was 9",
        "type should be invoke, was 'ok'",
        "f should be a string, was 3",
        "time_ns should be 0 or more (now is 0), was -1",
        "value cannot be written as JSON",
        "what follows is 'nothing', no generator",
    ):
        assert part in text
    text = said(invocations, module.Own())
    given = f"generator Own ({path}:3) gave 7; it must give Emit(op, next), PENDING or None"
    assert given in text
    assert given in said(invocations, clients(stagger(1, module.Own()))), (
        "no combinator's fault"
    )


@pytest.mark.parametrize(
    ("following", "becomes", "problem"),
    [
        ("nothing", None, "what follows is 'nothing', no generator"),
        (None, "rust", "gave 'rust' for what follows event Op("),
    ],
)
def test_what_follows_is_checked_where_it_is_given_whatever_is_around_it(
    following, becomes, problem
):
    class Forgets:
        def op(self, test, ctx):
            process = ctx.some_free_process()
            return Emit(
                Op(process=process, type="invoke", f="read", time_ns=0), following or self
            )

        def update(self, test, ctx, event):
            return becomes or self

    text = said(invocations, clients(stagger(1, Forgets())))
    assert re.match(rf"generator \S+Forgets \({__file__}:\d+\) gave ", text)
    assert problem in text


def test_an_emit_of_no_op_is_told():
    class Dicts:
        def op(self, test, ctx):
            return Emit({"f": "read"}, self)

        def update(self, test, ctx, event):
            return self

    assert "gave Emit of {'f': 'read'}" in said(invocations, Dicts())


def test_an_exception_names_the_line_the_question_and_the_generator():
    gen = map(lambda op: op.value["x"], lift({"f": "read", "value": {}}))
    text = said(invocations, gen)
    for part in ("failed in op, time 0 ns, free threads [-1, 0, 1]: KeyError: 'x'",
                 f"at {__file__}:", "<lambda> (", ") inside Map("):  # fmt: skip
        assert part in text


def test_a_nemesis_s_problems_are_told_all_at_once():
    value = {"id": "other", "fault": "pause", "targets": "n1", "parameters": [],
             "proof": [{"target": "n1", "effective": "yes"}, 3, {"target": "n", "x": 1}]}  # fmt: skip
    text = said(check_nemesis_answer, START, msgspec.structs.replace(START, value=value))
    for part in (
        "value's id should stay 'kill-1', was 'other'",
        "value's fault should stay 'kill', was 'pause'",
        "value's targets should be a list of names, was 'n1'",
        "value's parameters should be a mapping, was []",
        "Expected `bool | null`, got `str`",
        "proof 3: Expected `object`, got `int`",
        "unknown field 'x'",
    ):
        assert part in text


def test_a_nemesis_that_forgets_what_it_was_asked_is_told():
    text = said(check_nemesis_answer, START, msgspec.structs.replace(START, value=None))
    assert "value should be a mapping with the id 'kill-1', was None" in text


def test_a_sound_nemesis_passes():
    proof = [{"target": "n1", "effective": None, "observed": "gone"}]
    answer = msgspec.structs.replace(
        START, value={**START.value, "targets": ("n1",), "proof": proof}
    )
    assert check_nemesis_answer(START, answer) is answer
    assert proof_problems(proof[0]) == []


def test_ours_are_named_without_a_file():
    assert whose(READ) == "Op"
    assert whose(ClientWorker) == "ClientWorker"
