"""The driver on a toy world: phases, outcomes, faults, crashes, interruption, failures."""

import asyncio
import itertools

import msgspec
import pytest

from splitbrain.contracts.generator import PENDING, Emit
from splitbrain.contracts.spec import ScheduledFault
from splitbrain.errors import CannotError, Definite, HarnessError, NodeFailed, Undetermined
from splitbrain.harness.generator import cycle, delay, each_thread, repeat
from splitbrain.history.op import NEMESIS

SECOND = 10**9


def check_well_formed(ops):
    """Dense indexes, times that never go back, one operation at a time per process."""
    assert [op.index for op in ops] == list(range(len(ops)))
    assert all(a.time_ns <= b.time_ns for a, b in itertools.pairwise(ops))
    busy, gone = set(), set()
    for op in ops:
        if op.process == NEMESIS:
            continue
        assert op.process not in gone
        if op.type == "invoke":
            assert op.process not in busy
            busy.add(op.process)
        else:
            busy.remove(op.process)
            if op.type == "info":
                gone.add(op.process)
    assert not busy


def test_a_quiet_run_from_beginning_to_end(toy):
    run = toy()
    outcome = run.run()
    ops = run.recorder.ops
    check_well_formed(ops)
    assert outcome.status == "finished"
    assert outcome.ops == len(run.ops(type="invoke"))
    assert [op.value["phase"] for op in run.ops(f="phase")] == ["main", "heal", "final", "end"]
    marks = run.phases()
    assert marks["main"].time_ns == pytest.approx(0.5 * SECOND, abs=1e6)  # the system's boot
    assert marks["heal"].time_ns == pytest.approx(4.5 * SECOND, abs=5e7)
    main = [op for op in run.ops(type="invoke") if op.time_ns < marks["heal"].time_ns]
    assert 150 < len(main) < 250  # 50 a second for 4 seconds
    assert {op.type for op in ops if op.process >= 0} == {"invoke", "ok"}
    assert run.ops(f="probes")[0].value == {"some-bug": 7}
    assert run.testbed.closed
    assert run.system.stopped
    assert run.closed_sessions == 3
    assert run.recorder.flushed == len(ops)


def test_workers_are_bound_to_nodes_in_turn(toy):
    run = toy(concurrency=5)
    run.run()
    assert run.opened == ["n1", "n2", "n3", "n1", "n2"]
    for op in run.ops(type="invoke"):
        assert op.node == ("n1", "n2", "n3")[op.process % 5 % 3]
    assert {op.node for op in run.ops(type="ok")} == {"n1", "n2", "n3"}


def test_the_final_phase_lasts_until_each_worker_has_had_an_ok(toy):
    run = toy(concurrency=6)
    run.run()
    since = run.phases()["final"].time_ns
    final = [op for op in run.ops(type="ok") if op.time_ns >= since]
    assert {op.process % 6 for op in final} == set(range(6))
    # It ends with the last one: that worker's only success is the last event of a client.
    last = final[-1]
    assert [op for op in final if op.process == last.process] == [last]


def test_the_final_phase_gives_up_after_recovery_seconds(toy):
    run = toy(options={"recovery-seconds": 5})

    def never(world):
        raise Definite("no-leader")

    def from_now_on(world):
        world.answers.update(read=never, write=never)

    run.run(beside={3.0: from_now_on})
    marks = run.phases()
    lasted = marks["end"].time_ns - marks["final"].time_ns
    assert lasted == pytest.approx(5 * SECOND, abs=SECOND)
    assert not [op for op in run.ops(type="ok") if op.time_ns > marks["final"].time_ns]


