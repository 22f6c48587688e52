"""The text forms of public corpora, and recognition of any form."""

import pytest

from splitbrain.errors import MalformedFile, UnknownName
from splitbrain.history.formats import read, recognise
from splitbrain.history.history import History
from splitbrain.history.jsonl import write_history
from splitbrain.history.op import Op

ETCD = """INFO  jepsen.util - 0\t:invoke\t:write\t3
INFO  jepsen.util - 1   :invoke :cas    [3 4]
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:info\t:write\t:timed-out
INFO  jepsen.util - 1\t:fail\t:cas\t[3 4]
INFO  jepsen.util - 2\t:fail\t:read\t:timed-out
"""
KV = """{:process 0, :type :invoke, :f :append, :key "1", :value "x 0 0 y"}
{:process 0, :type :ok, :f :append, :key "1", :value "x 0 0 y"}
"""


def written(tmp_path, text):
    path = tmp_path / "file"
    path.write_text(text)
    return path


def test_etcd_log(tmp_path):
    recorded = read(written(tmp_path, ETCD))
    assert (recorded.format, recorded.model) == ("etcd-log", "cas-register")
    ops = recorded.history
    assert [(o.type, o.f, o.value, o.error) for o in ops[:2]] == [
        ("invoke", "write", 3, None), ("invoke", "cas", [3, 4], None)
    ]  # fmt: skip
    assert (ops[3].type, ops[3].error) == ("info", "timed-out")
    assert ops[4].ext == {"mismatch": True}
    assert ops[5].type == "fail"


def test_kv_text(tmp_path):
    recorded = read(written(tmp_path, KV))
    assert (recorded.format, recorded.model) == ("kv-text", "kv")
    assert recorded.options == {"initial": ""}
    assert (recorded.history[0].key, recorded.history[0].value) == ("1", "x 0 0 y")


def test_jsonl_and_edn(tmp_path):
    write_history(tmp_path / "h", History([Op(process=0, type="invoke", f="read")]))
    recorded = read(tmp_path / "h")
    assert (recorded.format, recorded.model, recorded.options) == ("jsonl", None, {})
    edn = read(written(tmp_path, "; hi\n[{:process 0 :type :invoke :f :read :value nil}]"))
    assert (edn.format, edn.options) == ("edn", {"nil_reads": "wildcard"})
    torn = tmp_path / "torn"
    torn.write_text('{"process":0,"type":"invoke","f":"read"}\n{"proc')
    assert "no newline" in read(torn).notes[0]


@pytest.mark.parametrize(
    ("text", "form", "line", "words"),
    [
        (ETCD + "rubbish\n", "etcd-log", 7, "not an event"),
        (ETCD.replace("[3 4]", "3", 1), "etcd-log", 2, "cas is \\[old new\\]"),
        (ETCD + "INFO  jepsen.util - 9\t:ok\t:read\t1\n", "etcd-log", 7, "without an open"),
        (KV + "{:process 0}\n", "kv-text", 3, "lacks type"),
        (KV + "\n\n[1]\n", "kv-text", 5, "not an event"),
        (KV + "{:process 0, :type :invoke", "kv-text", 3, "not closed"),
    ],
)
def test_malformed_lines_are_named(tmp_path, text, form, line, words):
    path = written(tmp_path, text)
    with pytest.raises(MalformedFile, match=words) as caught:
        read(path, form)
    assert caught.value.line == line


def test_unknown_forms(tmp_path):
    with pytest.raises(UnknownName, match="did you mean jsonl"):
        read(written(tmp_path, KV), "json")
    with pytest.raises(MalformedFile, match="--format"):
        recognise(written(tmp_path, "hello\n"))
    with pytest.raises(MalformedFile, match="cannot be read"):
        recognise(tmp_path / "absent")
