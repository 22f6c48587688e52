"""The node: ``shell.Store`` joins Raft core, log file and state machine over one Env.

``proposals``: who waits for which log entry.  ``reads``: who waits for which read.  ``guard``: is
the request for us at all?
"""
