"""Runs a test: which operation comes next (generator), when (interpreter), and for real (driver).

generator/: immutable values that yield operations.  context: what a generator may know.
interpreter: Jepsen's process semantics, told the time and the events, without I/O.  driver: one
test on one testbed, from its opening to its end.  validate: what plug-ins return is checked.
compose: many nemeses as one.  record: a recorder that keeps all in memory.
"""