def test_distinct_values_go_on_in_the_final_phase(toy):
    class Counting(msgspec.Struct, frozen=True):
        """A pure generator of distinct values: begun again it would repeat them."""

        number: int = 0

        def op(self, test, ctx):
            process = ctx.some_free_process()
            if process is None:
                return PENDING
            from splitbrain.history.op import Op

            op = Op(
                time_ns=ctx.time_ns, process=process, type="invoke", f="write", key="x",
                value=self.number,
            )  # fmt: skip
            return Emit(op, Counting(self.number + 1))

        def update(self, test, ctx, event):
            return self

    run = toy()
    run.workload = msgspec.structs.replace(run.workload, generator=Counting())
    run.run()
    written = [op.value for op in run.ops(type="invoke", f="write")]
    assert written == list(range(len(written)))


def test_the_final_generator_listens_to_the_main_phase_and_runs_to_its_end(toy):
    class ReadSeen(msgspec.Struct, frozen=True):
        """One read for each value that was seen written."""

        values: frozenset = frozenset()
        left: int | None = None

        def op(self, test, ctx):
            from splitbrain.harness.generator import lift

            left = len(self.values) if self.left is None else self.left
            if not left:
                return None
            offer = lift({"f": "read", "key": "last", "value": None}).op(test, ctx)
            if not isinstance(offer, Emit):
                return offer
            return Emit(offer.op, ReadSeen(self.values, left - 1))

        def update(self, test, ctx, event):
            if event.f == "write":
                return ReadSeen(self.values | {event.value}, self.left)
            return self

    run = toy(final=ReadSeen())
    run.run()
    distinct = {op.value for op in run.ops(type="invoke", f="write")}
    assert len(run.ops(type="invoke", key="last")) == len(distinct) > 20


def test_a_finite_workload_ends_the_main_phase_early_and_recovers_all_the_same(toy):
    run = toy(final=each_thread({"f": "read", "key": "y"}), rate_hz=0.0)
    run.workload = msgspec.structs.replace(
        run.workload, generator=[{"f": "write", "key": "x", "value": n} for n in range(9)]
    )
    run.run()
    marks = run.phases()
    assert marks["heal"].time_ns - marks["main"].time_ns < SECOND
    assert [op.value for op in run.ops(type="invoke", f="write")] == list(range(9))
    assert {op.process for op in run.ops(type="ok", key="y")} == {0, 1, 2}


# --- outcomes of operations -----------------------------------------------------------------------


def test_definite_refusals_fail_with_code_detail_and_what_was_observed(toy):
    run = toy()
    run.workload = msgspec.structs.replace(
        run.workload, generator=repeat({"f": "cas", "key": "k", "value": [1, 2]})
    )
    run.answers["cas"] = lambda world: world.data.setdefault("k", 9)
    run.run()
    failed = run.ops(type="fail")
    assert len(failed) > 100
    assert {(op.error, op.ext["observed"], op.process) for op in failed} <= {
        ("cas-mismatch", 9, process) for process in range(3)
    }


def test_a_mismatch_that_saw_nothing_still_says_that_it_saw_nothing(toy):
    run = toy()
    run.workload = msgspec.structs.replace(
        run.workload, generator=repeat({"f": "cas", "key": "k", "value": [1, 2]})
    )
    run.run()
    assert {str(op.ext) for op in run.ops(type="fail")} == {"{'observed': None}"}


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ConnectionResetError("peer\nis gone"), "ConnectionResetError: peer is gone"),
        (Undetermined("timeout", "no answer in 2 s"), "timeout: no answer in 2 s"),
        (asyncio.CancelledError("channel closed"), "CancelledError: channel closed"),
    ],
)
def test_anything_else_is_info_and_the_worker_goes_on_as_a_new_process(toy, raised, error):
    run = toy()

    def fails(world):
        raise raised

    run.answers["write"] = fails
    run.run()
    check_well_formed(run.recorder.ops)
    infos = [op for op in run.ops(type="info") if op.process >= 0]
    assert len(infos) > 20
    assert {op.error for op in infos} == {error}
    # Processes of a thread: t, t + 3, t + 6 ..., each ended by an info but the last.
    for thread in range(3):
        lives = sorted(
            {op.process for op in run.ops(type="invoke") if op.process % 3 == thread}
        )
        assert lives == list(range(thread, lives[-1] + 1, 3))
    # The client was closed and opened anew for each operation that followed an info.
    assert len(run.opened) == run.closed_sessions > 20


