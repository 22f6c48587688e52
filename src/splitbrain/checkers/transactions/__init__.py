"""Transactions judged by their timestamps, by what the stores hold, and by what clients saw."""
