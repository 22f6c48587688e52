"""The store: ``shell.Store`` holds the ``peer.Peer`` of many regions over one Env and one log file.

``routing``: how peers are born, reached and buried.  A peer's chapters: ``applier``, ``requests``,
``transactions``, ``follower_reads``, ``admin``, ``peer``.  Beside them ``proposals`` (who waits for
which log entry), ``reads`` (who waits for which read), ``regions`` (what becomes of a region's
description), ``replies``; ``pdlink`` speaks with the placement driver, ``verbs`` with an administrator.
"""
