"""Structs to protobuf bytes and back are the same structs; foreign messages are read safely."""

from __future__ import annotations

import doctest
import enum
import functools
import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splitbrain.cluster import messages as m
from splitbrain.cluster.messages import key_errors, pd, pd_types, txn
from splitbrain.cluster.messages.context import ReplicaRead
from splitbrain.cluster.messages.pd_errors import ClusterMismatch, PdError, PdRegionNotFound
from splitbrain.cluster.messages.raw import RawBatchRequest
from splitbrain.cluster.messages.region import Peer, Region
from splitbrain.cluster.rpc import (
    deadlock_pb2,
    errorpb_pb2,
    fields,
    kvrpcpb_pb2,
    metapb_pb2,
    names,
    pdpb_pb2,
    tikvpb_pb2,
    translate,
)
from splitbrain.cluster.rpc.key_errors import key_error_from_wire, key_error_to_wire
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.pd_errors import decode_detail, encode_detail, status_of
from splitbrain.cluster.rpc.pd_wire import PD, TSO, with_cluster_id
from splitbrain.cluster.rpc.translate import (
    BATCHED,
    METHODS,
    Codec,
    Refused,
    answer_from_wire,
    answer_to_wire,
    request_from_wire,
    request_to_wire,
)

NODES = ("n1", "n2", "n3")
BOOK = Names(NODES, {node: f"{node}:1" for node in NODES})
ALL = (*METHODS.values(), *PD, TSO)

# -- any struct ----------------------------------------------------------------------------------

PRIMITIVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**31 - 1),
    bool: st.booleans(),
    bytes: st.binary(max_size=9),
    str: st.text(max_size=9),
    float: st.just(0.0),
    type(None): st.none(),
}


