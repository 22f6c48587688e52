"""A store process in transactional mode whose placement driver tells timestamps by the machine's clock.

``txn_node.py CONFIG.json``.  All nodes of a test share that clock, and a client asks one of them at a
time, so that its timestamps only grow.
"""

import os
import sys
import time

from splitbrain.cluster import node
from splitbrain.cluster.messages import pd
from splitbrain.cluster.rpc.pd import StaticPd


class ClockPd(StaticPd):
    """One that also has timestamps."""

    last = 0

    def answer(self, request):
        if not isinstance(request, pd.Tso):
            return super().answer(request)
        self.last = max(self.last, time.time_ns() // 1_000_000 << 18) + request.count
        return pd.TsoReply(self.last >> 18, self.last & (1 << 18) - 1, request.count)


node.StaticPd = ClockPd
code = node.main(sys.argv[1:])
sys.stderr.flush()
os._exit(code)
