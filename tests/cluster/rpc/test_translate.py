"""Structs to protobuf bytes and back are the same structs; foreign messages are read safely."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster import messages as m
from splitbrain.cluster.rpc import (
    errorpb_pb2,
    errors,
    kvrpcpb_pb2,
    metapb_pb2,
    names,
    pdpb_pb2,
    translate,
)
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.translate import (
    METHODS,
    Refused,
    answer_from_wire,
    answer_to_wire,
    request_from_wire,
    request_to_wire,
)

NODES = ("n1", "n2", "n3")
BOOK = Names(NODES)

keys = st.binary(max_size=20)
values = st.binary(max_size=20)
numbers = st.integers(0, 2**64 - 1)
texts = st.text(max_size=20)

contexts = st.builds(
    m.Context,
    region_id=numbers,
    conf_version=numbers,
    version=numbers,
    store_id=numbers,
    peer_id=numbers,
    term=numbers,
)
requests = st.one_of(
    st.builds(m.RawGet, key=keys, context=contexts),
    st.builds(m.RawPut, key=keys, value=values, context=contexts),
    st.builds(m.RawDelete, key=keys, context=contexts),
    st.builds(
        m.RawCas,
        key=keys,
        previous=st.none() | values,
        value=st.none() | values,
        context=contexts,
    ),
    st.builds(
        m.RawScan, start=keys, end=keys, limit=st.integers(0, 2**32 - 1), context=contexts
    ),
)
region_errors = st.one_of(
    st.builds(m.NotLeader, leader=st.sampled_from(["", *NODES])),
    st.just(m.StaleCommand()),
    st.builds(m.ServerIsBusy, reason=texts),
    st.builds(m.StoreNotMatch, wanted=numbers, actual=numbers),
    st.builds(m.PeerNotMatch, wanted=numbers, actual=numbers),
    st.builds(m.RegionNotFound, region_id=numbers),
    st.builds(m.EpochNotMatch, conf_version=numbers, version=numbers),
    st.builds(m.EntryTooLarge, size=numbers, limit=numbers),
    st.builds(m.MismatchMode, mode=texts),
    st.builds(m.UndeterminedResult, message=texts),
    st.builds(m.OtherError, message=texts),
)


def refused(answer: type) -> st.SearchStrategy:
    return st.builds(answer, error=region_errors)


answers = st.one_of(
    st.builds(m.RawGetReply, value=st.none() | values),
    st.builds(m.RawPutReply),
    st.builds(m.RawDeleteReply),
    st.builds(m.RawCasReply, succeed=st.booleans(), previous=st.none() | values),
    st.builds(m.RawScanReply, pairs=st.lists(st.tuples(keys, values), max_size=4).map(tuple)),
    refused(m.RawGetReply),
    refused(m.RawPutReply),
    refused(m.RawDeleteReply),
    refused(m.RawCasReply),
    refused(m.RawScanReply),
)


@given(requests)
def test_requests_survive_the_wire(request: m.Request) -> None:
    method = METHODS[type(request)]
    data = request_to_wire(request).SerializeToString()
    assert request_from_wire(method.request.FromString(data)) == request


@given(answers)
def test_answers_survive_the_wire(answer: m.Answer) -> None:
    by_answer = {
        m.RawGetReply: m.RawGet,
        m.RawPutReply: m.RawPut,
        m.RawDeleteReply: m.RawDelete,
        m.RawCasReply: m.RawCas,
        m.RawScanReply: m.RawScan,
    }
    method = METHODS[by_answer[type(answer)]]
    data = answer_to_wire(answer, BOOK).SerializeToString()
    assert answer_from_wire(method.response.FromString(data), BOOK) == answer


def test_every_error_of_ours_has_its_place_in_errorpb() -> None:
    """No known error may come back as OtherError: a client would not know the write's fate."""
    for kind in m.RegionError.__args__:
        answer = m.RawPutReply(error=kind())
        assert answer_from_wire(answer_to_wire(answer, BOOK), BOOK) == answer


def test_an_error_that_we_have_no_word_for_is_other() -> None:
    wire = kvrpcpb_pb2.RawPutResponse(
        region_error=errorpb_pb2.Error(
            message="not ready", data_is_not_ready=errorpb_pb2.DataIsNotReady(region_id=1)
        )
    )
    answer = answer_from_wire(wire, BOOK)
    assert answer == m.RawPutReply(error=m.OtherError(message="data_is_not_ready: not ready"))


def test_a_leader_outside_the_configuration_is_unknown() -> None:
    peer = metapb_pb2.Peer(id=9, store_id=9)
    told = errorpb_pb2.Error(not_leader=errorpb_pb2.NotLeader(region_id=1, leader=peer))
    answer = answer_from_wire(kvrpcpb_pb2.RawGetResponse(region_error=told), BOOK)
    assert answer.error == m.NotLeader(leader="")


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (kvrpcpb_pb2.RawPutRequest(key=b"k", ttl=5), "ttl"),
        (kvrpcpb_pb2.RawCASRequest(key=b"k", ttl=5), "ttl"),
        (kvrpcpb_pb2.RawGetRequest(key=b"k", cf="write"), "column family 'write'"),
        (kvrpcpb_pb2.RawScanRequest(reverse=True), "forwards"),
        (
            kvrpcpb_pb2.RawGetRequest(context=kvrpcpb_pb2.Context(api_version=2)),
            "API version 1",
        ),
    ],
)
def test_what_minitikv_lacks_is_refused_in_words(wire: object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        request_from_wire(wire)


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


@pytest.mark.parametrize("module", [translate, names, errors])
def test_examples_in_the_docstrings_are_true(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
