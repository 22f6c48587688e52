"""Frozen data and Protocols that the rooms above agree on; nothing here does anything.

spec: a test as data.  fault: kinds of faults.  testbed: what a substrate gives.  generator:
operations to come.  workload, nemesis, system: the plug-ins.  test: a resolved test.
"""
