"""Transactions over one region's columns, as Percolator and TiKV have them: pure decisions.

Percolator (Peng and Dabek, OSDI 2010) makes transactions over many machines out of single-row writes
and one oracle of timestamps.  A transaction takes ``start_ts``, reads as of it, and keeps its writes to
itself; then it locks all its keys (*prewrite*), takes ``commit_ts``, and turns the lock of one of them,
its *primary*, into a record: from there on it is committed.  The other locks follow in any order, by
anyone: whoever meets one asks its primary.

    codec, records   keys, locks and records as bytes
    engine           what a store lends and gets: Reader, Batch, Decision
    memory           max_ts, and locks that are decided but not applied
    view             the columns as locks, versions and fates
    rollback, commit, status, pessimistic, constraints, prewrite
                     the rules of requests that write, one on top of the other
    reads            the rules of those that do not
    safe_ts          reads that ask nobody
    gc               versions that nobody will read
    service          all of it: ``Mvcc``
    latches          one at a time for each key
    deadlock         who waits for whom
"""
