"""Jepsen's process semantics, told step by step: time and completions in, actions out."""

import pytest
from msgspec.structs import replace

from splitbrain.contracts.generator import PENDING, Emit
from splitbrain.env.random import Random
from splitbrain.errors import HarnessError
from splitbrain.harness.generator import (
    clients,
    concat,
    delay,
    lift,
    limit,
    nemesis,
    on_threads,
    repeat,
    sleep,
)
from splitbrain.harness.interpreter import (
    Done,
    Interpreter,
    Invoke,
    Pseudo,
    WaitForEvent,
    WaitUntil,
)
from splitbrain.history.op import NEMESIS, Op

MS = 10**6


class Told:
    """An interpreter with its record."""

    def __init__(self, generator, *, concurrency=2, nodes=(), with_nemesis=True):
        self.record = []
        self.interpreter = Interpreter(
            lift(generator),
            {},
            concurrency=concurrency,
            random=Random(1).stream("t"),
            record=self.record.append,
            nodes=nodes,
            nemesis=with_nemesis,
        )
        self.poll, self.complete = self.interpreter.poll, self.interpreter.complete

    def types(self):
        return [(op.index, op.process, op.type, op.f) for op in self.record]


class Fixed:
    """A generator that always answers the same, and notes what it learns."""

    def __init__(self, answer):
        self.answer = answer
        self.learned = []

    def op(self, test, ctx):
        return self.answer(ctx) if callable(self.answer) else self.answer

    def update(self, test, ctx, event):
        self.learned.append(
            (event.type, ctx.process(ctx.thread(event.process)), ctx.free_threads)
        )
        return self


def ended(action, kind, **fields):
    return replace(action.op, type=kind, **fields)


def test_info_makes_the_thread_a_new_process():
    told = Told(on_threads({1}, repeat({"f": "w"})), concurrency=3)
    processes = []
    for kind in ("ok", "info", "fail", "info", "info", "ok"):
        action = told.poll(0)
        assert action.thread == 1
        processes.append(action.op.process)
        told.complete(1, ended(action, kind), 0)
    assert processes == [1, 1, 4, 4, 7, 10]


def test_a_generator_learns_of_an_info_before_the_process_changes():
    gen = Fixed(lambda ctx: Emit(Op(time_ns=0, process=0, type="invoke", f="w"), gen))
    told = Told(gen, concurrency=1, with_nemesis=False)
    action = told.poll(0)
    told.complete(0, ended(action, "info"), 5)
    assert gen.learned == [("invoke", 0, ()), ("info", 0, (0,))]


def test_the_nemesis_is_info_before_and_after_and_keeps_its_number():
    told = Told(nemesis(repeat({"f": "start-kill"})))
    for _ in range(2):
        action = told.poll(0)
        assert action.thread == NEMESIS
        told.complete(NEMESIS, ended(action, "info"), 0)
    assert told.types() == [(n, NEMESIS, "info", "start-kill") for n in range(4)]


def test_indexes_are_dense_and_times_never_go_back():
    told = Told(on_threads({0}, repeat({"f": "r"})))
    first = told.poll(100)
    told.complete(0, ended(first, "ok"), 90)  # a clock that went back
    second = told.poll(95)
    told.interpreter.note(Op(process=NEMESIS, type="info", f="phase"), 120)
    told.complete(0, ended(second, "ok"), 130)
    assert [(op.index, op.time_ns) for op in told.record] == [
        (0, 100), (1, 100), (2, 100), (3, 120), (4, 130),
    ]  # fmt: skip


def test_an_operation_for_later_waits_and_is_invoked_at_the_time_that_is():
    told = Told(on_threads({0}, delay(1, repeat({"f": "r"}, times=2))))
    first = told.poll(7)
    told.complete(0, ended(first, "ok"), 8)
    assert told.poll(9) == WaitUntil(7 + 10**9)
    assert told.poll(10**9) == WaitUntil(7 + 10**9)
    late = told.poll(10**9 + 500)
    assert isinstance(late, Invoke)
    assert late.op.time_ns == 10**9 + 500


def test_an_event_makes_it_ask_again():
    """An offer for later is dropped when something happens: there may be a better one."""
    asked = []

    class Watching:
        def __init__(self, seen=False):
            self.seen = seen

        def op(self, test, ctx):
            asked.append(self.seen)
            process = 1 if ctx.free_mask & 0b100 else 0
            op = Op(time_ns=0 if self.seen or process else 50 * MS, process=process,
                    type="invoke", f="r")  # fmt: skip
            return Emit(op, self)

        def update(self, test, ctx, event):
            return Watching(event.type == "ok")

    told = Told(Watching(), with_nemesis=False)
    first = told.poll(0)
    assert first.thread == 1
    assert told.poll(1) == WaitUntil(50 * MS)
    assert told.poll(2) == WaitUntil(50 * MS)
    assert asked == [False, False]  # not asked again without an event
    told.complete(1, ended(first, "ok"), 3)
    assert isinstance(told.poll(3), Invoke)


