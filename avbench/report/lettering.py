"""Letters of a figure: what the font can show, how wide words are, and a sheet to put them on.

The font is DejaVu Sans, which comes with matplotlib. A character that it lacks is written as its code, U+6F22: nothing
is lost, and nothing steers. All lengths are in points.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

__all__ = ["INK", "SMALL", "Letters", "Sheet", "letters"]

SMALL = 5.5  # size of type
INK = "#000000"
FACES = {"regular": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf", "italic": "DejaVuSans-Oblique.ttf"}
INVISIBLE = "\u200c\u200d\ufe0e\ufe0f"  # joiners and variants: nothing is lost where a font has none
BREAKS = "@,=_-+/.|"  # a word that is too long ends a line after one of these, if it can

Face = Literal["regular", "bold", "italic"]


@functools.cache
def letters() -> Letters:
    """Read once; needs matplotlib."""
    return Letters()


class Letters:
    """The faces of DejaVu Sans that come with matplotlib: what they can show, and how wide it is."""

    def __init__(self) -> None:
        import matplotlib as mpl
        from matplotlib.font_manager import FontProperties, get_font

        folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self._properties = {face: FontProperties(fname=str(folder / file)) for face, file in FACES.items()}
        self._fonts = {face: get_font(str(folder / file)) for face, file in FACES.items()}

    def properties(self, face: Face, size: float) -> Any:
        copy = self._properties[face].copy()
        copy.set_size(size)
        return copy

    def shown(self, text: str, face: Face = "regular") -> str:
        """One line of what the face has; the code of what it lacks, and of what would steer."""
        return "".join(self._char(char, face) for char in " ".join(text.split()))

    def width(self, text: str, size: float, face: Face = "regular") -> float:
        from matplotlib.textpath import text_to_path

        wide, _, _ = text_to_path.get_text_width_height_descent(text, self.properties(face, size), False)
        return float(wide)

    def lines(self, text: str, room: float, size: float, face: Face = "regular") -> tuple[str, ...]:
        """`text` in lines that have room: broken at spaces, and within a word where it has no room alone."""
        lines: list[str] = []
        for word in self.shown(text, face).split(" "):
            if lines and self.width(f"{lines[-1]} {word}", size, face) <= room:
                lines[-1] += f" {word}"
                continue
            rest = word
            while (cut := self._cut(rest, room, size, face)) < len(rest):
                lines.append(rest[:cut])
                rest = rest[cut:]
            lines.append(rest)
        return tuple(line for line in lines if line)

    def _char(self, char: str, face: Face) -> str:
        if self._fonts[face].get_char_index(ord(char)) and (
            char in INVISIBLE or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
        ):
            return char
        return "" if char in INVISIBLE else f"U+{ord(char):04X}"

    def _cut(self, word: str, room: float, size: float, face: Face) -> int:
        """How much of a word has room: all, else up to a sign in its second half, else what there is room for."""
        if self.width(word, size, face) <= room:
            return len(word)
        fits = next((end for end in range(len(word) - 1, 1, -1) if self.width(word[:end], size, face) <= room), 1)
        after_sign = [end for end in range(fits // 2 + 1, fits + 1) if word[end - 1] in BREAKS]
        cut = max(after_sign, default=fits)
        while cut > 1 and unicodedata.category(word[cut]).startswith("M"):
            cut -= 1  # accents stay with their letter
        return cut


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The figure, in points from its top left."""

    figure: Any
    wide: float
    high: float

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = SMALL,
        face: Face = "regular",
        side: str = "left",
        **more: Any,
    ) -> None:
        """`y` is the baseline."""
        self.figure.text(
            x / self.wide,
            1 - y / self.high,
            words,
            fontproperties=letters().properties(face, size),
            horizontalalignment=side,
            verticalalignment="baseline",
            **{"color": INK, **more},
        )

    def axes(self, left: float, top: float, wide: float, high: float) -> Any:
        place = (left / self.wide, 1 - (top + high) / self.high, wide / self.wide, high / self.high)
        return self.figure.add_axes(place)

    def line(self, xs: Sequence[float], y: float, **style: Any) -> None:
        from matplotlib.lines import Line2D

        places = [x / self.wide for x in xs], [1 - y / self.high] * len(xs)
        self.figure.add_artist(Line2D(*places, transform=self.figure.transFigure, **style))
