"""What does a table say? Rows, cells, marks and the words around them, decided once for every format.

`model` has the types, `build` the table of a split, `forms` what else a paper prints: an ablation, a sweep, and lip
motion of the clips that are most like the face.
"""

from __future__ import annotations

from .build import build, marks, ranked, without_controls
from .forms import (
    LIP_SCALES,
    SHARE,
    Sweep,
    ablation,
    check_share,
    default_of,
    find_sweep,
    lip_bias,
    lip_scales,
    most_similar,
    sweep,
)
from .model import BLANK, DASH, Block, Cell, Column, Mark, Row, RowKind, Table

__all__ = [
    "BLANK",
    "DASH",
    "LIP_SCALES",
    "SHARE",
    "Block",
    "Cell",
    "Column",
    "Mark",
    "Row",
    "RowKind",
    "Sweep",
    "Table",
    "ablation",
    "build",
    "check_share",
    "default_of",
    "find_sweep",
    "lip_bias",
    "lip_scales",
    "marks",
    "most_similar",
    "ranked",
    "sweep",
    "without_controls",
]
