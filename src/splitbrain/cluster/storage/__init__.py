"""What a store keeps: ``wal`` the durable log, ``kv`` the state machine that the log feeds."""
