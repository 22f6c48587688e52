"""BatchCommands: one end at a time against bytes that are laid out by hand from the numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import txn
from splitbrain.cluster.rpc import batch_service
from splitbrain.cluster.rpc.caller import GrpcCaller

PATH = "/tikvpb.Tikv/BatchCommands"
GET, RAW_GET, RAW_PUT, EMPTY = 1, 13, 15, 255
END: Any = vars(grpc.aio)["EOF"]

# -- protobuf by hand ----------------------------------------------------------------------------


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*data, number))


def chunk(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def parse(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field, number or bytes) of a message without groups and fixed numbers."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if tag & 7 == 2:
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            assert tag & 7 == 0, tag
            yield tag >> 3, value


def packed(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        one, at = read_varint(data, at)
        numbers.append(one)
    return numbers


def frame(*elements: tuple[int, bytes]) -> bytes:
    """A frame of (id, element) pairs; requests and responses look alike."""
    told = b"".join(chunk(1, element) for _, element in elements)
    return told + chunk(2, b"".join(varint(request_id) for request_id, _ in elements))


def read_frame(data: bytes) -> list[tuple[int, bytes]]:
    elements = [value for field, value in parse(data) if field == 1]
    ids = [one for field, value in parse(data) if field == 2 for one in packed(value)]
    return list(zip(ids, elements, strict=True))


def raw_get(key: bytes) -> bytes:
    return chunk(RAW_GET, chunk(2, key))


def context(cluster_id: int) -> bytes:
    return chunk(1, number(35, cluster_id))


# -- the store's end -----------------------------------------------------------------------------


class Client:
    """A stream of bytes to a store."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.frames = 0

    async def send(self, *elements: tuple[int, bytes]) -> None:
        await self.call.write(frame(*elements))

    async def take(self, count: int) -> dict[int, bytes]:
        """The next ``count`` responses by id, in the order of their coming."""
        got: dict[int, bytes] = {}
        while len(got) < count:
            data = await self.call.read()
            assert data is not END, await self.call.code()
            self.frames += 1
            for request_id, element in read_frame(data):
                assert request_id not in got
                got[request_id] = element
        return got


def serve(
    kit: Any,
    body: Callable[[Client, Any], Coroutine[Any, Any, None]],
    answer: Callable[[Any], Any],
    **more: Any,
) -> None:
    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}"}
        node = kit.toy("n1", addresses, answer=answer, **more)
        async with kit.opened(node):
            await node.start()
            async with grpc.aio.insecure_channel(addresses["n1"]) as channel:
                async with asyncio.timeout(10):
                    await body(Client(channel.stream_stream(PATH)()), node)

    asyncio.run(main())


def test_a_store_answers_by_the_numbers(kit: Any) -> None:
    async def body(client: Client, node: Any) -> None:
        pause = chunk(EMPTY, number(1, 5) + number(2, 20))
        await client.send((7, raw_get(b"k")), (9, b""), (300, pause))
        got = await client.take(3)
        assert got[7] == chunk(RAW_GET, chunk(3, b"v"))
        assert got[9] == b""
        assert got[300] == chunk(EMPTY, number(1, 5))
        ((_, seen),) = node.received
        assert seen.key == b"k"
        await client.call.done_writing()
        assert await client.call.read() is END

    serve(kit, body, lambda _: m.RawGetReply(value=b"v"))


def test_answers_come_as_they_are_ready(kit: Any) -> None:
    """The first request is answered last, and whoever came between has not waited for it."""

    async def body(client: Client, node: Any) -> None:
        await client.send((1, raw_get(b"slow")), (2, raw_get(b"b")))
        await client.send((3, raw_get(b"c")))
        assert list(await client.take(2)) == [2, 3]
        sender = next(sender for sender, seen in node.received if seen.key == b"slow")
        node.transport.send(sender, m.RawGetReply(value=b"s"))
        assert await client.take(1) == {1: chunk(RAW_GET, chunk(3, b"s"))}

    def answer(request: Any) -> Any:
        return None if request.key == b"slow" else m.RawGetReply()

    serve(kit, body, answer)


def test_many_are_answered_once_each_in_few_frames(kit: Any) -> None:
    async def body(client: Client, node: Any) -> None:
        numbers = range(1, 1001)
        for first in numbers[::250]:
            await client.send(
                *((one, raw_get(b"%d" % one)) for one in numbers[first - 1 :][:250])
            )
        got = await client.take(1000)
        for one in numbers:
            assert got[one] == chunk(RAW_GET, chunk(3, b"%d" % one))
        assert 1000 / batch_service.FRAME_ELEMENTS <= client.frames < 500

    serve(kit, body, lambda request: m.RawGetReply(value=request.key))


