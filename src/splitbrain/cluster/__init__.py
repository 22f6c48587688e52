"""minitikv, the bundled reference cluster: a small TiKV, written to be read.

raft: the consensus core.  storage: log and state machine.  store: the node that joins the two.
messages: what travels.  client: how to talk to it.  rpc: the same over gRPC, in TiKV's own words.
bugs: what we break on purpose.  ``factory.build_store`` makes a node for any Env.
"""
