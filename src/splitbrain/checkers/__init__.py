"""Judges of histories: pure, bounded, honest about what they do not know.

verdict: what a checker says.  budget: how long and large it may grow.  compose: several as one.
linearizable: is there one order of everything?  stats: counts.  node_crash: nodes that died alone.
"""
