"""The report: one offline HTML file: what broke, when, under which fault, how to see it again.

    html = build_report(ReportData(result=result, history=history, spec=spec))
    write_report(path, data)

Rooms inside: ``intervals`` joins invocations and completions; ``strips`` draws what shares one time
axis; ``cards`` explains anomalies, by ``states``, ``picture`` and ``order``, ``versions`` of a key and
their ``lineage``, what was said ``nearby``, ``advice`` and ``copies``; ``tables`` has the rest;
``embed`` packs all operations into the page for search and zoom; ``build`` puts them together.

The charts are SVG drawn here, with a small script that only moves their view: the page reads the same
with JavaScript off, follows the reader's light or dark scheme, prints, and weighs some 100 KB where a
charting library alone would weigh 1.3 MB.
"""

from __future__ import annotations

from splitbrain.results.report.build import build_report, write_report
from splitbrain.results.report.cards import CARDS_MAX
from splitbrain.results.report.data import ReportData

__all__ = ["CARDS_MAX", "ReportData", "build_report", "write_report"]
