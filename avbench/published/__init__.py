"""What did the paper print, and does it agree with itself?

`numbers` reads what is printed; `tables` and `studies` lay it out, with marks decided anew; `recount` recomputes what
can be recomputed.
"""

from __future__ import annotations

from .numbers import paper
from .recount import KINDS, Check, Report, Votes, check
from .studies import preferences_table, ratings_table
from .tables import beside, table_of, tables, tables_of

__all__ = [
    "KINDS",
    "Check",
    "Report",
    "Votes",
    "beside",
    "check",
    "paper",
    "preferences_table",
    "ratings_table",
    "table_of",
    "tables",
    "tables_of",
]