@functools.cache
def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type as the messages use them."""
    if hint in SPECIAL:
        return SPECIAL[hint]
    if hint in PRIMITIVES:
        return PRIMITIVES[hint]
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([any_of(one) for one in typing.get_args(hint)])
    if origin is tuple:
        inner = typing.get_args(hint)
        if inner[-1] is Ellipsis:
            return st.lists(any_of(inner[0]), max_size=3).map(tuple)
        return st.tuples(*(any_of(one) for one in inner))
    if issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    told = {field.name: any_of(field.type) for field in msgspec.structs.fields(hint)}
    return st.builds(hint, **told)


def without(hint: Any, **fixed: Any) -> st.SearchStrategy[Any]:
    """Values of a struct, some fields being what they are told."""
    told = {
        field.name: any_of(field.type)
        for field in msgspec.structs.fields(hint)
        if field.name not in fixed
    }
    return st.builds(hint, **told, **{name: st.just(value) for name, value in fixed.items()})


def store_meta(number: int) -> st.SearchStrategy[Any]:
    return st.builds(
        pd_types.StoreMeta,
        id=st.just(number),
        node=st.just(NODES[number - 1]),
        address=st.just("elsewhere:9"),
        state=st.sampled_from(list(pd_types.StoreState)),
        labels=any_of(tuple[tuple[str, str], ...]),
        version=st.just("9"),
    )


def epochs(regions: tuple[Any, ...]) -> m.EpochNotMatch:
    if not regions:
        return m.EpochNotMatch(0, 0)
    epoch = regions[0].epoch
    return m.EpochNotMatch(epoch.conf_version, epoch.version, regions)


SPECIAL: dict[Any, st.SearchStrategy[Any]] = {
    ReplicaRead: st.sampled_from(
        [one for one in ReplicaRead if one is not ReplicaRead.EVENTUAL]
    )
}
SPECIAL[m.NotLeader] = st.one_of(
    st.builds(m.NotLeader, region_id=PRIMITIVES[int]),
    st.builds(
        m.NotLeader,
        leader=st.sampled_from(NODES),
        region_id=PRIMITIVES[int],
        peer_id=st.integers(1, 99),
    ),
)
SPECIAL[m.EpochNotMatch] = st.lists(any_of(Region), max_size=3).map(
    lambda regions: epochs(tuple(regions))
)
SPECIAL[pd_types.StoreMeta] = st.integers(1, 3).flatmap(store_meta)


def led(placed: pd_types.PdRegion) -> pd_types.PdRegion:
    """With a leader, if there is anybody: a region without one is told with a guess."""
    leader = placed.leader or next(iter(placed.region.peers), None)
    return msgspec.structs.replace(placed, leader=leader)


SPECIAL[pd_types.PdRegion] = without(pd_types.PdRegion, down=()).map(led)


def failed(kind: Any) -> st.SearchStrategy[Any]:
    """Answers that tell a failure, and so nothing else."""
    told = {field.name: field.type for field in msgspec.structs.fields(kind)}
    ways = []
    if "region_error" in told:
        ways.append(st.builds(kind, region_error=any_of(m.RegionError)))
        if "errors" in told:
            errors = st.lists(any_of(txn.TxnError), min_size=1, max_size=3).map(tuple)
            ways.append(st.builds(kind, errors=errors))
        else:
            ways.append(st.builds(kind, error=any_of(txn.TxnError)))
    elif told["error"] == m.RegionError | None:
        ways.append(st.builds(kind, error=any_of(m.RegionError)))
    return st.one_of(ways)


def succeeded(kind: Any) -> st.SearchStrategy[Any]:
    told = {field.name for field in msgspec.structs.fields(kind)}
    nothing = {"error": None, "region_error": None, "errors": ()}
    return without(kind, **{name: none for name, none in nothing.items() if name in told})


def locked(values: list[bytes | None], told: str) -> txn.PessimisticLockReply:
    found = tuple(value is not None for value in values)
    if told == "values" and values:
        return txn.PessimisticLockReply(values=tuple(values), found=found)
    return txn.PessimisticLockReply(found=found if told == "found" else ())


def members(ids: list[int], leader: int, cluster_id: int) -> pd.GetMembersReply:
    told = tuple(pd_types.PdMember(NODES[number], number) for number in ids)
    name = NODES[leader] if leader in ids else ""
    return pd.GetMembersReply(told, name, cluster_id)


ANSWERS: dict[Any, st.SearchStrategy[Any]] = {
    txn.PessimisticLockReply: st.builds(
        locked,
        st.lists(st.none() | PRIMITIVES[bytes], max_size=3),
        st.sampled_from(["values", "found", "neither"]),
    ),
    pd.GetMembersReply: st.builds(
        members, st.lists(st.integers(0, 2), unique=True), st.integers(0, 3), PRIMITIVES[int]
    ),
    pd.GetRegionReply: st.builds(pd.GetRegionReply, any_of(pd_types.PdRegion)),
    pd.GetStoreReply: st.builds(pd.GetStoreReply, any_of(pd_types.StoreMeta)),
    pd.GetClusterInfoReply: st.just(pd.GetClusterInfoReply()),
}
# A busy machine says nothing about the wire.
calmly = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
by_kind = pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.request.kind.__name__)


def there_and_back(codec: Codec, answer: Any) -> Any:
    wire = codec.answer.to_wire(answer, BOOK)
    if codec in (*PD, TSO):
        with_cluster_id(wire, getattr(answer, "cluster_id", 1))
    return codec.answer.from_wire(codec.answer.wire.FromString(wire.SerializeToString()), BOOK)


@by_kind
@calmly
@given(st.data())
def test_requests_survive_the_wire(codec: Codec, data: st.DataObject) -> None:
    request = data.draw(any_of(codec.request.kind))
    wire = codec.request.to_wire(request, BOOK).SerializeToString()
    assert codec.request.from_wire(codec.request.wire.FromString(wire), BOOK) == request


@by_kind
@calmly
@given(st.data())
def test_answers_survive_the_wire(codec: Codec, data: st.DataObject) -> None:
    kind = codec.answer.kind
    if kind.__name__ == "GetGcStateReply":
        answer = data.draw(without(kind, error=None, barriers=()))
    else:
        answer = data.draw(ANSWERS[kind] if kind in ANSWERS else succeeded(kind))
    assert there_and_back(codec, answer) == answer


@pytest.mark.parametrize(
    "codec", METHODS.values(), ids=lambda codec: codec.request.kind.__name__
)
@calmly
@given(st.data())
def test_failures_survive_the_wire(codec: Codec, data: st.DataObject) -> None:
    answer = data.draw(failed(codec.answer.kind))
    assert there_and_back(codec, answer) == answer


@functools.cache
def any_message(wire: Any, depth: int = 2) -> st.SearchStrategy[Any]:
    """Messages of a class with every field that it has, whatever it says."""
    told: dict[str, st.SearchStrategy[Any]] = {}
    for field in wire.DESCRIPTOR.fields:
        if field.message_type is not None:
            if depth == 0 or field.message_type.GetOptions().map_entry:
                continue
            one = any_message(field.message_type._concrete_class, depth - 1)
        elif field.enum_type is not None:
            one = st.integers(0, 9)
        elif field.type == field.TYPE_BOOL:
            one = st.booleans()
        elif field.type in (field.TYPE_BYTES, field.TYPE_STRING):
            one = PRIMITIVES[bytes if field.type == field.TYPE_BYTES else str]
        else:
            one = st.integers(0, 99)
        told[field.name] = st.lists(one, max_size=2) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=told).map(lambda said: wire(**said))


@by_kind
@calmly
@given(st.data())
def test_foreign_messages_are_read_or_refused(codec: Codec, data: st.DataObject) -> None:
    """Whatever stands in them: nothing else may come of it."""
    for shape in (codec.request, codec.answer):
        wire = data.draw(any_message(shape.wire))
        try:
            assert type(shape.from_wire(wire, BOOK)) is shape.kind
        except Refused as refused:
            words = str(refused)
            assert any(word in words for word in ("minitikv", "lock", "absent", "must have"))


def test_every_request_of_ours_to_a_store_has_a_method() -> None:
    kinds = {
        *typing.get_args(m.Request),
        *typing.get_args(RawBatchRequest),
        *typing.get_args(txn.TxnRequest),
    } - {txn.ListRecords}  # goes our own way
    assert set(METHODS) == kinds
    assert set(BATCHED) == {kind.__name__ for kind in kinds} - {"RawCas"}


@pytest.mark.parametrize("kind", typing.get_args(m.RegionError))
def test_every_error_of_ours_has_its_place_in_errorpb(kind: Any) -> None:
    """No known error may come back as OtherError: a client would not know the write's fate."""
    answer = m.RawPutReply(error=kind())
    back = answer_from_wire(answer_to_wire(answer, BOOK), BOOK)
    assert type(back.error) is kind