def test_pending_is_asked_again_ever_less_often_until_something_happens():
    gen = Fixed(PENDING)
    told = Told(gen)
    waits, now = [], 0
    for _ in range(8):
        action = told.poll(now)
        waits.append((action.time_ns - now) // MS)
        now = action.time_ns
    assert waits == [1, 2, 4, 8, 16, 16, 16, 16]


def test_nobody_free_waits_for_an_event_without_asking():
    told = Told(repeat({"f": "r"}), concurrency=1, with_nemesis=False)
    action = told.poll(0)
    told.interpreter.generator = Fixed(lambda ctx: pytest.fail("asked"))
    assert told.poll(1) == WaitForEvent()
    assert told.interpreter.in_flight(0) == action.op


def test_exhausted_is_done_only_when_nothing_is_in_flight():
    told = Told({"f": "r"})
    action = told.poll(0)
    assert told.poll(1) == WaitForEvent()
    assert told.interpreter.outstanding == 1
    told.complete(action.thread, ended(action, "ok"), 2)
    assert told.poll(2) == Done()


def test_sleep_and_log_occupy_a_thread_but_leave_no_trace():
    told = Told(on_threads({0}, concat(sleep(2), {"f": "r"})))
    action = told.poll(0)
    assert isinstance(action, Pseudo)
    assert (action.op.f, action.op.value) == ("sleep", 2.0)
    assert isinstance(told.poll(1), WaitUntil)
    told.complete(0, action.op, 2 * 10**9)
    assert told.poll(2 * 10**9).op.index == 0
    assert [op.f for op in told.record] == ["r"]


def test_operations_carry_the_node_of_their_thread():
    told = Told(clients(repeat({"f": "r"})), concurrency=5, nodes=("a", "b"))
    nodes = {}
    for _ in range(5):
        action = told.poll(0)
        nodes[action.thread] = action.op.node
    assert nodes == {0: "a", 1: "b", 2: "a", 3: "b", 4: "a"}
    told.complete(3, Op(process=3, type="ok", f="r"), 1)
    assert told.record[-1].node == "b"


def test_another_generator_goes_on_with_the_same_processes_and_indexes():
    told = Told(on_threads({0}, limit(1, repeat({"f": "a"}))))
    told.complete(0, ended(told.poll(0), "info"), 1)
    told.interpreter.begin(lift(on_threads({0}, {"f": "b"})))
    told.poll(2)
    assert told.types()[-1] == (2, 2, "invoke", "b")


def test_completing_what_was_never_begun_is_told():
    with pytest.raises(HarnessError, match="thread 1 completed 'r' but had nothing"):
        Told(None).complete(1, Op(process=1, type="ok", f="r"), 0)


# --- failures of generators --------------------------------------------------------------------------


def test_an_exception_names_generator_context_and_event():
    def boom(test, ctx):
        raise ValueError("no such thing")

    with pytest.raises(HarnessError) as info:
        Told(clients(boom)).poll(77)
    text = str(info.value)
    for part in (
        "op",
        "time 77 ns",
        "free threads [-1, 0, 1]",
        "ValueError: no such thing",
        "boom",
    ):
        assert part in text
    assert isinstance(info.value.__cause__, ValueError)


def test_an_exception_in_update_names_the_event_which_has_been_recorded():
    class Fails:
        def op(self, test, ctx):
            return Emit(Op(time_ns=0, process=0, type="invoke", f="w", value=3), self)

        def update(self, test, ctx, event):
            if event.type == "ok":
                raise KeyError("k")
            return self

    told = Told(Fails())
    action = told.poll(0)
    with pytest.raises(HarnessError, match=r"update at event Op\(.*type='ok', f='w', value=3"):
        told.complete(0, ended(action, "ok"), 4)
    assert [op.type for op in told.record] == ["invoke", "ok"]


@pytest.mark.parametrize(
    ("op", "problems"),
    [
        (
            Op(time_ns=0, process=1, type="invoke", f="r"),
            ["process 1 is busy, free are [-1, 0]"],
        ),
        (Op(time_ns=0, process=3, type="invoke", f="r"), ["process should be 1, was 3"]),
        (
            Op(time_ns=None, process=0, type="ok", f=None),
            [
                "type should be invoke, was 'ok'",
                "f should be a string",
                "time_ns should be an int",
            ],
        ),
        (Op(time_ns=0, process=0, type="info", f="r"), ["type should be invoke, was 'info'"]),
        (
            Op(time_ns=0, process=None, type="invoke", f="r"),
            ["process should be an integer >= -1"],
        ),
    ],
)
def test_an_unsound_operation_is_told_with_all_its_problems(op, problems):
    told = Told(on_threads({1}, {"f": "r"}))
    told.poll(0)
    told.interpreter.generator = Fixed(Emit(op, None))
    with pytest.raises(HarnessError) as info:
        told.poll(1)
    for problem in problems:
        assert problem in str(info.value)


def test_an_answer_that_is_no_answer_is_told():
    with pytest.raises(HarnessError, match=r"must give Emit\(op, next\), PENDING or None"):
        Told(Fixed({"f": "read"})).poll(0)