def test_a_client_that_cannot_be_opened_fails_without_having_acted(toy):
    run = toy()
    run.refuse_open["n2"] = ConnectionRefusedError("port 1")
    run.run()
    check_well_formed(run.recorder.ops)
    mine = [op for op in run.ops(node="n2") if op.type != "invoke"]
    assert {(op.type, op.error, op.process) for op in mine} == {
        ("fail", "no-client: ConnectionRefusedError: port 1", 1)
    }


def test_an_operation_that_never_ends_is_ended_by_the_harness_as_info(toy):
    run = toy(time_limit_s=30.0, options={"op-timeout": 1.0})

    async def pause(world):
        await world.testbed.node("n1").pause()

    run.run(beside={2.0: lambda world: asyncio.ensure_future(pause(world))})
    check_well_formed(run.recorder.ops)
    late = [op for op in run.ops(type="info", node="n1") if op.error.startswith("timeout:")]
    assert len(late) >= 2
    for op in late:
        begun = next(
            o for o in run.ops(type="invoke", process=op.process) if o.index < op.index
        )
        began = [o for o in run.ops(process=op.process) if o.type == "invoke"][-1]
        assert began.time_ns + 8 * SECOND <= op.time_ns <= began.time_ns + 8.3 * SECOND
        assert begun.process == op.process


def test_completions_are_handled_before_new_invocations(toy, toys):
    """Nothing is invoked while a client has answered and its completion is not yet recorded."""
    answered, checked = set(), []

    class Noting(toys.ToyClient):
        async def open(self, node):
            return Noting(self.open_kv, await self.open_kv(node))

        async def invoke(self, op):
            answer = await super().invoke(op)
            answered.add(op.process)
            return answer

    run = toy(rate_hz=0.0, time_limit_s=0.5)
    record = run.recorder.op

    def noted(op):
        if op.type == "invoke":
            assert not answered
            checked.append(op)
        else:
            answered.discard(op.process)
        record(op)

    run.recorder.op = noted
    run.workload = msgspec.structs.replace(run.workload, client=Noting)
    run.run()
    check_well_formed(run.recorder.ops)
    assert len(checked) > 200


# --- faults ------------------------------------------------------------------------------------


def test_a_directed_schedule_is_carried_out_at_its_times_and_healed(toy):
    schedule = (
        ScheduledFault(time_ns=2 * SECOND, f="start-kill", targets=("n1",), id="k"),
        ScheduledFault(time_ns=1 * SECOND, f="start-pause", targets=("n2",), id="p"),
        ScheduledFault(time_ns=1_500_000_000, f="stop-pause", targets=("n2",), id="p"),
        ScheduledFault(time_ns=3 * SECOND, f="start-jump", id="j", parameters={"ms": 4}),
    )
    run = toy(schedule=schedule)
    run.run()
    check_well_formed(run.recorder.ops)
    acts = [op for op in run.ops(process=NEMESIS) if op.value and "id" in op.value]
    begun = [op for op in acts if "proof" not in op.value]
    assert [(op.f, op.value["id"]) for op in begun] == [
        ("start-pause", "p"), ("stop-pause", "p"), ("start-kill", "k"), ("start-jump", "j"),
        ("stop-kill", "k"),
    ]  # fmt: skip
    assert [op.time_ns for op in begun[:4]] == pytest.approx(
        [1 * SECOND, 1.5 * SECOND, 2 * SECOND, 3 * SECOND], abs=2_000
    )
    assert {op.type for op in acts} == {"info"}
    assert len(acts) == 2 * len(begun)
    assert run.phases()["heal"].index < begun[4].index < run.phases()["final"].index
    # What was invoked is what a schedule file needs to do it again.
    assert run.recorder.faults[0] == ScheduledFault(
        time_ns=begun[0].time_ns, f="start-pause", targets=("n2",), id="p"
    )
    assert run.recorder.faults[3].parameters == {"ms": 4}
    assert [fault.f for fault in run.recorder.faults][-1] == "stop-kill"
    assert run.testbed.node("n1").status == "running"
    assert run.testbed.net.healed == 1


