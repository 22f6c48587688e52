"""The placement driver: timestamps, ids, where regions are, and where they should be.

Pure cores (``tso``, ``state``, ``regions``, ``stores``, ``cluster``, ``operators``, ``checkers``,
``schedulers``, ``topology``) and one callback shell over Env (``member``, ``node``).
"""
