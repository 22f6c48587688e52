"""Seeded bugs of the bundled cluster: subclasses of its cores, never switches inside them."""