@pytest.mark.parametrize("kind", typing.get_args(PdError))
def test_every_error_of_pd_is_told_exactly_or_by_a_status(kind: Any) -> None:
    error = kind()
    assert decode_detail(encode_detail(error)) == error
    if status_of(error) is None:
        reply = pd.GetStoreReply(error=error)
        codec = next(one for one in PD if one.answer.kind is pd.GetStoreReply)
        assert there_and_back(codec, reply) == reply


# -- golden --------------------------------------------------------------------------------------


def test_a_region_that_is_not_found_is_an_answer_without_region_and_error() -> None:
    codec = next(one for one in PD if one.request.kind is pd.GetRegion)
    reply = pd.GetRegionReply(error=PdRegionNotFound(key=b"k"))
    wire = codec.answer.to_wire(reply, BOOK)
    assert not wire.HasField("region")
    assert not wire.header.HasField("error")
    assert codec.answer.from_wire(wire, BOOK) == pd.GetRegionReply(error=PdRegionNotFound())


def test_a_region_without_a_leader_is_told_with_one_of_its_peers() -> None:
    codec = next(one for one in PD if one.request.kind is pd.GetRegion)
    peers = (Peer(4, 2), Peer(5, 3))
    reply = pd.GetRegionReply(pd_types.PdRegion(Region(1, peers=peers)))
    assert there_and_back(codec, reply).region.leader == peers[0]


