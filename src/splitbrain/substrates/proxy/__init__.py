"""TCP proxies on links: all of a run's live in one child process, led over its standard input.

``shaping`` is the pure part (when may which byte pass), ``relay`` the connections, ``__main__`` the
process, ``messages`` what is said to it, ``client`` the side of the substrate.
"""
