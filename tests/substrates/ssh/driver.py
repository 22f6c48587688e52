"""A small run on hosts for tests of heal: ``python driver.py DIRECTORY LABEL HOSTS [wait]``.

It does each kind of act once, and closes in good order; the journal's test hooks end it anywhere on its
way.  With ``wait`` it stays in the middle, one node paused and one link cut, until it is killed.
"""

from __future__ import annotations

import asyncio
import sys

from splitbrain.contracts.spec import TestSpec
from splitbrain.contracts.testbed import Program, Site
from splitbrain.env.random import Random
from splitbrain.substrates.journal import FileJournal
from splitbrain.substrates.ssh.substrate import SshSubstrate

LINK = (("n1", "n2"),)


async def main(directory: str, label: str, hosts: str, *, wait: bool) -> None:
    journal = FileJournal(f"{directory}/journal.jsonl", label=label)
    site = Site(
        spec=TestSpec(workload="none", nodes=("n1", "n2"), options={"hosts": hosts}),
        directory=directory,
        label=label,
        random=Random(7),
        journal=journal,
        events=lambda _: None,
    )
    testbed = await SshSubstrate().open(site)
    node = testbed.node("n1")
    await node.start(Program(name="sleep", argv=("sleep", "600")))
    await node.pause()
    await testbed.net.cut("a", LINK)
    if wait:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.sleep(600)
    await node.resume()
    await testbed.net.heal("a")
    await testbed.close()
    assert journal.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], wait="wait" in sys.argv[4:]))
