"""TiKV's gRPC on the wire: what real nodes and real clients of minitikv speak.

    *.proto        TiKV's packages, message names and field numbers, for the subset in use;
                   ``*_pb2`` modules are generated from them when the package is built
    options.py     how each channel and server is tuned
    translate.py   our structs <-> protobuf, and nothing else; with errors.py, names.py
    transport.py   node to node: one stream of MessagePack frames a peer; implements env.Transport
    server.py      what a store offers: tikvpb.Tikv, pdpb.PD, grpc.health.v1, the peers' stream
    pd.py          the answers of a placement driver that never changes
    caller.py      our client's way to nodes; implements env.Caller

Protobuf classes and ``grpc`` are known here and nowhere else.
"""

import os

# gRPC's own chatter about connections that come and go would drown a node's log.  Read by grpc when
# it is first imported, which is below.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
