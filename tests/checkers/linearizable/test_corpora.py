"""The public corpora: 102 logs of etcd and 6 of a key-value store, with known verdicts."""

import csv
import os
from pathlib import Path

import pytest

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.history.formats import read

VERDICTS = {"linearizable": "valid", "illegal": "invalid"}


@pytest.fixture
def corpus():
    where = os.environ.get("SPLITBRAIN_CORPORA")
    if not where or not (Path(where) / "linearizability" / "verdicts.tsv").exists():
        pytest.skip("set SPLITBRAIN_CORPORA to a directory with linearizability/verdicts.tsv")
    root = Path(where) / "linearizability"
    with (root / "verdicts.tsv").open() as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [(root / row["path"], VERDICTS[row["expected"]]) for row in rows]


def judge(path, engine, seconds):
    recorded = read(path)
    model = make_model(recorded.model, **recorded.options)
    checker = LinearizableChecker(model, engine=engine, key_seconds=seconds)
    return checker.check(recorded.history, {}, Budget(seconds))


def test_fast_engines_give_every_listed_verdict(corpus):
    assert len(corpus) == 108
    wrong = []
    for path, expected in corpus:
        result = judge(path, "auto", 10)
        if result.verdict != expected:
            wrong.append((path.name, result.verdict, expected))
        if result.verdict == "invalid":
            assert result.anomalies[0].explanation
            assert len(result.anomalies[0].picture["ops"]) <= 12
    assert wrong == []


def test_the_reference_agrees_where_it_can_decide(corpus):
    decided = 0
    for path, expected in corpus:
        if "c50" in path.name:
            continue
        result = judge(path, "reference", 5)
        if result.verdict != "unknown":
            assert result.verdict == expected, path.name
            decided += 1
    assert decided >= 94  # of 102 etcd logs at least 90, and the four small kv files


@pytest.mark.parametrize("engine", ["wgl", "jit"])
def test_each_engine_alone_on_the_etcd_logs(corpus, engine):
    for path, expected in corpus:
        if path.suffix == ".log":
            assert judge(path, engine, 10).verdict == expected, path.name