def test_a_wrong_cluster_ends_the_stream(kit: Any) -> None:
    async def body(client: Client, node: Any) -> None:
        right = chunk(RAW_GET, context(7) + chunk(2, b"k"))
        wrong = chunk(RAW_GET, context(8) + chunk(2, b"k"))
        await client.send((1, right))
        await client.send((2, wrong), (3, right))
        with pytest.raises(grpc.RpcError) as caught:
            await client.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "cluster 8" in caught.value.details()
        await kit.wait_until(lambda: not node.transport._requests)

    serve(kit, body, lambda _: None)


def test_ids_must_match_the_requests(kit: Any) -> None:
    async def body(client: Client, _: Any) -> None:
        await client.call.write(chunk(1, raw_get(b"k")))
        with pytest.raises(grpc.RpcError) as caught:
            await client.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    serve(kit, body, lambda _: None)


def test_what_is_not_served_is_told_in_the_answer(kit: Any) -> None:
    async def body(client: Client, node: Any) -> None:
        get = chunk(GET, chunk(2, b"k"))
        put = chunk(RAW_PUT, chunk(2, b"k") + number(5, 9))  # with a ttl
        await client.send((1, get), (2, put))
        got = await client.take(2)
        ((field, told),) = parse(got[1])
        error = dict(parse(dict(parse(told))[2]))  # GetResponse.error
        assert field == GET
        assert b"does not serve Get" in error[3]  # KeyError.abort
        ((field, told),) = parse(got[2])
        assert field == RAW_PUT
        assert b"time to live" in dict(parse(told))[2]
        assert node.received == []

    serve(kit, body, lambda _: None, serves=(m.RawPut,))


def test_a_client_that_leaves_leaves_nothing_behind(kit: Any) -> None:
    async def body(client: Client, node: Any) -> None:
        await client.send((1, raw_get(b"a")), (2, raw_get(b"b")))
        await kit.wait_until(lambda: len(node.received) == 2)
        client.call.cancel()
        await kit.wait_until(lambda: not node.transport._requests)
        node.transport.send(node.received[0][0], m.RawGetReply())  # too late, and harmless

    serve(kit, body, lambda _: None)


