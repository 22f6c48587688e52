"""The JSON-lines form: whatever kills the writer, the reader reads."""

import os

import pytest

from splitbrain.checkers.linearizable.synthetic import Shape, synthetic
from splitbrain.env.random import Random
from splitbrain.errors import HostError, MalformedFile
from splitbrain.history.history import History
from splitbrain.history.jsonl import (
    JsonlWriter,
    decode_history,
    encode_op,
    read_history,
    write_history,
)
from splitbrain.history.op import Op


def history(calls=8):
    shape = Shape(
        calls=calls, functions=("read", "write", "cas", "append"), crash=0.2, refuse=0.1,
        observe=True, keys=2, values=3,
    )  # fmt: skip
    return synthetic(Random(5).stream("jsonl"), shape)


def test_round_trip(tmp_path):
    h = history(300)
    write_history(tmp_path / "h.jsonl", h)
    assert read_history(tmp_path / "h.jsonl") == (h, ())


def test_equal_ops_equal_bytes():
    one = Op(process=0, type="ok", f="read", ext={"b": 1, "a": {"z": 1, "y": 2}})
    two = Op(process=0, type="ok", f="read", ext={"a": {"y": 2, "z": 1}, "b": 1})
    assert encode_op(one) == encode_op(two)
    assert b"key" not in encode_op(one)


def check_cut(data, end, whole):
    h, notes = decode_history(data[:end], "h.jsonl")
    lines = data[:end].count(b"\n")
    assert list(h) == list(whole)[:lines]
    torn = end > 0 and data[end - 1 : end] != b"\n"
    assert len(notes) == (1 if torn else 0)
    if torn:
        assert f"h.jsonl:{lines + 1}:" in notes[0]


def test_cut_at_every_byte():
    h = history()
    data = b"".join(encode_op(op) + b"\n" for op in h)
    for end in range(len(data) + 1):
        check_cut(data, end, h)


def test_cut_at_random_bytes_of_a_larger_one():
    h = history(2000)
    data = b"".join(encode_op(op) + b"\n" for op in h)
    stream = Random(1).stream("cut")
    for _ in range(40):
        check_cut(data, stream.randrange(len(data)), h)


def test_cut_inside_a_character_of_several_bytes():
    whole = [Op(index=0, process=0, type="invoke", f="write", value="häß€𝄞")]
    data = encode_op(whole[0]) + b"\n"
    for end in range(len(data) + 1):
        check_cut(data, end, whole)


def test_the_writer_keeps_what_was_flushed(tmp_path):
    path, h = tmp_path / "h.jsonl", history(50)
    writer = JsonlWriter(path)
    for op in h[:30]:
        writer.write(op)
    assert path.read_bytes() == b""
    writer.flush()
    assert list(read_history(path)[0]) == list(h[:30])
    for op in h[30:]:
        writer.write(op)
    writer.close()
    writer.close()
    assert read_history(path)[0] == h


def test_one_write_per_batch(tmp_path, monkeypatch):
    sizes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(len(data)) or real(fd, data))
    with JsonlWriter(tmp_path / "h.jsonl") as writer:
        for op in history(20):
            writer.write(op)
    assert len(sizes) == 1


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    h = history(5)
    with JsonlWriter(tmp_path / "h.jsonl") as writer:
        for op in h:
            writer.write(op)
    assert read_history(tmp_path / "h.jsonl")[0] == h


@pytest.mark.parametrize(
    ("lines", "number", "words"),
    [
        ([b'{"process":0,"type":"invoke","f":"r"}', b"{oops"], 2, "not JSON"),
        ([b'{"process":0,"type":"begin","f":"r"}'], 1, "field type.*'begin'"),
        ([b'{"process":"p","type":"ok","f":"r"}'], 1, "field process.*str"),
        ([b'{"process":0,"type":"ok"}'], 1, "missing required field `f`"),
        ([b"[1,2]"], 1, "not an operation"),
        ([b'{"process":0,"type":"ok","f":"r"}'], 1, "without an open invocation"),
        (
            [b"", b'{"index":4,"process":0,"type":"invoke","f":"r"}'],
            2,
            "index is 4, expected 0",
        ),
        ([b'{"process":0,"type":"invoke","f":"\xff"}'], 1, "not JSON"),
    ],
)
def test_malformed_lines_are_named(tmp_path, lines, number, words):
    path = tmp_path / "h.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(MalformedFile, match=words) as caught:
        read_history(path)
    assert caught.value.line == number
    assert str(caught.value).startswith(f"{path}:{number}: ")
    assert "\n" not in str(caught.value)


def test_missing_file_and_unwritable_place(tmp_path):
    with pytest.raises(MalformedFile, match="cannot be read"):
        read_history(tmp_path / "none")
    with pytest.raises(HostError, match="cannot open"):
        JsonlWriter(tmp_path / "no" / "such" / "h.jsonl")
    with pytest.raises(HostError, match="cannot write"):
        write_history(tmp_path, History())


def test_full_disk(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    writer = JsonlWriter("/dev/full")
    writer.write(Op(process=0, type="invoke", f="read"))
    with pytest.raises(HostError, match="No space left"):
        writer.flush()
    writer.close()
