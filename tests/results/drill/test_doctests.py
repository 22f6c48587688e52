"""Every example in the docstrings of these modules is executed."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["drill.cases", "drill.record", "drill.summary", "drill.words", "schema"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"splitbrain.results.{name}"))
    assert found.attempted
    assert not found.failed