def test_a_schedule_that_no_nemesis_understands_is_refused_by_name(toy):
    run = toy(schedule=(ScheduledFault(time_ns=1, f="start-flood"),))
    with pytest.raises(HarnessError, match=r"start-flood.*known: start-jump"):
        run.run()
    assert run.testbed.closed


def test_random_faults_beside_the_clients_stop_at_the_time_limit(toy):
    value = {"id": "a", "fault": "kill", "targets": ["n1"]}
    faults = delay(
        0.5, cycle([{"f": "start-kill", "value": value}, {"f": "stop-kill", "value": value}])
    )
    run = toy(faults=faults, rate_hz=0.0)
    run.heals = [{"f": "stop-kill", "value": value}]
    run.run()
    check_well_formed(run.recorder.ops)
    starts = [op for op in run.ops(f="start-kill") if "proof" not in op.value]
    stops = [op for op in run.ops(f="stop-kill") if "proof" not in op.value]
    assert len(starts) == 4  # at 0.5, 1.5, 2.5, 3.5 s of the run, though clients are always due
    assert len(stops) == 5  # and once more by the final generator
    assert stops[-1].index > run.phases()["heal"].index
    assert {op.error for op in run.ops(type="fail")} == {"refused: n1 is killed"}


def test_a_nemesis_that_raises_is_recorded_and_the_run_goes_on(toy):
    run = toy(schedule=(ScheduledFault(time_ns=SECOND, f="start-kill", targets=("n9",)),))
    assert run.run().status == "finished"
    ended = [op for op in run.ops(f="start-kill") if op.error]
    assert [op.error for op in ended] == ["KeyError: 'n9'"]


def test_a_crash_is_recorded_once_and_the_node_comes_back_at_the_end(toy):
    run = toy()
    run.run(beside={2.0: lambda world: world.testbed.crash("n2")})
    crashes = run.ops(f="node-crash")
    assert [(op.node, op.type, op.process) for op in crashes] == [("n2", "info", NEMESIS)]
    assert crashes[0].value == {
        "reason": "exit code 3", "log": ["last words"], "incarnation": 1,
    }  # fmt: skip
    assert 2 * SECOND <= crashes[0].time_ns <= 2.3 * SECOND
    after = [op for op in run.ops(type="ok", node="n1") if op.index > crashes[0].index]
    assert len(after) > 20  # the run went on
    assert run.testbed.node("n2").log == ["restart"]
    final = run.phases()["final"]
    assert [op for op in run.ops(type="ok", node="n2") if op.index > final.index]


@pytest.mark.parametrize(("status", "crashed"), [("exited", ["n3"]), ("killed", [])])
def test_a_node_that_does_not_start_again_is_a_crash_only_if_it_ended_by_itself(
    toy, status, crashed
):
    run = toy(options={"recovery-seconds": 2})

    def kill(world):
        node = world.testbed.node("n3")
        node.status = "killed"
        node.restart_fails = status

    run.run(beside={2.0: kill})
    assert [op.node for op in run.ops(f="node-crash")] == crashed
    said = [event["text"] for event in run.recorder.events]
    assert bool(said) is not bool(crashed)


# --- interruption and failures ---------------------------------------------------------------------


