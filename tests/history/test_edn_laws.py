"""Nothing is lost between ops, EDN and JSON lines: the two laws, against a parser of its own."""

from __future__ import annotations

import io
import os
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from splitbrain.history.edn import read_edn
from splitbrain.history.edn_ops import op_of_value
from splitbrain.history.edn_quick import LINE, quick_op
from splitbrain.history.edn_reader import Reader
from splitbrain.history.edn_write import line_of_op, write_edn
from splitbrain.history.history import History
from splitbrain.history.jsonl import decode_history, encode_op
from splitbrain.history.op import Op

# --- the oracle: EDN by the letter of its description, one character at a time, slow -------------

NAMED = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "backspace": "\b",
    "formfeed": "\f",
}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", '"': '"'}
ENDS = ' \t\r\n,;"()[]{}\\'


class Oracle:
    def __init__(self, text):
        self.text, self.at = text, 0

    def blank(self):
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n\f\v,;":
            if self.text[self.at] == ";":
                while self.at < len(self.text) and self.text[self.at] != "\n":
                    self.at += 1
            else:
                self.at += 1
        if self.text.startswith("#_", self.at):
            self.at += 2
            self.value()
            self.blank()

    def all(self):
        found = []
        self.blank()
        while self.at < len(self.text):
            found.append(self.value())
            self.blank()
        return found

    def until(self, closer):
        found = []
        self.blank()
        while self.text[self.at] != closer:
            found.append(self.value())
            self.blank()
        self.at += 1
        return tuple(found)

    def word(self):
        start = self.at
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] not in ENDS:
            self.at += 1
        return self.text[start : self.at]

    def value(self):
        self.blank()
        for opener, closer in (("#{", "}"), ("{", "}"), ("[", "]"), ("(", ")")):
            if self.text.startswith(opener, self.at):
                self.at += len(opener)
                items = self.until(closer)
                if opener == "{":
                    return ("map", frozenset(zip(items[::2], items[1::2], strict=True)))
                return (opener, frozenset(items) if opener == "#{" else items)
        letter = self.text[self.at]
        if letter == '"':
            return self.string()
        if letter == "\\":
            self.at += 1
            name = self.word()
            long = len(name) == 5 and name[0] == "u"
            return ("char", chr(int(name[1:], 16)) if long else NAMED.get(name, name))
        if letter == "#" and self.text[self.at + 1] != "#":
            return ("tag", self.word(), self.value())
        return self.number(self.word())

    def string(self):
        found = []
        self.at += 1
        while (letter := self.text[self.at]) != '"':
            self.at += 1
            if letter == "\\":
                letter = self.text[self.at]
                self.at += 1
                if letter == "u":
                    letter = chr(int(self.text[self.at : self.at + 4], 16))
                    self.at += 4
                else:
                    letter = ESCAPES[letter]
            found.append(letter)
        self.at += 1
        text = "".join(found).encode("utf-16", "surrogatepass").decode("utf-16")
        return ("string", text)

    def number(self, word):
        for kind, read in (
            ("int", int), ("big", lambda w: int(w.removesuffix("N"))),
            ("ratio", lambda w: Fraction(w if "/" in w else "")),
            ("float", lambda w: repr(float(w if w[-1].isdigit() else ""))),
            ("decimal", lambda w: Fraction(w.removesuffix("M"))),
        ):  # fmt: skip
            try:
                number = read(word)
            except ValueError:
                continue
            if kind == "ratio" and number.denominator == 1:
                return ("int", int(number))
            return ("big" if kind == "int" and not -(2**63) <= number < 2**63 else kind, number)
        return ("word", word)


def ops_as_data(text):
    """The maps of a history, whatever stands around them."""
    found = Oracle(text).all()
    return list(found[0][1]) if len(found) == 1 and found[0][0] in ("[", "(") else found


