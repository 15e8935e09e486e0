"""What all figures share: matplotlib as it is delivered, and files that say what they show and not when.

The user's settings have no say, nothing is logged, and nothing is kept between two figures. The same numbers give the
same bytes on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..home import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "drawing", "form_of", "save"]

FIGURES = ("png", "svg", "pdf")  # a file's suffix says which
DOTS_PER_INCH = 300
STYLE: dict[str, Any] = {
    "pdf.fonttype": 42,  # publishers refuse the default, type 3
    "svg.fonttype": "path",  # looks the same everywhere
    "svg.hashsalt": "avbench",  # of clipping paths' names, else random
    "text.parse_math": False,  # words stay words
}


def form_of(path: Path) -> str:
    """One of FIGURES, by the path's suffix; UsageError where it is another."""
    form = path.suffix.removeprefix(".").lower()
    if form not in FIGURES:
        found = f"ending in {path.suffix!r}" if path.suffix else "without an ending"
        raise UsageError(f"{path}: a figure {found}; expected one of {', '.join('.' + one for one in FIGURES)}.")
    return form


@contextmanager
def drawing(style: Mapping[str, Any] | None = None) -> Iterator[None]:
    """matplotlib with its own defaults and this style, silent: it logs how it builds its caches."""
    if find_spec("matplotlib") is None:
        raise UsageError("a figure needs matplotlib, not installed here. Run: pip install 'avbench[figure]'")
    import logging

    loggers = [(logger, logger.level) for logger in map(logging.getLogger, ("matplotlib", "fontTools"))]
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        try:
            import matplotlib as mpl
        except ValueError as error:  # it looks at MPLBACKEND at once
            raise UsageError(f"matplotlib does not start: {error}. Mend or unset what it names.") from error
        with mpl.rc_context():
            mpl.rcdefaults()
            wanted: dict[Any, Any] = {**STYLE, **(style or {})}
            mpl.rcParams.update(wanted)
            yield
    finally:
        for logger, level in loggers:
            logger.setLevel(level)


def save(figure: Figure, path: Path, title: str, said: str) -> None:
    """Writes the figure whole or not at all, with its title and what it says of itself as metadata. Call it in `drawing`."""
    form = form_of(path)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Description": said},
        "svg": {"Title": title, "Description": said, "Date": None},
        "pdf": {"Title": title, "Subject": said, "CreationDate": None},
    }
    with atomic(path) as part:
        figure.savefig(part, format=form, dpi=DOTS_PER_INCH, metadata=metadata[form])
