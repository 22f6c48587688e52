"""The examples in the nemesis room's docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import splitbrain.nemesis

MODULES = [
    f"splitbrain.nemesis.{module.name}"
    for module in pkgutil.iter_modules(splitbrain.nemesis.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 2