# --- ops -> EDN -> ops ---------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WORDS = st.sampled_from(
    ["a", "read", "r", "w", "nil", "true", "x y", "1", "-0", "01", ":k", "a/b", "vanil", ""]
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers() | FLOATS | TEXT | WORDS
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | WORDS, inner, max_size=3)
    ),
    max_leaves=8,
)
MICRO = st.tuples(st.sampled_from(["r", "w", "append", "", "x y"]) | JSON, JSON, JSON).map(list)
VALUES = JSON | st.lists(MICRO | JSON, max_size=3)
EDNISH = st.sampled_from(
    ["", ":a", "#{1 2}", "#{2 1}", "5N", "5", "nil", '"s"', "1 2", "[:a", "\n", "()", "{:a 1}"]
)
MARKS = st.dictionaries(
    st.sampled_from([":value", ":f", ":index", ":time", ":ext", ":free", "#", "odd"]),
    EDNISH,
    max_size=3,
)
NAMES = st.sampled_from(
    ["start_ts", "observed", "time", "value", "ext", "edn", "independent", "a b", "a/b", "é"]
)
EXT = st.none() | st.dictionaries(NAMES | TEXT, JSON, max_size=3) | st.fixed_dictionaries(
    {"edn": MARKS | JSON}, optional={"start_ts": JSON}
)  # fmt: skip
COMMON = {
    "time_ns": st.integers(-1, 2**62),
    "key": JSON,
    "value": VALUES,
    "node": st.none() | TEXT,
    "error": st.none() | WORDS | TEXT | st.sampled_from(["cas-mismatch: 3", "a:b", "a: "]),
    "ext": EXT,
}
FUNCTIONS = st.sampled_from(["txn", "read", "start-kill", "phase", "x y", "nil", "1"]) | TEXT


@st.composite
def histories(draw):
    ops = []
    for process in range(draw(st.integers(0, 3))):
        f = draw(FUNCTIONS)
        kinds = ["invoke", draw(st.sampled_from(["ok", "fail", "info"]))]
        nemesis = draw(st.booleans())
        for kind in ["info"] if nemesis else kinds[: draw(st.integers(1, 2))]:
            ops.append(Op(process=-1 if nemesis else process, type=kind, f=f,
                          **draw(st.fixed_dictionaries(COMMON))))  # fmt: skip
    return History(ops)


