"""What a foreign client sees: method names, the static placement driver, health, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import grpc.aio
import pytest

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import health_pb2 as health
from splitbrain.cluster.rpc import kvrpcpb_pb2 as kvrpcpb
from splitbrain.cluster.rpc import pdpb_pb2 as pdpb
from splitbrain.cluster.rpc.server import check_port
from splitbrain.cluster.rpc.translate import METHODS

Ask = Callable[[str, Any, Any], Coroutine[Any, Any, Any]]


def serve(
    kit: Any,
    body: Callable[[Ask, Any], Coroutine[Any, Any, None]],
    serves: Any = tuple(METHODS),
) -> None:
    """Run ``body`` against one of two raw stores whose shell finds every key absent."""

    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}", "n2": "127.0.0.1:1"}
        node = kit.toy("n1", addresses, answer=lambda _: m.RawGetReply(), serves=serves)
        async with kit.opened(node):
            await node.start()
            async with grpc.aio.insecure_channel(addresses["n1"]) as channel:

                async def ask(path: str, request: Any, response: Any) -> Any:
                    method = channel.unary_unary(
                        path,
                        request_serializer=lambda message: message.SerializeToString(),
                        response_deserializer=response.FromString,
                    )
                    return await method(request, timeout=5)

                await body(ask, node)

    asyncio.run(main())


def test_a_raw_request_reaches_the_node_and_its_answer_the_client(kit: Any) -> None:
    async def body(ask: Ask, node: Any) -> None:
        request = kvrpcpb.RawGetRequest(key=b"k", context=kvrpcpb.Context(region_id=1, term=4))
        answer = await ask("/tikvpb.Tikv/RawGet", request, kvrpcpb.RawGetResponse)
        assert answer == kvrpcpb.RawGetResponse(not_found=True)
        ((_, seen),) = node.received
        assert (seen.key, seen.context.term) == (b"k", 4)

    serve(kit, body)


def test_what_minitikv_lacks_is_told_in_the_answer(kit: Any) -> None:
    async def body(ask: Ask, node: Any) -> None:
        put = kvrpcpb.RawPutRequest(key=b"k", value=b"v", ttl=9)
        answer = await ask("/tikvpb.Tikv/RawPut", put, kvrpcpb.RawPutResponse)
        assert "ttl" in answer.error
        asked = kvrpcpb.RawGetKeyTTLRequest(key=b"k")
        answer = await ask("/tikvpb.Tikv/RawGetKeyTTL", asked, kvrpcpb.RawGetKeyTTLResponse)
        assert "time to live" in answer.error
        lock = kvrpcpb.PessimisticLockRequest(wake_up_mode=1)
        path = "/tikvpb.Tikv/KvPessimisticLock"
        answer = await ask(path, lock, kvrpcpb.PessimisticLockResponse)
        assert "past a conflict" in answer.errors[0].abort
        commit = kvrpcpb.CommitRequest(context=kvrpcpb.Context(api_version=2))
        answer = await ask("/tikvpb.Tikv/KvCommit", commit, kvrpcpb.CommitResponse)
        assert "API version 1" in answer.error.abort
        scan = kvrpcpb.RawScanRequest(cf="write")
        with pytest.raises(grpc.RpcError) as caught:
            await ask("/tikvpb.Tikv/RawScan", scan, kvrpcpb.RawScanResponse)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "column family" in caught.value.details()
        assert node.received == []

    serve(kit, body)


def test_a_request_for_another_cluster_is_refused(kit: Any) -> None:
    async def body(ask: Ask, node: Any) -> None:
        for cluster_id, refused in ((0, False), (7, False), (8, True)):
            request = kvrpcpb.RawGetRequest(context=kvrpcpb.Context(cluster_id=cluster_id))
            call = ask("/tikvpb.Tikv/RawGet", request, kvrpcpb.RawGetResponse)
            if refused:
                with pytest.raises(grpc.RpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            else:
                await call
        assert len(node.received) == 2

    serve(kit, body)


@pytest.mark.parametrize(
    "path", ["/tikvpb.Tikv/RawBatchPut", "/tikvpb.Tikv/KvGet", "/pdpb.PD/Tso", "/a.B/C"]
)
def test_other_methods_are_unimplemented(kit: Any, path: str) -> None:
    async def body(ask: Ask, _: Any) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            await ask(path, kvrpcpb.RawGetRequest(), kvrpcpb.RawGetResponse)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    serve(kit, body, (m.RawGet,))


def test_health_is_serving(kit: Any) -> None:
    async def body(ask: Ask, _: Any) -> None:
        path, request = "/grpc.health.v1.Health/Check", health.HealthCheckRequest()
        answer = await ask(path, request, health.HealthCheckResponse)
        assert answer.status == health.HealthCheckResponse.SERVING

    serve(kit, body)


def test_pd_answers_as_clients_need_it(kit: Any) -> None:
    """The points on which TiKV's own clients panic or refuse."""

    async def body(ask: Ask, _: Any) -> None:
        members = await ask(
            "/pdpb.PD/GetMembers", pdpb.GetMembersRequest(), pdpb.GetMembersResponse
        )
        assert members.header.cluster_id == 7
        assert not members.header.HasField("error")
        assert [member.name for member in members.members] == ["n1", "n2"]
        assert members.leader.name == "n1"
        assert all(
            member.client_urls[0].startswith("http://127.") for member in members.members
        )

        region = await ask(
            "/pdpb.PD/GetRegion", pdpb.GetRegionRequest(), pdpb.GetRegionResponse
        )
        assert region.header.cluster_id == 7
        assert (region.region.id, region.leader.store_id) == (1, 1)
        assert (region.region.start_key, region.region.end_key) == (b"", b"")
        assert [(peer.id, peer.store_id) for peer in region.region.peers] == [(1, 1), (2, 2)]
        assert region.region.region_epoch.conf_ver == region.region.region_epoch.version == 1

        by_id = "/pdpb.PD/GetRegionByID"
        same = await ask(by_id, pdpb.GetRegionByIDRequest(region_id=1), pdpb.GetRegionResponse)
        assert same == region
        other = await ask(by_id, pdpb.GetRegionByIDRequest(region_id=2), pdpb.GetRegionResponse)
        assert not other.HasField("region")
        assert not other.header.HasField("error")

        request = pdpb.GetStoreRequest(store_id=2)
        store = await ask("/pdpb.PD/GetStore", request, pdpb.GetStoreResponse)
        assert (store.store.id, store.store.address) == (2, "127.0.0.1:1")
        request = pdpb.GetStoreRequest(store_id=3)
        missing = await ask("/pdpb.PD/GetStore", request, pdpb.GetStoreResponse)
        assert "no store 3" in missing.header.error.message

        request = pdpb.GetAllStoresRequest()
        stores = await ask("/pdpb.PD/GetAllStores", request, pdpb.GetAllStoresResponse)
        assert [store.id for store in stores.stores] == [1, 2]
        request = pdpb.ScanRegionsRequest(limit=10)
        scan = await ask("/pdpb.PD/ScanRegions", request, pdpb.ScanRegionsResponse)
        assert [each.region.id for each in scan.regions] == [1]

    serve(kit, body)


def test_a_client_that_gives_up_leaves_nothing_behind(kit: Any) -> None:
    async def main() -> None:
        addresses = {"n1": f"127.0.0.1:{kit.find_port()}"}
        node = kit.toy("n1", addresses)  # never answers
        async with kit.opened(node):
            await node.start()
            async with grpc.aio.insecure_channel(addresses["n1"]) as channel:
                method: Any = channel.unary_unary("/tikvpb.Tikv/RawGet")
                with pytest.raises(grpc.RpcError):
                    await method(b"", timeout=0.2)
            ((sender, _),) = node.received
            await kit.wait_until(lambda: not node.transport._requests)
            node.transport.send(sender, m.RawGetReply())  # too late, and harmless

    asyncio.run(main())


def test_a_port_that_is_taken_is_told_with_the_systems_reason(kit: Any) -> None:
    async def body(_: Ask, node: Any) -> None:
        with pytest.raises(OSError, match="in use"):
            check_port(node.server._listen)

    serve(kit, body)
    with pytest.raises(ValueError, match="host:port"):
        check_port("nowhere")
