"""How many of the seeds 1 to 20 find each seeded bug, by the very command that ``list bugs`` prints.

    python benchmarks/bug_shares.py [BUG ...]

Prints a line for each bug: its share, the kinds reported, and the longest run in seconds of wall
time.  The shares belong into ``systems/minitikv/bugs.py``.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter

SEEDS = range(1, 21)
INVALID = 1


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "splitbrain", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> None:
    wanted = set(sys.argv[1:])
    for bug in json.loads(tool("list", "bugs", "--json").stdout)["bugs"]:
        if wanted and bug["name"] not in wanted:
            continue
        found, kinds, longest_s = [], Counter(), 0.0
        with tempfile.TemporaryDirectory() as store:
            for seed in SEEDS:
                words = shlex.split(bug["command"].replace("--seed N", f"--seed {seed}"))[1:]
                begun = time.perf_counter()
                done = tool(*words, "--json", "--store", store)
                longest_s = max(longest_s, time.perf_counter() - begun)
                if done.returncode == INVALID:
                    found.append(seed)
                    kinds.update({a["kind"] for a in json.loads(done.stdout)["anomalies"]})
        named = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        print(
            f"{bug['name']} ({bug['id']}): {len(found)}/20, {named}; longest {longest_s:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
