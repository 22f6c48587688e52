"""The placement driver over gRPC: what foreign clients need, and what our own are told beyond."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import pd
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.pd_errors import ClusterMismatch, PdBusy, PdNotLeader
from splitbrain.cluster.messages.pd_types import PdMember
from splitbrain.cluster.rpc import pdpb_pb2 as pdpb
from splitbrain.cluster.rpc.caller import GrpcCaller
from splitbrain.cluster.rpc.own_service import OWN_PATH

MEMBERS = pd.GetMembersReply((PdMember("n1", 1), PdMember("n2", 2)), "n2")
NOT_LEADER = PdNotLeader("n2")


def follower(request: Any) -> Any:
    """A member that does not lead."""
    return {
        pd.GetMembers: MEMBERS,
        pd.GetRegion: pd.GetRegionReply(error=NOT_LEADER),
        pd.AllocId: pd.AllocIdReply(error=NOT_LEADER),
        pd.Tso: pd.TsoReply(error=NOT_LEADER),
    }[type(request)]


class Oracle:
    """Counts; a request for 13 ends its leadership."""

    def __init__(self) -> None:
        self.logical = 0

    def __call__(self, request: Any) -> Any:
        if isinstance(request, pd.WatchTopology):
            return pd.WatchTopologyReply(term=request.term + 1)
        if isinstance(request, m.RawGet):
            return m.RawGetReply(value=request.context.replica_read.name.encode())
        if request.count == 13:
            return pd.TsoReply(error=PdBusy("thirteen"))
        self.logical += request.count
        return pd.TsoReply(physical=5, logical=self.logical, count=request.count)


def serve(
    kit: Any,
    answer: Callable[[Any], Any],
    body: Callable[[Any, GrpcCaller], Coroutine[Any, Any, None]],
) -> None:
    """Run ``body`` with a channel and a caller to a node that is a member of PD."""

    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}", "n2": "127.0.0.1:1"}
        node = kit.toy("n1", addresses, answer=answer, static_pd=False)
        caller = GrpcCaller(addresses, tuple(addresses))
        async with kit.opened(caller, node):
            await node.start()
            async with grpc.aio.insecure_channel(addresses["n1"]) as channel:
                async with asyncio.timeout(10):
                    await body(channel, caller)

    asyncio.run(main())


async def ask(channel: Any, name: str, request: Any, response: Any) -> Any:
    method = channel.unary_unary(f"/pdpb.PD/{name}")
    return response.FromString(await method(request.SerializeToString(), timeout=5))


def test_a_member_that_does_not_lead_answers_only_who_does(kit: Any) -> None:
    async def body(channel: Any, caller: GrpcCaller) -> None:
        members = await ask(
            channel, "GetMembers", pdpb.GetMembersRequest(), pdpb.GetMembersResponse
        )
        assert members.header.cluster_id == 7
        assert not members.header.HasField("error")
        assert members.leader.client_urls == ["http://127.0.0.1:1"]
        for name, request, response in (
            ("GetRegion", pdpb.GetRegionRequest(), pdpb.GetRegionResponse),
            ("AllocID", pdpb.AllocIDRequest(), pdpb.AllocIDResponse),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                await ask(channel, name, request, response)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        told = await caller.call("n1", pd.GetRegion(b"k"), timeout_s=2)
        assert told == pd.GetRegionReply(error=NOT_LEADER)
        told = await caller.call("n1", pd.Tso(), timeout_s=2)
        assert told == pd.TsoReply(error=NOT_LEADER)
        told = await caller.call("n1", pd.GetMembers(), timeout_s=2)
        assert told == pd.GetMembersReply(MEMBERS.members, "n2", 7)

    serve(kit, follower, body)


def test_timestamps_come_in_order_on_one_stream(kit: Any) -> None:
    """By a foreign client: one answer a request, of the same count, telling the last of them."""

    async def body(channel: Any, _: GrpcCaller) -> None:
        call = channel.stream_stream("/pdpb.PD/Tso")()
        counts = (1, 5, 64)
        for count in counts:
            header = pdpb.RequestHeader(cluster_id=7)
            await call.write(pdpb.TsoRequest(header=header, count=count).SerializeToString())
        logical = 0
        for count in counts:
            answer = pdpb.TsoResponse.FromString(await call.read())
            logical += count
            assert answer.header.cluster_id == 7
            assert not answer.header.HasField("error")
            assert (answer.count, answer.timestamp.logical) == (count, logical)
        wrong = pdpb.TsoRequest(header=pdpb.RequestHeader(cluster_id=8), count=1)
        await call.write(wrong.SerializeToString())
        with pytest.raises(grpc.RpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "mismatch cluster id, need 7 but got 8"

    serve(kit, Oracle(), body)


def test_our_client_asks_for_timestamps_at_once_and_again_after_an_error(kit: Any) -> None:
    async def body(_: Any, caller: GrpcCaller) -> None:
        asked = [caller.call("n1", pd.Tso(count), timeout_s=2) for count in (1, 2, 3)]
        answers = await asyncio.gather(*asked)
        assert [one.count for one in answers] == [1, 2, 3]
        given = [one.logical - back for one in answers for back in range(one.count)]
        assert sorted(given) == [1, 2, 3, 4, 5, 6]  # nobody was given another's
        told = await caller.call("n1", pd.Tso(13), timeout_s=2)
        assert told == pd.TsoReply(error=PdBusy("thirteen"))
        assert (await caller.call("n1", pd.Tso(4), timeout_s=2)).logical == 10
        told = await caller.call("n1", pd.Tso(1, cluster_id=8), timeout_s=2)
        assert told == pd.TsoReply(error=ClusterMismatch(8, 7))

    serve(kit, Oracle(), body)


def test_what_is_not_in_tikvs_protocol_goes_in_our_own_way(kit: Any) -> None:
    async def body(channel: Any, caller: GrpcCaller) -> None:
        told = await caller.call("n1", pd.WatchTopology(term=4), timeout_s=2)
        assert told == pd.WatchTopologyReply(term=5)
        for how in ReplicaRead:
            read = m.RawGet(b"k", m.Context(replica_read=how))
            assert (await caller.call("n1", read, timeout_s=2)).value == how.name.encode()
        method = channel.unary_unary(OWN_PATH)
        for data, code in (
            (b"nonsense", grpc.StatusCode.INVALID_ARGUMENT),
            (m.encode(m.RaftBatch(())), grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                await method(data, timeout=2)
            assert caught.value.code() is code

    serve(kit, Oracle(), body)
