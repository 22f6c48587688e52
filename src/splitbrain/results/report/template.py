"""What every page of ours is made with: templates, escaping, styles and scripts.

A page allows one script, its own, by that script's hash; every text that a template prints is made
visible, then escaped.

    >>> environment().from_string("{{ text }}").render(text="<b>")
    '&lt;b&gt;'
    >>> len(script_hash("let page = 1;"))
    44
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from splitbrain.results.report.advice import advice_for
from splitbrain.results.report.axis import number
from splitbrain.results.text import count, plural, visible

__all__ = ["environment", "resource", "script_hash"]


_HERE = "splitbrain.results.report"


def resource(name: str, package: str = _HERE) -> str:
    """The text of a file beside the templates of ``package``: a style, a script."""
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """SHA-256 of a script in base64, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Every text that a template prints passes through here, then through HTML's escaping."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


@cache
def environment() -> jinja2.Environment:
    """The report's templates, with its filters; other pages lay theirs over it."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = count
    made.filters["percent"] = lambda part, whole: number(100 * part / whole)
    made.filters["number"] = number
    made.filters["seconds"] = lambda time_ns: f"{time_ns / 1e9:,.3f} s"
    made.globals["plural"] = plural
    made.globals["advice_for"] = advice_for
    return made
