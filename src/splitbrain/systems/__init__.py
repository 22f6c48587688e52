"""What runs on a substrate, one package each; a system joins a cluster to a testbed."""
