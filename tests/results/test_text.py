"""Doctests of the room, and text that must not break a page."""

from __future__ import annotations

import doctest

import pytest

from splitbrain.results import text
from splitbrain.results.report import axis, embed


@pytest.mark.parametrize("module", [text, axis, embed])
def test_examples_in_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    "code", [0, 7, 0x1B, 0x7F, 0x85, 0x200B, 0x202E, 0x2028, 0x2066, 0xFEFF, 0xD800]
)
def test_no_invisible_character_survives(code: int) -> None:
    shown = text.visible(f"a{chr(code)}b")
    assert chr(code) not in shown
    assert shown.startswith("a")
    assert shown.endswith("b")
    assert len(shown) > 2
    shown.encode("utf-8")


def test_what_is_readable_is_left_alone() -> None:
    assert text.visible("naïve 東京 \t\n ✓ 😀") == "naïve 東京 \t\n ✓ 😀"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("3", '"3"'),
        (3, "3"),
        (None, "null"),
        ([1, [2, None]], "[1, [2, null]]"),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_values_of_different_types_look_different(value: object, shown: str) -> None:
    assert text.value_text(value) == shown


def test_a_value_that_is_no_json_is_still_shown() -> None:
    ring: list[object] = []
    ring.append(ring)
    assert text.value_text(ring) == "[[...]]"
    assert "object at" in text.value_text([object()])


@pytest.mark.parametrize(
    ("names", "told"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists_read_as_prose(names: list[str], told: str) -> None:
    assert text.and_list(names) == told
