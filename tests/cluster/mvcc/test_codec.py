"""Keys and records as stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.cluster.messages.key_errors import LockKind
from splitbrain.cluster.mvcc import codec, records

KEYS = st.binary(max_size=20) | st.text("\0\1\xff", max_size=20).map(
    lambda s: s.encode("latin1")
)
TIMES = st.integers(0, codec.TS_MAX)


@given(KEYS, KEYS)
def test_encoded_keys_keep_their_order_and_none_begins_another(a: bytes, b: bytes) -> None:
    first, second = codec.encode_key(a), codec.encode_key(b)
    assert (first < second) == (a < b)
    assert first == second or not second.startswith(first)
    assert codec.decode_key(first) == a
    assert len(first) == (len(a) // 8 + 1) * 9


@given(KEYS, KEYS, TIMES, TIMES)
def test_versions_stand_together_the_newest_first(a: bytes, b: bytes, s: int, t: int) -> None:
    first, second = codec.encode_key(a), codec.encode_key(b)
    one, two = codec.versioned(first, s), codec.versioned(second, t)
    assert codec.split_version(one) == (first, s)
    assert first < one < codec.versions_end(first)
    if a == b:
        assert (one < two) == (s > t)
    elif a < b:
        assert codec.versions_end(first) < second < two


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        (b"", "0000000000000000 f7"),
        (b"\1\2\3", "0102030000000000 fa"),
        (b"12345678", "3132333435363738 ff 0000000000000000 f7"),
        (b"\0" * 9, "0000000000000000 ff 0000000000000000 f8"),
    ],
)
def test_the_format_is_memcomparable(key: bytes, encoded: str) -> None:
    assert codec.encode_key(key) == bytes.fromhex(encoded)


@pytest.mark.parametrize("data", [b"", b"12345678", b"1234567\0\xff", b"abc\0\0\0\0\1\xfa"])
def test_what_is_no_encoded_key_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an encoded key"):
        codec.decode_key(data)


def test_an_unbounded_range_is_not_encoded() -> None:
    assert codec.encode_bound(b"") == b""
    assert codec.encode_bound(b"a") == codec.encode_key(b"a")


def test_locks_and_records_come_back() -> None:
    lock = records.Lock(
        LockKind.PUT, b"p", 2**64 - 2, 5, b"v", 6, 7, 8, True, (b"s",), (9, 10), False
    )
    assert records.decode_lock(records.encode_lock(lock)) == lock
    record = records.WriteRecord(records.WriteKind.DELETE, 3, None, False, True, 77)
    assert records.decode_record(records.encode_record(record)) == record
    assert record.is_data
    assert record.is_commit
    assert [record.fenced(at) for at in (76, 77, 78)] == [False, True, True]
