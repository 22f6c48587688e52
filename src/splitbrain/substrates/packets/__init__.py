"""Links faulted by packets: our side of the agents in the nodes' network namespaces.

- ``client``  one agent, asked over the pipes of a local process or over any other stream
- ``faults``  what all faults together make of each node (pure)
- ``net``     ``PacketNet``, the ``Net`` of a testbed whose nodes have agents
- ``bundle``  the agent as one file, to be carried to another machine
"""
