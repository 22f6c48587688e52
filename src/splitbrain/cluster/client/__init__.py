"""The client: ``raw`` does operations, ``route`` chooses nodes, ``outcome`` says what an answer means.

Nothing here knows a network or an event loop: requests go through a ``Caller``, waits through a
``Pacer``, both of ``splitbrain.env``.
"""