def test_an_interrupted_run_heals_closes_and_says_so(toy):
    schedule = (ScheduledFault(time_ns=SECOND, f="start-kill", targets=("n1",), id="k"),)
    run = toy(time_limit_s=1000.0, schedule=schedule, final=repeat({"f": "read"}))
    outcome = run.run(stop_at=3.0)
    assert outcome.status == "interrupted"
    assert outcome.seconds < 8
    check_well_formed(run.recorder.ops)
    assert run.recorder.ops[-1].value == {"phase": "end", "interrupted": True}
    assert run.testbed.node("n1").status == "running"
    assert run.testbed.closed
    assert run.recorder.flushed == len(run.recorder.ops)


def test_an_interruption_does_not_wait_for_operations_that_hang(toy):
    schedule = (ScheduledFault(time_ns=SECOND, f="start-pause", targets=("n1", "n2"), id="p"),)
    run = toy(time_limit_s=1000.0, schedule=schedule, options={"op-timeout": 100})
    outcome = run.run(stop_at=3.0)
    assert outcome.status == "interrupted"
    assert outcome.seconds < 12
    check_well_formed(run.recorder.ops)
    hung = [op for op in run.ops(type="info") if op.process >= 0]
    assert {op.error for op in hung} == {"interrupted: the test was ended"}
    assert {op.node for op in hung} == {"n1", "n2"}


def test_an_interruption_before_the_system_serves_ends_at_once(toy):
    run = toy()
    run.boot_s = 50.0
    outcome = run.run(stop_at=1.0)
    assert outcome.status == "interrupted"
    assert outcome.seconds < 2
    assert run.testbed.closed


def test_cancelling_heals_and_closes(toy):
    schedule = (ScheduledFault(time_ns=SECOND, f="start-pause", targets=("n1",), id="p"),)
    run = toy(time_limit_s=1000.0, schedule=schedule)
    with pytest.raises(asyncio.CancelledError):
        run.run(cancel_at=3.0)
    assert run.nemesis.healed == 1
    assert run.testbed.node("n1").status == "running"
    assert run.testbed.closed
    assert run.recorder.ops[-1].value["phase"] == "end"
    assert "CancelledError" in run.recorder.ops[-1].value["error"]


def test_a_generator_that_raises_keeps_the_history_and_heals(toy):
    schedule = (ScheduledFault(time_ns=SECOND, f="start-pause", targets=("n1",), id="p"),)
    run = toy(schedule=schedule)
    count = itertools.count()

    def generator():
        if next(count) == 70:
            raise ZeroDivisionError("oops")
        return {"f": "read", "key": "x"}

    run.workload = msgspec.structs.replace(run.workload, generator=generator)
    with pytest.raises(HarnessError, match="ZeroDivisionError: oops") as info:
        run.run()
    assert "\n" not in str(info.value)
    assert "Campaign" in str(info.value)
    assert len(run.ops(type="invoke")) > 30
    assert run.recorder.ops[-1].value["phase"] == "end"
    assert run.recorder.flushed == len(run.recorder.ops)
    assert run.testbed.node("n1").status == "running"
    assert run.testbed.closed
    assert run.system.stopped


def test_a_client_that_breaks_its_contract_ends_the_test_with_all_problems(toy, toys):
    class Wrong(toys.ToyClient):
        async def open(self, node):
            return Wrong(self.open_kv, await self.open_kv(node))

        async def invoke(self, op):
            return msgspec.structs.replace(op, process=op.process + 1, type="done", f="other")

    run = toy()
    run.workload = msgspec.structs.replace(run.workload, client=Wrong)
    with pytest.raises(HarnessError) as info:
        run.run()
    for problem in (
        "process should stay",
        "f should stay",
        "type should be ok or fail or info",
    ):
        assert problem in str(info.value)
    assert run.testbed.closed


def test_a_value_that_is_not_json_is_told(toy):
    run = toy()

    def op(op):
        msgspec.json.encode(op)
        type(run.recorder).op(run.recorder, op)

    run.recorder.op = op
    run.workload = msgspec.structs.replace(
        run.workload, generator=repeat({"f": "write", "key": "x", "value": object()})
    )
    with pytest.raises(HarnessError, match="cannot be written as JSON"):
        run.run()
    assert [op.index for op in run.recorder.ops] == list(range(len(run.recorder.ops)))
    assert run.testbed.closed


