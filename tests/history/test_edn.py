"""EDN, and histories in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitbrain.checkers.linearizable.synthetic import Shape, synthetic
from splitbrain.env.random import Random
from splitbrain.errors import MalformedFile
from splitbrain.history.edn import EdnError, parse_all, read_edn
from splitbrain.history.edn_data import edn_text
from splitbrain.history.edn_write import write_edn
from splitbrain.history.history import History
from splitbrain.history.op import Op

JEPSEN = r"""
; a history as Jepsen prints it
#jepsen.history.Op{:index 0, :time 3291485317, :type :invoke, :process 0, :f :write, :value [7 3]}
{:type :invoke, :process 1, :f :cas, :value [7 [1 2]], :time 3291485400, :index 1} #_ {:left :out}
{:process :nemesis, :type :info, :f :start, :value nil, :at #inst "2024-01-01T00:00:00Z"}
{:type :ok, :process 0, :f :write, :value [7 3]}
{:type :fail, :process 1, :f :cas, :value [7 [1 2]], :error :did-not-match}
"""


def test_a_jepsen_history(tmp_path):
    path = tmp_path / "history.edn"
    path.write_text(JEPSEN)
    h = read_edn(path, independent=True)
    assert [(o.process, o.type, o.f, o.key, o.value) for o in h] == [
        (0, "invoke", "write", 7, 3),
        (1, "invoke", "cas", 7, [1, 2]),
        (-1, "info", "start", None, None),
        (0, "ok", "write", 7, 3),
        (1, "fail", "cas", 7, [1, 2]),
    ]
    assert h[0].time_ns == 3291485317
    assert h[4].error == "did-not-match"
    plain = read_edn(path)
    assert plain[0].key is None
    assert plain[0].value == [7, 3]


@pytest.mark.parametrize("around", ["[{}]", "({})", "{}", "; c\n[\n{}\n] ; end"])
def test_vector_list_or_stream(tmp_path, around):
    maps = "{:process 0 :type :invoke :f :read :value nil} {:process 0 :type :ok :f :read :value 5}"
    path = tmp_path / "h.edn"
    path.write_text(around.replace("{}", maps))
    assert [o.value for o in read_edn(path)] == [None, 5]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1 -2 3N 1.5 2e3 4M]", [1, -2, 3, 1.5, 2000.0, 4]),
        (r'"a\"b\\c\nd\u00e9"', 'a"b\\c\ndé'),
        ("#{3 1 2}", [1, 2, 3]),
        ('{:a {1 :b}, "c" nil}', {"a": {"1": "b"}, "c": None}),
        ("(true false nil sym \\a \\newline)", [True, False, None, "sym", "a", "\n"]),
        ("#my/tag [1 #_ 2 3]", [1, 3]),
    ],
)
def test_values(text, value):
    assert parse_all(text) == [value]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[1\n2", 1, "not closed"),
        ("[1\n2}", 2, "closes"),
        ('\n"abc', 2, "string is not closed"),
        ("{:a}", 1, "without a value"),
        (")", 1, "unexpected"),
        ("12ab", 1, "not a number"),
        ("#_", 1, "nothing follows"),
        ("[1\n{:a 1 :a 2}]", 2, "the key :a twice"),
        ("#{1 1}", 1, "a set holds 1 twice"),
        (r'"\q"', 1, "unknown escape"),
        (r'"\ud800"', 1, "half of"),
        ("\\abc", 1, "not a character"),
        ("1/0", 1, "not a number"),
        ('#"re"', 1, "not EDN"),
        ("^{:a 1} b", 1, "not EDN"),
        (":", 1, "not a keyword"),
        ("1e999", 1, "too large"),
        ("9" * 5000, 1, "digits"),
        ("[" * 300, 1, "deeper"),
    ],
)
def test_malformed_text(text, line, words):
    with pytest.raises(EdnError, match=words) as caught:
        parse_all(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok}", 2, "lacks :f"),
        ("[{:process 0\n :type :begin :f :read}]", 1, ":type is"),
        ("[{:process :x :type :ok :f :read}]", 1, ":process is"),
        ("\n\n{:process 0 :type :ok :f :read}", 3, "without an open invocation"),
        ("[1]", 1, "not an operation"),
        ("[{:process 0 :type :invoke :f :read} ", 1, "not closed"),
        ("[] []", 1, "follows"),
        ("{:process 0 :type :invoke :f :r :time :now}", 1, ":time"),
    ],
)
def test_malformed_histories(tmp_path, text, line, words):
    path = tmp_path / "h.edn"
    path.write_text(text)
    with pytest.raises(MalformedFile, match=words) as caught:
        read_edn(path)
    assert caught.value.line == line


def test_independent_demands_pairs(tmp_path):
    path = tmp_path / "h.edn"
    path.write_text("{:process 0 :type :invoke :f :read :value nil}")
    with pytest.raises(MalformedFile, match="not \\[key value\\]"):
        read_edn(path, independent=True)


def test_our_histories_round_trip(tmp_path):
    shape = Shape(calls=60, functions=("read", "write", "cas", "append"), crash=0.2, keys=3,
                  values=4, observe=True)  # fmt: skip
    ops = list(synthetic(Random(2).stream("edn"), shape))
    ops.append(
        Op(index=len(ops), time_ns=7, process=-1, type="info", f="start-kill",
           value={"id": "k1", "targets": ["n1"], "quote": 'a "b"\n'}, node="n1")
    )  # fmt: skip
    h = History(ops)
    write_edn(tmp_path / "h.edn", h)
    assert read_edn(tmp_path / "h.edn") == h


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_values_round_trip(value):
    assert parse_all(edn_text(value)) == [value]


@given(st.text())
def test_any_text_is_read_or_refused(text):
    line = 1
    try:
        parse_all(text)
    except EdnError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 1
