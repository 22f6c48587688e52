"""The substrate of containers: each node of a testbed is a container of one Docker engine."""
