"""The substrate ``ssh``: each node lives on a host of its own, reached by SSH.

- ``hosts``       which hosts, and how to log in (pure)
- ``connection``  one SSH connection to a host: sessions, files, forwarded sockets (paramiko)
- ``wire``        a channel as a pair of streams of the event loop
- ``shell``       persistent shells: commands without the cost of starting a session
- ``far/warden``  the one program of ours that runs there beside the agent of the links
- ``warden``      our end of it: launches, logs, events, ends
- ``clock``       from that machine's monotonic clock to ours (pure)
- ``install``     splitbrain and what it needs, carried there
- ``node``        a node;  ``testbed``, ``substrate``: all of them
- ``heal``        clearing the hosts of a run that died
"""
