"""TiKV's gRPC on the wire: what real nodes and real clients of minitikv speak.

    *.proto        TiKV's packages, message names and field numbers, for the subset in use;
                   ``*_pb2`` modules are generated from them when the package is built
    options.py     how each channel and server is tuned

Our structs <-> protobuf, and nothing else, by tables that serve both directions:

    fields.py      the tables' language
    translate.py   the way in: methods, requests, answers
    raw.py, txn.py, pd_wire.py               what is asked and answered
    errors.py, key_errors.py, pd_errors.py   what went wrong
    contexts.py, metas.py, names.py          contexts; regions and peers; names and numbers

A node's port:

    server.py      all services together
    tikv_service.py, batch_service.py        tikvpb.Tikv: one call each, or many on a stream
    pd_service.py, pd.py                     pdpb.PD; answers of one that never changes
    own_service.py                           what TiKV's protocol has no word for
    transport.py   node to node: one stream of MessagePack frames a peer; implements env.Transport

Our client's way to nodes:

    caller.py      implements env.Caller
    streams.py     its ends of BatchCommands and Tso

Protobuf classes and ``grpc`` are known here and nowhere else.
"""

import os

# gRPC's own chatter about connections that come and go would drown a node's log.  Read by grpc when
# it is first imported, which is below.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
