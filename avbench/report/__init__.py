"""Tables on paper and screen: one file per format, layout and escaping only. FORMATS lists them.

A format is a function Table → text that ends with one line end. It decides nothing: marks, digits, order and
words come with the table. To add one: a file, a line here, a row in the tests.

A figure is no text and needs more than the table: `write_figure` and `write_scatter` draw the speakers of the results, too.
"""

from __future__ import annotations

from collections.abc import Callable

from ..table import Table
from .delimited import csv
from .drawing import FIGURES
from .figure import WIDTHS, write_figure
from .html import html
from .latex import latex
from .markdown import markdown
from .scatter import write_scatter
from .text import text

__all__ = ["FIGURES", "FORMATS", "WIDTHS", "write_figure", "write_scatter"]

FORMATS: dict[str, Callable[[Table], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": csv,
    "html": html,
}
