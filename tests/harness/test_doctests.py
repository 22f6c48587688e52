"""Every example in a docstring of the harness is executed."""

import doctest
import importlib
import pkgutil

import pytest

import splitbrain.harness

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(splitbrain.harness.__path__, "splitbrain.harness.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_every_public_combinator_has_an_executed_example():
    generator = importlib.import_module("splitbrain.harness.generator")
    not_combinators = {"Context", "Emit", "Generator", "PENDING"}
    completions = {"imperfect", "instant", "perfect", "perfect_info"}
    without = [
        name
        for name in generator.__all__
        if name not in not_combinators | completions
        and ">>>" not in (getattr(generator, name).__doc__ or "")
    ]
    assert without == []
