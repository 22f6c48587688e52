"""Is there one order of all operations that explains what every client saw?

model: what an object does.  prepare: events made calls.  Engines, each deciding the calls of one
key: reference (slow and plain), zones (distinct values), jit (the register family), wgl (any
model).  checker: splits by key, chooses engines, obeys budgets.  explain: a violation in words.
synthetic: histories whose verdict is known by how they were made.
"""
