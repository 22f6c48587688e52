"""A member of the placement driver as a process of its own: ``pd_member.py NODE ADDRESSES DATA_DIR``.

``ADDRESSES`` is a JSON object: member -> host:port.
"""

import asyncio
import json
import sys

from splitbrain.cluster.pd.config import PdConfig
from splitbrain.cluster.pd.factory import build_pd
from splitbrain.cluster.rpc.names import Names
from splitbrain.cluster.rpc.server import Server
from splitbrain.cluster.rpc.transport import GrpcTransport
from splitbrain.env.real import RealEnv


async def main(node: str, told: str, data_dir: str) -> None:
    addresses = json.loads(told)
    nodes = tuple(addresses)
    env = RealEnv(node=node, peers=nodes, data_dir=data_dir)
    dial = {peer: address for peer, address in addresses.items() if peer != node}
    transport = GrpcTransport(node, dial, env.receive)
    env.transport = transport
    shell = build_pd(PdConfig(node=node, nodes=nodes, scale=1 / 3, cluster_id=7), env)
    server = Server(addresses[node], Names(nodes, addresses), transport, None, 7, serves=())
    await server.start()
    shell.start()
    env.attach(shell)
    transport.start()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
