"""The substrate ``local``: nodes are operating-system processes on this machine; no root, no Docker.

``substrate`` joins the parts, ``testbed`` holds them, ``node`` is one process, ``net`` the links
between them, ``faults`` what a set of faults makes of each link (pure), ``places`` directories and
ports, ``clocks`` the faults set through control sockets, ``events`` what nodes say of themselves.
"""

from splitbrain.substrates.local.substrate import LocalSubstrate

__all__ = ["LocalSubstrate"]