def test_a_wrong_cluster_is_told_in_pds_words() -> None:
    assert status_of(ClusterMismatch(8, 7)) == (
        "FAILED_PRECONDITION",
        "mismatch cluster id, need 7 but got 8",
    )


def test_an_error_that_we_have_no_word_for_is_other() -> None:
    """As from a newer TiKV: a field of ``errorpb.Error`` that is not in our file."""
    wire = kvrpcpb_pb2.RawPutResponse.FromString(b"\x0a\x0d\x0a\x09disk full\x62\x00")
    answer = answer_from_wire(wire, BOOK)
    assert answer == m.RawPutReply(error=m.OtherError(message="disk full"))


def test_a_leader_outside_the_configuration_is_unknown() -> None:
    peer = metapb_pb2.Peer(id=9, store_id=9)
    told = errorpb_pb2.Error(not_leader=errorpb_pb2.NotLeader(region_id=1, leader=peer))
    answer = answer_from_wire(kvrpcpb_pb2.RawGetResponse(region_error=told), BOOK)
    assert answer.error == m.NotLeader(leader="")


@pytest.mark.parametrize(
    "error",
    [
        key_errors.WriteConflict(b"k", 1, 2, 3),
        key_errors.TxnLockNotFound(b"k"),
    ],
)
def test_clients_that_know_only_retryable_are_told_so(error: Any) -> None:
    wire = key_error_to_wire(error)
    assert wire.retryable == type(error).__name__
    alone = kvrpcpb_pb2.KeyError(retryable=wire.retryable)
    assert key_error_from_wire(alone) == key_errors.Abort(wire.retryable)


