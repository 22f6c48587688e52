"""Workloads, one file each: what clients do, what must hold, and how operations reach a system."""
