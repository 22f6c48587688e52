"""docs/generators.md is what the docstrings say today, and leaves no combinator out."""

import importlib.util
import re
from pathlib import Path

import pytest

from splitbrain.harness import generator

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location(
        "make_generators", DOCS / "make_generators.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_one_that_the_docstrings_make(maker):
    assert maker.PAGE.read_text() == maker.page(), "run: python docs/make_generators.py"


def test_every_public_name_is_on_the_page_with_an_example(maker):
    rows = dict(re.findall(r"^\| `(\w+)\(.*?\| (.*) \|$", maker.page(), re.MULTILINE))
    types = {"Context", "Emit", "Generator", "PENDING"}
    assert set(generator.__all__) - types <= set(rows)
    assert [name for name, row in rows.items() if "→" not in row] == []


def test_every_name_that_jepsen_has_leads_to_one_of_ours(maker):
    ours = {name for names in maker.JEPSEN.values() for name in names.split(", ")}
    assert ours - {"always on"} <= set(generator.__all__)
