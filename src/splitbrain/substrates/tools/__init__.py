"""Small helpers that substrates share: looking at processes by ``/proc``, and safe directories."""