@settings(max_examples=120, deadline=None)
@given(history=histories())
def test_every_op_comes_back_from_edn(history, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "ops.edn"
    write_edn(path, history)
    assert [encode_op(op) for op in read_edn(path)] == [encode_op(op) for op in history]
    assert len(ops_as_data(path.read_text())) == len(history)


# --- EDN -> ops -> EDN ---------------------------------------------------------------------------

ATOMS = st.sampled_from(
    ["nil", "true", "0", "-1", "7N", "-0", "01", "1.5", "1.50", "2e3", "-0.0",
     "1.1M", "1.10000000000000000001M",
     "22/7",
     "4/2",
     ":a", ":a.b/c", ":1", ":é", "sym", "ns/sym", "+", "\\a", "\\newline", "\\u00e9", "\\\\", '"s"',
     '"x y"', '"a\\"b\\n\\u00e9\\ud83d\\ude00"', "##NaN", "##-Inf", "99999999999999999999",
     "99999999999999999999N",
     '#inst "2024-01-01"', "#_ 1 2", "; c\n3", '""', '"nil"', '":a"', '"1"', "#{}", "()", "[]", "{}"]
)  # fmt: skip
BLANKS = st.sampled_from([" ", "  ", ", ", "\n", " ; c\n"])


def collected(inner):
    many = st.lists(inner, max_size=4)
    unique = st.lists(inner, max_size=4, unique_by=lambda text: repr(Oracle(text).value()))
    joined = st.builds(lambda items, blank: blank.join(items), many, BLANKS)
    return st.one_of(
        joined.map(lambda text: f"[{text}]"),
        joined.map(lambda text: f"({text})"),
        unique.map(lambda items: "#{" + " ".join(items) + "}"),
        st.tuples(unique, st.randoms()).map(
            lambda pair: (
                "{" + ", ".join(f"{key} {pair[1].choice(pair[0])}" for key in pair[0]) + "}"
            )
        ),
        inner.map(lambda text: f"#my.own/Tag {text}"),
    )


EDN = st.recursive(ATOMS, collected, max_leaves=8)
MICROS = st.lists(
    st.tuples(st.sampled_from([":append", ":r", '"r"', "r"]), ATOMS, EDN), max_size=3
).map(lambda micros: "[" + " ".join(f"[{' '.join(words)}]" for words in micros) + "]")
OPTIONAL = {
    ":value": EDN | MICROS,
    ":index": st.sampled_from(["0", "10", ":a", "nil"]),
    ":time": st.sampled_from(["5", "-1", "7N", "123456789"]),
    ":key": EDN,
    ":independent": st.sampled_from(["true", "false", "1"]),
    ":error": EDN | st.just('[:code "detail"]'),
    ":node": EDN,
    ":ext": EDN,
    ":edn": EDN,
    ":exception": EDN,
    ":value ": EDN,
    "3": EDN,
    '"value"': EDN,
    ":a/b": EDN,
}
PROCESSES = st.sampled_from(
    [
        (":nemesis", ":info"),
        (":nemesis", ":invoke"),
        ("0", ":invoke"),
        ("-1", ":info"),
        ("3N", ":invoke"),
    ]
)


@st.composite
def lines(draw):
    process, kind = draw(PROCESSES)
    f = draw(st.sampled_from([":txn", ":read", ":phase", '"read"', "nil", "sym", ":a/b"]))
    fields = {":process": process, ":type": kind, ":f": f}
    fields |= draw(st.fixed_dictionaries({}, optional=OPTIONAL))
    fields.pop(":value ", None)
    names = draw(st.permutations(sorted(fields)))
    blank = draw(st.sampled_from([", ", " ", ",\n "]))
    tag = draw(st.sampled_from(["", "", "#jepsen.history.Op", "#my/tag "]))
    return tag + "{" + blank.join(f"{name} {fields[name]}" for name in names) + "}"


@settings(max_examples=150, deadline=None)
@given(line=lines(), bare=st.booleans(), pair=EDN)
def test_every_map_comes_back_from_ops_and_json_lines(line, bare, pair):
    if bare:
        line = (
            line.replace("{", "{:value [:k " + pair + "] ", 1) if ":value" not in line else line
        )
        bare = ":value [:k" in line and '"value"' not in line
    op = op_of_value(next(Reader.of(line).values()), 0, 1, independent=bare)
    kept, _ = decode_history(
        encode_op(op) + b"\n" if op.type in ("invoke", "info") else b"", "x"
    )
    assert encode_op(kept[0]) == encode_op(op)
    assert Oracle(line_of_op(kept[0])).all() == Oracle(line).all()
    assert "\n" not in line_of_op(op)


PIECES = st.lists(
    st.sampled_from(["0", "-0", "7", "01", "nil", "true", ":r", ":a:b",
                     '"x"', '"a b"', '"vanil"', '":r"', "[]",
                     "[:r 4 nil]", "[[1] 2]", '["r" 1 2]', "]", "1" * 19]),
    max_size=3,
)  # fmt: skip
ONES = st.lists(
    st.sampled_from(["7", "nil", ":r", ":w", '"x"', "[:r 4 nil]", "[1 2]"]), max_size=3
)
SHORT = st.fixed_dictionaries(
    {
        ":index": st.sampled_from(["0"] * 8 + ["1", ":a"]),
        ":process": st.sampled_from(["0"] * 6 + [":nemesis", "-1", "x"]),
        ":type": st.sampled_from([":invoke"] * 4 + [":info", ":odd"]),
        ":f": st.sampled_from([":txn", ":read"] * 3 + ['"read"']),
        ":value": (ONES | ONES | PIECES).map(lambda words: f"[{' '.join(words)}]")
        | st.sampled_from(["nil", ":a", '"b, :f 3"', "-1"]),
    }
)
MORE = {
    ":time": ["5", "5", "-1", "nil"],
    ":independent": ["true", "true", "true", "1"],
    ":error": [":no", '"no"', "nil", "[1]"],
    ":node": ['"n1"', ":n1", "nil"],
    ":term": ["3", ":a", '"s"', "nil", "[1 :a]"],
    ":edn": ["1"],
    ":ext": ["nil"],
}
MORE_FIELDS = st.lists(
    st.sampled_from([(name, text) for name, texts in MORE.items() for text in texts]),
    max_size=2,
).map(dict)


INVOKED = {":index": "0", ":process": "0", ":type": ":invoke", ":f": ":read"}


@settings(max_examples=600, deadline=None)
@given(fields=SHORT, more=MORE_FIELDS)
@example(fields=INVOKED | {":value": "[nil 3]"}, more={":independent": "true"})
@example(fields=INVOKED | {":value": "[:r 3]"}, more={":independent": "true"})
@example(fields=INVOKED | {":value": "[:r -0]"}, more={})
def test_the_short_way_gives_what_the_long_way_gives(fields, more):
    text = "{" + ", ".join(f"{name} {value}" for name, value in (fields | more).items()) + "}"
    quick = quick_op(text, 0) if LINE.fullmatch(text) else None
    if quick is not None:
        assert encode_op(quick) == encode_op(op_of_value(next(Reader.of(text).values()), 0, 1))


def test_the_short_way_is_taken():
    for text in (
        '{:index 0, :time 5, :type :ok, :process 0, :f :read, :value ["x" 3], :independent true}',
        "{:index 0, :time 5, :type :ok, :process 0, :f :txn, :value [[:append 3 1] [:r 4 [1 2]]]}",
        "{:index 0, :time 5, :type :ok, :process 0, :f :txn, :value [[:append :x 1] [:r :y nil]]}",
        "{:type :info, :f :start, :value :majority, :process :nemesis, :time 5, :index 0}",
        '{:index 0, :type :fail, :process 0, :f :cas, :value [1 2], :error :no, :node "n", :ts 5}',
    ):
        assert LINE.fullmatch(text)
        assert quick_op(text, 0) is not None, text


# --- whole files ---------------------------------------------------------------------------------

ELLE = """\
; T1 ww T3 on 9
{:index 10, :time 0, :type :invoke, :process 2, :f :txn, :value [[:append 9 2]]}
{:index 11, :time 0, :type :ok, :process 2, :f :txn, :value [[:append 9 2]]}
; what nobody expected
{:index 12, :time 1, :type :invoke, :process 3, :f :read, :value nil,
 :exception {:via [{:type Boom :at [a.B "f" 1]}]}}
{:index 13, :time 2, :type :info, :process :nemesis, :f :start, :value #{"n1" :n2}}
"""


def returns_whole(path, tmp_path, *, independent=False):
    history = read_edn(path, independent=independent)
    kept, _ = decode_history(b"".join(encode_op(op) + b"\n" for op in history), "x")
    assert kept == history
    again = tmp_path / "again.edn"
    write_edn(again, kept)
    assert ops_as_data(again.read_text()) == ops_as_data(path.read_text())
    assert read_edn(again, independent=independent) == history
    return history


@pytest.mark.parametrize("around", ["{}", "[{}]", "({})", "\ufeff{}"])
def test_a_file_returns_whole(tmp_path, around):
    path = tmp_path / "h.edn"
    path.write_text(around.replace("{}", ELLE).replace("\ufeff", ""))
    history = returns_whole(path, tmp_path)
    assert history[0].value == [["append", 9, 2]]
    assert history[0].ext == {"edn": {":index": "10"}}
    assert history[2].ext["exception"] == {"via": [{"type": "Boom", "at": ["a.B", "f", 1]}]}


def test_tuples_without_a_word_return_whole(tmp_path):
    path = tmp_path / "h.edn"
    path.write_text(
        "{:index 0, :type :invoke, :process 0, :f :cas, :value [7 [1 2]]}\n"
        "{:index 1, :type :ok, :process 0, :f :cas, :value [7 [1 2]]}\n"
    )
    history = returns_whole(path, tmp_path, independent=True)
    assert (history[1].key, history[1].value) == (7, [1, 2])


def test_public_corpora_return_whole(tmp_path):
    corpora = os.environ.get("SPLITBRAIN_CORPORA")
    if not corpora:
        pytest.skip("set SPLITBRAIN_CORPORA=DIR to the directory of public histories")
    files = sorted(Path(corpora).rglob("*.edn"))
    assert files
    for path in files:
        returns_whole(path, tmp_path)


def test_a_mark_that_is_no_longer_true_is_not_obeyed():
    text = "{:index 0, :type :invoke, :process 0, :f :write, :value :a}"
    op = op_of_value(next(Reader.of(text).values()), 0, 1)
    assert line_of_op(op) == text
    changed = Op(index=0, process=0, type="invoke", f="write", value="b", ext=op.ext)
    assert ':value "b"' in line_of_op(changed)
    assert ":ext" in line_of_op(changed)


def test_a_long_file_is_read_in_pieces():
    class Drip(io.StringIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    text = ELLE + '{:a "' + "x" * 100 + '" #_ [1 2] :b \\newline}'
    assert list(Reader(Drip(text)).values()) == list(Reader.of(text).values())


def test_the_page_shows_what_is_so():
    page = Path(__file__).parents[2].joinpath("docs", "interchange.md").read_text()
    blocks = re.findall(r"```(clojure|json)\n(.*?)```", page, flags=re.DOTALL)
    (_, ours), (_, foreign), (_, kept) = blocks
    for index, line in enumerate(ours.splitlines()):
        op = op_of_value(next(Reader.of(line).values()), index, 1)
        assert op.ext is None
        assert line_of_op(op) == line
    op = op_of_value(next(Reader.of(foreign).values()), 0, 1)
    assert encode_op(op) == kept.strip().encode()
    assert Oracle(line_of_op(op)).all() == Oracle(foreign).all()
