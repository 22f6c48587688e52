"""Transactions over one region's columns, as Percolator and TiKV have them: pure decisions."""