def test_a_system_that_does_not_come_up_is_not_the_harness_s_fault(toy):
    run = toy(options={"ready-seconds": 5})
    run.boot_s = 50.0
    with pytest.raises(CannotError, match="does not serve after 5 s"):
        run.run()
    assert run.testbed.closed
    run = toy(options={"ready-seconds": 5})
    run.boot_s = 50.0
    with pytest.raises(NodeFailed, match="node n2: ended before it was ready: exit code 3"):
        run.run(beside={1.0: lambda world: world.testbed.crash("n2")})


def test_time_that_stands_still_is_told_instead_of_hanging(toy, toys, monkeypatch):
    monkeypatch.setattr("splitbrain.harness.play._STILL_LIMIT", 2_000)

    class Instant(toys.ToyClient):
        async def open(self, node):
            return Instant(self.open_kv, await self.open_kv(node))

        async def invoke(self, op):
            return msgspec.structs.replace(op, type="ok")

    run = toy(rate_hz=0.0)
    run.workload = msgspec.structs.replace(run.workload, client=Instant)
    with pytest.raises(HarnessError, match="time stands still"):
        run.run()


# --- and besides -------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_histories(toy):
    first, second, other = toy(seed=5), toy(seed=5), toy(seed=6)
    for run in (first, second, other):
        run.run()
    assert first.recorder.ops == second.recorder.ops
    assert first.recorder.ops != other.recorder.ops


def test_progress_is_told(toy):
    run = toy(
        schedule=(ScheduledFault(time_ns=SECOND, f="start-kill", targets=("n1",), id="k"),)
    )
    run.run()
    assert len(run.progress) > 15
    assert {state.phase for state in run.progress} >= {"main"}
    assert run.progress[-1].ok > 100
    assert any(state.faults == ("kill",) for state in run.progress)


def test_on_a_real_loop(toy):
    run = toy(time_limit_s=0.5, rate_hz=200.0)
    run.boot_s = 0.0
    assert run.run(loop=asyncio.new_event_loop).status == "finished"
    check_well_formed(run.recorder.ops)
    marks = run.phases()
    main = [op for op in run.ops(type="invoke") if op.time_ns < marks["heal"].time_ns]
    assert 40 < len(main) < 140


def test_on_the_simulated_loop(toy, toys):
    """The same driver on the simulator's own loop: faults, a crash, an interruption."""
    schedule = (
        ScheduledFault(time_ns=SECOND, f="start-pause", targets=("n1",), id="p"),
        ScheduledFault(time_ns=2 * SECOND, f="start-kill", targets=("n2",), id="k"),
    )
    histories = []
    for _ in range(2):
        run = toy(schedule=schedule, options={"op-timeout": 0.5}, seed=3)
        outcome = run.run(
            loop=toys.SimLoop, beside={1.5: lambda world: world.testbed.crash("n3")}
        )
        assert outcome.status == "finished"
        histories.append(run.recorder.ops)
    check_well_formed(histories[0])
    assert histories[0] == histories[1]
    assert [op.node for op in run.ops(f="node-crash")] == ["n3"]
    begun = [op for op in run.ops(process=NEMESIS) if op.f.startswith("start")][::2]
    assert [op.time_ns for op in begun] == [SECOND, 2 * SECOND]
    final = run.phases()["final"].index
    assert {op.process % 3 for op in run.ops(type="ok") if op.index > final} == {0, 1, 2}

    cut_short = toy(schedule=schedule, time_limit_s=1000.0)
    assert cut_short.run(loop=toys.SimLoop, stop_at=3.0).status == "interrupted"
    assert cut_short.recorder.ops[-1].value == {"phase": "end", "interrupted": True}
