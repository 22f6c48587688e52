"""The nemesis room: one file for each family of faults, and packages that weave them together.

partition: who cannot speak to whom.  process: kill, power, pause.  clock: jump, strobe, drift.
network: delay, loss, duplication, reordering.  disk: slow fsyncs.  admin: the system's own levers.
packages: rotates families by a schedule with quiet times, and heals all of them at the end.
"""