def test_the_oldest_unanswered_one_makes_room(kit: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(batch_service, "IN_FLIGHT", 3)

    async def body(client: Client, node: Any) -> None:
        for one in range(1, 6):
            await client.send((one, raw_get(b"%d" % one)))
            await kit.wait_until(lambda count=one: len(node.received) == count)
        await kit.wait_until(lambda: len(node.transport._requests) == 3)
        for sender, _ in node.received:
            node.transport.send(sender, m.RawGetReply())
        assert set(await client.take(3)) == {3, 4, 5}

    serve(kit, body, lambda _: None)


def test_a_client_that_does_not_read_is_not_read_from(kit: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(batch_service, "IN_FLIGHT", 4)

    async def body(client: Client, node: Any) -> None:
        for one in range(60):
            await client.send((one, raw_get(b"k")))
            await asyncio.sleep(0.005)
        assert len(node.received) < 40
        assert len(await client.take(60)) == 60

    serve(kit, body, lambda _: m.RawGetReply(value=bytes(1 << 20)))


# -- the client's end ----------------------------------------------------------------------------


class Store:
    """A server that takes frames of bytes and does with them as ``serve`` says."""

    def __init__(
        self, serve: Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]
    ) -> None:
        self._server: Any = grpc.aio.server()
        handlers = {"BatchCommands": grpc.stream_stream_rpc_method_handler(serve)}
        handler = grpc.method_handlers_generic_handler("tikvpb.Tikv", handlers)
        self._server.add_generic_rpc_handlers((handler,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"

    async def start(self) -> Store:
        await self._server.start()
        return self

    async def close(self) -> None:
        await self._server.stop(None)


def call_with(
    kit: Any,
    serve: Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]],
    body: Callable[[Callable[..., Any]], Coroutine[Any, Any, None]],
) -> None:
    async def main() -> None:
        store = Store(serve)
        caller = GrpcCaller({"n1": store.address}, ("n1",), batch=True)

        def call(request: Any, timeout_s: float = 5.0) -> Any:
            return asyncio.create_task(caller.call("n1", request, timeout_s=timeout_s))

        async with kit.opened(caller, store):
            await store.start()
            async with asyncio.timeout(10):
                await body(call)

    asyncio.run(main())


def key_of(element: bytes) -> bytes:
    ((field, told),) = parse(element)
    assert field == RAW_GET
    key: bytes = dict(parse(told))[2]
    return key


def value(data: bytes) -> bytes:
    return chunk(RAW_GET, chunk(3, data))


def test_answers_find_their_requests_in_any_order(kit: Any) -> None:
    """Backwards, in frames of one, with answers to nobody between."""

    async def store(frames: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        waiting: list[tuple[int, bytes]] = []
        async for data in frames:
            waiting += read_frame(data)
            if len(waiting) == 50:
                break
        for request_id, element in reversed(waiting):
            yield frame((request_id + 10_000, value(b"nobody's")))
            yield frame((request_id, value(key_of(element))))

    async def body(call: Any) -> None:
        calls = [call(m.RawGet(b"%d" % one)) for one in range(50)]
        answers = await asyncio.gather(*calls)
        assert [answer.value for answer in answers] == [b"%d" % one for one in range(50)]

    call_with(kit, store, body)


def test_a_stream_that_is_cut_leaves_all_in_flight_unknown(kit: Any) -> None:
    """One was answered before the cut; the next call opens a new stream."""
    streams = 0

    async def store(frames: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        nonlocal streams
        streams += 1
        waiting: list[tuple[int, bytes]] = []
        async for data in frames:
            waiting += read_frame(data)
            if streams > 1:
                yield frame(*((request_id, value(b"new")) for request_id, _ in waiting))
            elif len(waiting) == 3:
                yield frame((waiting[0][0], value(b"first")))
                await context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    async def body(call: Any) -> None:
        calls = [call(m.RawGet(b"%d" % one)) for one in range(3)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert ends.count(m.RawGetReply(value=b"first")) == 1
        lost = [end for end in ends if isinstance(end, EOFError)]
        assert len(lost) == 2
        assert "going down" in str(lost[0])
        assert await call(m.RawGet(b"k")) == m.RawGetReply(value=b"new")
        assert streams == 2

    call_with(kit, store, body)


def test_a_stream_that_ends_well_is_as_unknown(kit: Any) -> None:
    async def store(frames: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for _data in frames:
            return
        yield b""

    async def body(call: Any) -> None:
        with pytest.raises(EOFError):
            await call(m.RawPut(b"k", b"v"))

    call_with(kit, store, body)


def test_a_late_answer_finds_nobody(kit: Any) -> None:
    late: list[int] = []

    async def store(frames: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for data in frames:
            for request_id, element in read_frame(data):
                if key_of(element) == b"late":
                    late.append(request_id)
                else:
                    yield frame((late[0], value(b"late")), (request_id, value(b"now")))

    async def body(call: Any) -> None:
        with pytest.raises(TimeoutError):
            await call(m.RawGet(b"late"), 0.2)
        assert await call(m.RawGet(b"k")) == m.RawGetReply(value=b"now")

    call_with(kit, store, body)


def test_an_answer_of_another_kind_is_unknown(kit: Any) -> None:
    async def store(frames: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for data in frames:
            for request_id, _element in read_frame(data):
                yield frame((request_id, b""))

    async def body(call: Any) -> None:
        with pytest.raises(EOFError, match="RawPut"):
            await call(m.RawPut(b"k", b"v"))

    call_with(kit, store, body)


# -- both ends -----------------------------------------------------------------------------------


def test_both_ends_agree(kit: Any) -> None:
    """Also for what is never batched, and over a link that is cut under way."""
    answers = {
        m.RawCas: m.RawCasReply(succeed=True, previous=b"x"),
        txn.Commit: txn.CommitReply(commit_ts=9),
        m.RawPut: None,
        m.RawGet: m.RawGetReply(value=b"v"),
    }

    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}"}
        node = kit.toy("n1", addresses, answer=lambda request: answers[type(request)])
        proxy = kit.proxy(addresses["n1"])
        await node.start()
        await proxy.start()
        caller = GrpcCaller({"n1": proxy.address}, ("n1",), batch=True)
        async with kit.opened(caller, proxy, node), asyncio.timeout(20):
            swap = m.RawCas(b"k", None, b"v")
            commit = txn.Commit((b"k",), 1, 9)
            for request in (swap, commit, m.RawGet(b"k")):
                answer = await caller.call("n1", request, timeout_s=2)
                assert answer == answers[type(request)]
            put = asyncio.create_task(caller.call("n1", m.RawPut(b"k", b"v"), timeout_s=5))
            await kit.wait_until(lambda: len(node.received) == 4)
            await proxy.reset()
            with pytest.raises(EOFError):
                await put
            with pytest.raises((ConnectionError, EOFError)):
                await caller.call("n1", m.RawGet(b"k"), timeout_s=0.3)
            await proxy.start()
            while True:
                try:
                    await caller.call("n1", m.RawGet(b"k"), timeout_s=2)
                    return
                except (ConnectionError, EOFError):
                    await asyncio.sleep(0.05)

    asyncio.run(main())
