"""How wide is a text, and where does it break? For formats that lay out columns themselves."""

from __future__ import annotations

import unicodedata

__all__ = ["balanced", "pad", "width", "wrapped"]


def width(text: str) -> int:
    """Columns of a terminal: two for wide East Asian characters and emoji, none for combining ones."""
    total = 0
    for char in text:
        if unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue
        total += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return total


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """`text` with spaces up to that many columns; `right` puts them first."""
    spaces = " " * (columns - width(text))
    return spaces + text if right else text + spaces


def wrapped(text: str, columns: int) -> list[str]:
    """Lines of at most so many columns, broken at spaces; a longer word stands alone and sticks out."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(f"{lines[-1]} {word}") <= columns:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def balanced(text: str, lines: int, least: int = 0) -> list[str]:
    """At most so many lines, of the least width that allows it, and not of less than `least`."""
    columns = max([least, *map(width, text.split(" "))])
    while len(wrapped(text, columns)) > lines:
        columns += 1
    return wrapped(text, columns)
