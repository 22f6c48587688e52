"""The agent: one small process in a node's network namespace that cuts, shapes and probes links.

It needs root there (CAP_NET_ADMIN, CAP_NET_RAW) and Python 3.9 or newer, nothing else: the standard
library, and imports relative to this directory alone, so that it can be zipped and carried to another
machine (``splitbrain.substrates.packets.bundle``).

It speaks one JSON object a line::

    > {"n": 1, "verb": "cut", "from": ["10.0.0.2"], "to": []}
    < {"n": 1, "ok": {}}
    > {"n": 2, "verb": "cut", "from": "all"}
    < {"n": 2, "error": "cut: from must be a list of IPv4 addresses, not 'all'"}

Requests may overlap: an answer that waits for something (``seen``, ``echo``) comes when it is there.
When standard input closes, because whoever started the agent died, it removes all of its rules and
queues and ends: a dead man's switch.  If the agent itself is killed, its guard does that.

- ``datagrams``  what the agents send each other, and how one counts them (pure)
- ``endpoint``   the UDP socket: beats, probes, echoes
- ``rules``      iptables' input: who is dropped, who is queued (pure);  ``firewall`` runs it
- ``shaping``    when may which packet pass? (pure)
- ``nfqueue``    the kernel's packet queue, over netlink
- ``shaper``     holds packets of that queue;  ``traffic`` joins rules and queue
- ``loop``       files and timers;  ``asking`` checks arguments;  ``main``: the verbs
"""

VERSION = 1
"""Of the protocol; told by ``hello``."""
