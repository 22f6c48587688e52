"""The simulator: all nodes, links, disks, clocks and clients in one process, on virtual time.

loop: the event loop.  network, links: messages and what befalls them.  disk: what survives.  node,
env: a node's incarnations.  caller: clients.  testbed, substrate: the contracts' side of it.
"""
