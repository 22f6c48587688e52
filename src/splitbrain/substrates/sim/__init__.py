"""The simulator: all nodes, links, disks, clocks and clients in one process, on virtual time.

loop, timer, waiting: the event loop.  network, links: messages and what befalls them.  disk: what
survives.  node, inbox, env, record: a node, what reaches it, what it sees, what it says.  caller:
clients.  faults, knobs, testbed, substrate: the side of it that the contracts describe.
"""

from __future__ import annotations

from splitbrain.substrates.sim.substrate import SimSubstrate

__all__ = ["SimSubstrate"]
