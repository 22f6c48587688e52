"""The loop of virtual time: what asyncio code may expect of it, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.errors import HarnessError
from splitbrain.substrates.sim.loop import Deadlock, SimLoop


def test_time_jumps_and_nothing_sleeps() -> None:
    async def main() -> float:
        await asyncio.sleep(7 * 24 * 3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert SimLoop().run(main) == 7 * 24 * 3600
    assert time.monotonic() - began < 5


@given(st.lists(st.floats(0.0, 1e6), max_size=30))
def test_a_timer_never_fires_early_and_in_order_of_time(delays: list[float]) -> None:
    loop, fired = SimLoop(), []
    for number, delay in enumerate(delays):
        loop.call_at(delay, lambda n=number: fired.append((n, loop.time(), loop.now_ns)))
    with pytest.raises(Deadlock):
        loop.run_forever()
    assert sorted(n for n, _, _ in fired) == list(range(len(delays)))
    assert all(now >= delays[n] and now_ns <= delays[n] * 1e9 + 1 for n, now, now_ns in fired)
    assert fired == sorted(fired, key=lambda each: (each[2], each[0]))


def test_waiting_until_a_float_time_ends() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.1 + 0.2
        while loop.time() < until:  # noqa: ASYNC110 - the float arithmetic is what is tested
            await asyncio.sleep(until - loop.time())

    SimLoop().run(main)


def test_simultaneous_events_run_in_the_order_of_asking() -> None:
    loop, order = SimLoop(), []
    loop.post_ns(10, order.append, "posted")
    loop.call_later(10e-9, order.append, "called")
    loop.schedule_ns(10, lambda: loop.call_soon(order.append, "soon"))
    loop.post_ns(10, order.append, "posted later")
    with pytest.raises(Deadlock):
        loop.run_forever()
    assert order == ["posted", "called", "posted later", "soon"]


def test_a_shuffle_permutes_simultaneous_events_but_not_one_lane() -> None:
    def order(seed: int) -> list[tuple[str, int]]:
        loop, seen = SimLoop(shuffle=random.Random(seed)), []
        lanes = {name: [name] for name in "abc"}
        for number in range(4):
            for name in "abc":
                loop.post_ns(
                    5, lambda it: seen.append((it[0][0], it[1])), (lanes[name], number)
                )
        with pytest.raises(Deadlock):
            loop.run_forever()
        return seen

    orders = [order(seed) for seed in range(5)]
    assert order(3) == orders[3]
    assert len({tuple(each) for each in orders}) == 5
    for each in orders:
        for name in "abc":
            assert [number for lane, number in each if lane == name] == [0, 1, 2, 3]


def test_a_cancelled_timer_neither_runs_nor_moves_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        late = loop.call_later(100, pytest.fail, "ran")
        cheap = loop.schedule_ns(50 * 10**9, lambda: pytest.fail("ran"))
        late.cancel()
        cheap.cancel()
        assert late.cancelled()
        await asyncio.sleep(1)
        return loop.time()

    loop = SimLoop()
    assert loop.run(main) == 1.0
    assert loop.now_ns == 10**9

    loop = SimLoop()
    loop.call_later(5, pytest.fail, "ran").cancel()
    with pytest.raises(Deadlock):
        loop.run_forever()
    assert loop.now_ns == 0


def test_wait_for_timeout_queue_event_gather_and_groups() -> None:
    async def main() -> list[object]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        ready = asyncio.Event()
        told: list[object] = []

        async def worker(number: int) -> None:
            await ready.wait()
            await asyncio.sleep(number)
            await queue.put(number)

        async with asyncio.TaskGroup() as group:
            for number in (3, 1, 2):
                group.create_task(worker(number))
            ready.set()
            told += [await queue.get() for _ in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.Event().wait()
        told.append(asyncio.get_running_loop().time())
        told += await asyncio.gather(asyncio.sleep(2, "a"), asyncio.sleep(1, "b"))
        return told

    assert SimLoop().run(main) == [1, 2, 3, 10.0, "a", "b"]


def test_a_deadlock_is_told_at_once_with_who_waits_where() -> None:
    cleaned: list[str] = []

    async def stuck_worker() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("worker")

    async def main() -> None:
        task = asyncio.create_task(stuck_worker(), name="worker-9")
        await asyncio.sleep(1)
        await task

    with pytest.raises(Deadlock) as told:
        SimLoop().run(main)
    assert "nothing is ready" in str(told.value)
    assert "worker-9 in wait (locks.py:" in str(told.value)
    assert "\n" not in str(told.value)
    assert cleaned == ["worker"]


def test_the_horizon_ends_what_ticks_for_ever() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def tick(_: object) -> None:
            loop.post_ns(loop.now_ns + 10**9, tick, None)

        tick(None)
        await loop.create_future()

    with pytest.raises(Deadlock, match="not done after 60 virtual seconds"):
        SimLoop(horizon_ns=60 * 10**9).run(main)


def test_an_instant_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitbrain.substrates.sim.loop._INSTANT_MAX", 10_000)

    async def main() -> None:
        for _ in range(9_000):
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        while True:  # noqa: ASYNC110 - the mistake that is tested
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match=r"10,000 callbacks at one instant.*task-1 in "):
        SimLoop().run(main)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda loop: asyncio.to_thread(print), "executor"),
        (lambda loop: asyncio.create_subprocess_exec("true"), "subprocess"),
        (lambda loop: asyncio.open_connection("127.0.0.1", 1), "socket"),
        (lambda loop: loop.getaddrinfo("localhost", 1), "socket"),
        (lambda loop: loop.add_signal_handler(15, print), "signal"),
        (lambda loop: loop.add_reader(0, print), "file descriptor"),
    ],
)
def test_the_world_outside_is_refused(act, what) -> None:  # type: ignore[no-untyped-def]
    async def main() -> None:
        await act(asyncio.get_running_loop())

    with pytest.raises(HarnessError, match=f"simulation: .*{what}.*--on local|signal.signal"):
        SimLoop().run(main)


def test_another_thread_is_refused() -> None:
    loop, errors = SimLoop(), []

    def meddle() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except HarnessError as error:
            errors.append(str(error))

    async def main() -> None:
        thread = threading.Thread(target=meddle)
        thread.start()
        thread.join()

    loop.run(main)
    assert "another thread" in errors[0]


def test_what_is_left_is_cancelled_in_order_and_generators_are_closed() -> None:
    order: list[str] = []

    async def linger(name: str) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            order.append(name)

    async def numbers():  # type: ignore[no-untyped-def]
        try:
            yield 1
        finally:
            order.append("generator")

    async def main() -> str:
        tasks = [asyncio.create_task(linger(name)) for name in "abc"]
        async for _ in numbers():
            break
        await asyncio.sleep(0)
        assert len(tasks) == 3
        return "done"

    was = gc.isenabled()
    loop = SimLoop()
    assert loop.run(main) == "done"
    assert sorted(order) == ["a", "b", "c", "generator"]
    assert [name for name in order if len(name) == 1] == ["a", "b", "c"]
    assert loop.is_closed()
    assert gc.isenabled() == was


def test_exceptions_of_main_of_tasks_and_of_callbacks() -> None:
    async def fails() -> None:
        await asyncio.sleep(1)
        raise KeyError("main")

    with pytest.raises(KeyError, match="main"):
        SimLoop().run(fails)

    heard: list[dict[str, object]] = []

    async def main() -> str:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: heard.append(context))
        loop.call_soon(lambda: 1 / 0)
        with pytest.raises(KeyError):
            await asyncio.create_task(fails())
        return "went on"

    assert SimLoop().run(main) == "went on"
    assert isinstance(heard[0]["exception"], ZeroDivisionError)


def test_the_order_of_a_set_of_tasks_is_that_of_their_numbers() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                order.append(number)
                raise

        async def fail() -> None:
            await asyncio.sleep(1)
            raise ValueError

        junk = [object() for _ in range(random.Random(1).randrange(1000))]
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    junk.append(object())
                    group.create_task(wait(number))
                group.create_task(fail())
        return order

    assert SimLoop().run(main) == list(range(50))


def test_a_loop_runs_once_and_not_inside_another() -> None:
    async def main() -> None:
        with pytest.raises(HarnessError, match="another event loop"):
            SimLoop().run_forever()

    loop = SimLoop()
    loop.run(main)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()
