"""The client: raw sessions and transactions, over regions that split, move and change their leader.

    module      what it knows
    outcome     what an answer means: happened, did not, nobody knows
    route       which node a session asks, if it is bound to one
    backoff     how long to wait, and for how long to try
    regions     what is believed of regions and stores          pure
    replicas    which replica to ask                             pure
    breaker     which store to leave alone                       pure
    pd_client   PD's leader, timestamps in batches
    sender      one request to one region, and what refusals ask for
    access      from keys to regions; all of the above for one client
    where, raw  raw operations
    resolver    what became of others' transactions, and their locks
    snapshot    reads past locks
    locker      pessimistic locks
    prewriter, committer   the two halves of a commit; what its end means
    standing    one transaction's data, and its named steps
    txn         transactions as the user sees them

Nothing here knows a network or a clock: requests go through a ``Caller``, waits through a ``Pacer``,
both of ``splitbrain.env``, and draws come from a stream that is handed in.  (asyncio is there for
tasks and futures only.)
"""
