"""Figures of the linearizability engines on synthetic histories; prints, asserts nothing.

    python benchmarks/linearizable.py [--seconds 10] [--corpora DIR]

Times are of one core, from the history to the Result, explanation included.
"""

import argparse
import csv
import resource
import time
from pathlib import Path

from splitbrain.checkers.budget import Budget
from splitbrain.checkers.linearizable.checker import LinearizableChecker
from splitbrain.checkers.linearizable.model import make_model
from splitbrain.checkers.linearizable.synthetic import Shape, broken, synthetic
from splitbrain.env.random import Random
from splitbrain.history.formats import read
from splitbrain.history.jsonl import encode_op, read_history, write_history

CAS = ("read", "write", "cas")
SHAPES = {
    "register, 6000 ops, 50 keys, 10 clients, 5 % unknown": Shape(
        calls=6000, keys=50, processes=10, crash=0.05
    ),
    "register, 5 values, 6000 ops, 50 keys": Shape(
        calls=6000, keys=50, processes=10, crash=0.05, values=5
    ),
    "cas-register, 6000 ops, 40 keys, 10 clients, 5 % unknown": Shape(
        calls=6000, keys=40, processes=10, crash=0.05, values=5, functions=CAS
    ),
    "cas-register, one key, 150 ops, 10 clients, 13 % unknown": Shape(
        calls=150, processes=10, crash=0.13, values=5, functions=CAS
    ),
    "the same, failed cas observed": Shape(
        calls=150, processes=10, crash=0.13, values=5, functions=CAS, observe=True
    ),
    "cas-register, one key, 300 ops, 20 clients, 7 % unknown": Shape(
        calls=300, processes=20, crash=0.07, values=5, functions=CAS
    ),
    "cas-register, one key, 1000 ops, 30 clients": Shape(
        calls=1000, processes=30, values=5, functions=CAS
    ),
    "register, one key, 100000 ops, 30 clients, 5 % unknown": Shape(
        calls=100_000, processes=30, crash=0.05
    ),
}


def engines(seconds: float) -> None:
    for name, shape in SHAPES.items():
        times: dict[str, list[float]] = {}
        runs = 2 if shape.calls > 10_000 else 10
        for seed in range(runs):
            stream = Random(seed).stream("benchmark", name)
            history = synthetic(stream, shape)
            if seed % 2:
                history = broken(stream, history)
            began = time.perf_counter()
            result = LinearizableChecker("kv").check(history, {}, Budget(seconds))
            label = f"{result.verdict} by {result.kernel}"
            times.setdefault(label, []).append(time.perf_counter() - began)
        print(name)
        for label, spent in sorted(times.items()):
            mean, most = sum(spent) / len(spent), max(spent)
            print(f"    {label:22} {len(spent):3} runs  mean {mean:8.4f} s  max {most:8.4f} s")


def codecs() -> None:
    history = synthetic(Random(1).stream("codec"), Shape(calls=200_000, keys=50, crash=0.01))
    path = Path("/tmp/splitbrain-benchmark.jsonl")
    began = time.perf_counter()
    for op in history:
        encode_op(op)
    encoded = time.perf_counter()
    write_history(path, history)
    written = time.perf_counter()
    read_history(path)
    ended = time.perf_counter()
    path.unlink()
    size = len(history)
    print(f"history.jsonl, {size} events")
    print(f"    encode {(encoded - began) / size * 1e6:.2f} us an event")
    print(f"    read and pair {(ended - written) / size * 1e6:.2f} us an event")


def corpora(root: Path) -> None:
    with (root / "linearizability" / "verdicts.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    spent: list[tuple[float, str, str]] = []
    for row in rows:
        began = time.perf_counter()
        recorded = read(root / "linearizability" / row["path"])
        model = make_model(recorded.model or "kv", **recorded.options)
        result = LinearizableChecker(model).check(recorded.history, {}, Budget(60))
        spent.append((time.perf_counter() - began, row["path"], result.verdict))
    print(f"{len(rows)} public histories, reading included: {sum(s[0] for s in spent):.2f} s")
    for seconds, path, verdict in sorted(spent, reverse=True)[:3]:
        print(f"    {path:36} {verdict:8} {seconds:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--corpora", type=Path)
    arguments = parser.parse_args()
    engines(arguments.seconds)
    codecs()
    if arguments.corpora:
        corpora(arguments.corpora)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
