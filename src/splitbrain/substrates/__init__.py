"""Where nodes live: ``sim`` (one process, virtual time), ``local`` (processes), and what they share.

Substrates are imported by their modules, so that a node or a proxy process loads nothing it does
not need: ``splitbrain.substrates.local``, ``splitbrain.substrates.sim``.
"""