def test_a_transaction_is_told_that_the_cluster_is_raw_as_tikv_does() -> None:
    for reply, wire in (
        (txn.CommitReply, "error"),
        (txn.PrewriteReply, "errors"),
    ):
        answer = answer_to_wire(reply(region_error=m.MismatchMode("raw")), BOOK)
        assert not answer.HasField("region_error")
        assert "mode raw" in str(getattr(answer, wire))


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (kvrpcpb_pb2.RawPutRequest(key=b"k", ttl=5), "ttl"),
        (kvrpcpb_pb2.RawBatchPutRequest(ttls=[0, 5]), "ttl"),
        (kvrpcpb_pb2.RawCASRequest(key=b"k", ttl=5), "ttl"),
        (kvrpcpb_pb2.RawGetRequest(key=b"k", cf="write"), "column family 'write'"),
        (
            kvrpcpb_pb2.RawGetRequest(context=kvrpcpb_pb2.Context(api_version=2)),
            "API version 1",
        ),
        (
            kvrpcpb_pb2.GetRequest(context=kvrpcpb_pb2.Context(isolation_level=2)),
            "no Isolation number 2",
        ),
        (
            kvrpcpb_pb2.PrewriteRequest(mutations=[kvrpcpb_pb2.Mutation(op=3)]),
            "no MutationKind number 3",
        ),
        (kvrpcpb_pb2.PessimisticLockRequest(wake_up_mode=1), "past a conflict"),
        (
            kvrpcpb_pb2.PessimisticLockRequest(mutations=[kvrpcpb_pb2.Mutation(op=8)]),
            "locks exclusively",
        ),
        (kvrpcpb_pb2.ScanRequest(sample_step=2), "sample"),
    ],
)
def test_what_minitikv_lacks_is_refused_in_words(wire: object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        request_from_wire(wire)


def test_zero_times_to_live_are_none() -> None:
    wire = kvrpcpb_pb2.RawBatchPutRequest(
        pairs=[kvrpcpb_pb2.KvPair(key=b"k", value=b"v")], ttls=[0]
    )
    assert request_from_wire(wire) == m.RawBatchPut(
        ((b"k", b"v"),), context=m.Context(region_id=0, conf_version=0, version=0)
    )


def test_an_eventual_read_is_not_on_tikvs_wire() -> None:
    request = m.RawGet(b"k", m.Context(replica_read=ReplicaRead.EVENTUAL))
    with pytest.raises(Refused, match="eventual"):
        request_to_wire(request)


def test_field_numbers_are_tikvs() -> None:
    """Bytes laid out by hand from the published numbers, as a foreign client would send them."""
    put = kvrpcpb_pb2.RawPutRequest(key=b"k", value=b"v", for_cas=True)
    assert put.SerializeToString() == b"\x12\x01k\x1a\x01v\x30\x01"
    cas = kvrpcpb_pb2.RawCASRequest(key=b"k", previous_not_exist=True, delete=True)
    assert cas.SerializeToString() == b"\x12\x01k\x20\x01\x40\x01"
    leader = metapb_pb2.Peer(id=2, store_id=2)
    error = errorpb_pb2.Error(not_leader=errorpb_pb2.NotLeader(region_id=1, leader=leader))
    assert error.SerializeToString() == b"\x12\x08\x08\x01\x12\x04\x08\x02\x10\x02"
    peers = metapb_pb2.Region(id=1, peers=[leader])
    assert peers.SerializeToString() == b"\x08\x01\x2a\x04\x08\x02\x10\x02"
    members = pdpb_pb2.GetMembersResponse(leader=pdpb_pb2.Member(client_urls=["a"]))
    assert members.SerializeToString() == b"\x1a\x03\x22\x01a"
    wait = deadlock_pb2.WaitForEntry(txn=1, wait_for_txn=2, key=b"k")
    deadlock = kvrpcpb_pb2.KeyError(deadlock=kvrpcpb_pb2.Deadlock(wait_chain=[wait]))
    assert deadlock.SerializeToString() == b"\x32\x09\x22\x07\x08\x01\x10\x02\x22\x01k"


# Field numbers as published, "message: field=number ..."; * marks a repeated field.
PUBLISHED = """
kvrpcpb.Context: region_id=1 region_epoch=2 peer=3 term=5 isolation_level=7 replica_read=12
    resolved_locks=13* stale_read=17 is_retry_request=20 api_version=21 committed_locks=22*
    keyspace_name=31 keyspace_id=32 cluster_id=35
kvrpcpb.KeyError: locked=1 retryable=2 abort=3 conflict=4 already_exist=5 deadlock=6
    commit_ts_expired=7 txn_not_found=8 commit_ts_too_large=9 assertion_failed=10
    primary_mismatch=11 txn_lock_not_found=12
kvrpcpb.LockInfo: primary_lock=1 lock_version=2 key=3 lock_ttl=4 txn_size=5 lock_type=6
    lock_for_update_ts=7 use_async_commit=8 min_commit_ts=9 secondaries=10*
    duration_to_last_update_ms=11 shared_lock_infos=12*
kvrpcpb.PrewriteRequest: context=1 mutations=2* primary_lock=3 start_version=4 lock_ttl=5
    skip_constraint_check=6 pessimistic_actions=7* txn_size=8 for_update_ts=9 min_commit_ts=10
    use_async_commit=11 secondaries=12* try_one_pc=13 max_commit_ts=14 assertion_level=15
    for_update_ts_constraints=16*
kvrpcpb.PrewriteResponse: region_error=1 errors=2* min_commit_ts=3 one_pc_commit_ts=4
kvrpcpb.GetResponse: region_error=1 error=2 value=3 not_found=4 commit_ts=7
kvrpcpb.BatchGetResponse: region_error=1 pairs=2* error=5
kvrpcpb.CheckTxnStatusResponse: region_error=1 error=2 lock_ttl=3 commit_version=4 action=5
    lock_info=6
kvrpcpb.PessimisticLockRequest: context=1 mutations=2* primary_lock=3 start_version=4 lock_ttl=5
    for_update_ts=6 is_first_lock=7 wait_timeout=8 force=9 return_values=10 min_commit_ts=11
    check_existence=12 lock_only_if_exists=13 wake_up_mode=14
kvrpcpb.PessimisticLockResponse: region_error=1 errors=2* commit_ts=3 value=4 values=5*
    not_founds=6* results=8*
pdpb.TsoRequest: header=1 count=2 dc_location=3
pdpb.TsoResponse: header=1 count=2 timestamp=3
pdpb.GetRegionResponse: header=1 region=2 leader=3 pending_peers=6*
pdpb.ScanRegionsRequest: header=1 start_key=2 limit=3 end_key=4
pdpb.ScanRegionsResponse: header=1 region_metas=2* leaders=3* regions=4*
errorpb.Error: message=1 not_leader=2 region_not_found=3 key_not_in_region=4 epoch_not_match=5
    server_is_busy=6 stale_command=7 store_not_match=8 raft_entry_too_large=9
    max_timestamp_not_synced=10 read_index_not_ready=11 data_is_not_ready=13
    region_not_initialized=14 mismatch_peer_id=20 undetermined_result=22
tikvpb.BatchCommandsRequest.Request: Get=1 Scan=2 Prewrite=3 Commit=4 Cleanup=6 BatchGet=7
    BatchRollback=8 ScanLock=9 ResolveLock=10 GC=11 RawGet=13 RawBatchGet=14 RawPut=15
    RawBatchPut=16 RawDelete=17 RawBatchDelete=18 RawScan=19 RawDeleteRange=20 RawBatchScan=21
    PessimisticLock=23 PessimisticRollback=24 CheckTxnStatus=25 TxnHeartBeat=26
    CheckSecondaryLocks=33 Empty=255
"""
MODULES = {
    "kvrpcpb": kvrpcpb_pb2,
    "pdpb": pdpb_pb2,
    "errorpb": errorpb_pb2,
    "tikvpb": tikvpb_pb2,
}


def test_messages_have_the_published_fields() -> None:
    for entry in PUBLISHED.strip().replace("\n    ", " ").splitlines():
        path, _, told = entry.partition(": ")
        package, *rest = path.split(".")
        descriptor = MODULES[package].DESCRIPTOR.message_types_by_name[rest[0]]
        if rest[1:]:
            descriptor = descriptor.nested_types_by_name[rest[1]]
        ours = [
            f"{one.name}={one.number}{'*' if one.is_repeated else ''}"
            for one in descriptor.fields
        ]
        assert ours == told.split(), path
    element = tikvpb_pb2.BatchCommandsRequest.Request.DESCRIPTOR
    answer = tikvpb_pb2.BatchCommandsResponse.Response.DESCRIPTOR
    assert [(one.name, one.number) for one in element.fields] == [
        (one.name, one.number) for one in answer.fields
    ]


@by_kind
def test_every_method_is_in_the_proto_files_with_its_messages(codec: Codec) -> None:
    service, name = codec.path.strip("/").split("/")
    package, _, short = service.partition(".")
    method = MODULES[package].DESCRIPTOR.services_by_name[short].methods_by_name[name]
    assert method.input_type is codec.request.wire.DESCRIPTOR
    assert method.output_type is codec.answer.wire.DESCRIPTOR


def test_the_odd_names_are_tikvs() -> None:
    paths = {codec.path for codec in ALL}
    assert "/tikvpb.Tikv/KVPessimisticRollback" in paths
    assert "/tikvpb.Tikv/KvPessimisticLock" in paths
    assert "/tikvpb.Tikv/RawCompareAndSwap" in paths
    assert "/pdpb.PD/GetRegionByID" in paths
    assert "/pdpb.PD/UpdateServiceGCSafePoint" in paths


@pytest.mark.parametrize("module", [translate, names, fields])
def test_examples_in_the_docstrings_are_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
