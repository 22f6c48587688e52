"""The Raft core: pure, without I/O; it takes messages and ticks and says what to do.

``types`` has the words, ``core.Raft`` the node.  The paper: Ongaro and Ousterhout, "In Search of an
Understandable Consensus Algorithm", 2014, and Ongaro's dissertation for pre-vote, ReadIndex, lease
and transfer.
"""
