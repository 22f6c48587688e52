r"""Keys as they are stored: encoded so that versions of one key stand together, the newest first.

A user's key is cut into groups of eight bytes, the last one padded with zeros, and after each group
comes a marker: 0xFF less the number of padding bytes.  A key whose length is a multiple of eight
gets one more group, of padding alone.  So byte order of encoded keys is that of the keys, and no
encoded key is the beginning of another: a suffix never mixes two keys' versions.  (MyRocks'
memcomparable format, which TiKV took over.)

    >>> encode_key(b"abc").hex(" ")
    '61 62 63 00 00 00 00 00 fa'
    >>> encode_key(b"a") < encode_key(b"a\0") < encode_key(b"b")
    True

A version's suffix is its timestamp, all bits flipped, big-endian: a later one sorts first.

    >>> key = encode_key(b"abc")
    >>> versioned(key, 7) < versioned(key, 6)
    True
    >>> split_version(versioned(key, 7)) == (key, 7)
    True

Within ``mvcc`` "key" is an encoded key; messages carry users' keys, and both ends are translated at
the rim.  An empty bound of a range means "unbounded" and is never encoded.
"""

from __future__ import annotations

import struct

__all__ = [
    "TS_MAX",
    "decode_key",
    "encode_bound",
    "encode_key",
    "physical_ms",
    "split_version",
    "versioned",
    "versions_end",
]

TS_MAX = 2**64 - 1
"""As a version to read: the newest."""

LOGICAL_BITS = 18
_GROUP = 8
_FULL = 0xFF
_ZEROS = bytes(_GROUP)
_MARKERS = tuple(bytes((_FULL - padding,)) for padding in range(_GROUP + 1))
_SUFFIX = struct.Struct(">Q")


def encode_key(key: bytes) -> bytes:
    """The stored form of a user's key; linear time, 9 bytes for each 8 begun."""
    length = len(key)
    if length < _GROUP:
        return key + _ZEROS[length:] + _MARKERS[_GROUP - length]
    parts: list[bytes] = []
    for start in range(0, length + 1, _GROUP):
        group = key[start : start + _GROUP]
        parts += group, _ZEROS[len(group) :], _MARKERS[_GROUP - len(group)]
    return b"".join(parts)


def encode_bound(key: bytes) -> bytes:
    """The stored form of a range's bound: empty stays empty."""
    return encode_key(key) if key else b""


def decode_key(encoded: bytes) -> bytes:
    """The user's key.

    Raises:
        ValueError: these are not an encoded key's bytes.
    """
    parts: list[bytes] = []
    for start in range(0, len(encoded), _GROUP + 1):
        group, marker = encoded[start : start + _GROUP], encoded[start + _GROUP :][:1]
        padding = _FULL - marker[0] if marker else _FULL
        last = start + _GROUP + 1 == len(encoded)
        if not (0 < padding <= _GROUP if last else padding == 0):
            break
        parts.append(group[: _GROUP - padding])
        if last:
            key = b"".join(parts)
            if encode_key(key) == encoded:
                return key
    raise ValueError(f"not an encoded key: {encoded.hex()}")


def versioned(key: bytes, timestamp: int) -> bytes:
    """The stored key of one version of an encoded key."""
    return key + _SUFFIX.pack(TS_MAX - timestamp)


def split_version(stored: bytes) -> tuple[bytes, int]:
    """Encoded key and timestamp of a stored version."""
    return stored[:-8], TS_MAX - int.from_bytes(stored[-8:], "big")


def versions_end(key: bytes) -> bytes:
    """A bound above all versions of ``key`` and below those of the next key."""
    return key + b"\xff" * (_SUFFIX.size + 1)


def physical_ms(timestamp: int) -> int:
    """The wall-clock part of an oracle's timestamp, in milliseconds."""
    return timestamp >> LOGICAL_BITS
