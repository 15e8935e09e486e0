"""GitHub Actions: annotations, one workflow command a line. The step summary is `verdict_markdown`."""

from __future__ import annotations

from ..gate import Check
from .markdown import escape

__all__ = ["github", "github_error", "summary_error"]


def github(check: Check) -> str:
    """An error for each rule that fails the check, a warning for what is undecided, and the conclusion as a notice."""
    lines = [
        _command(check.severity(ruling), f"avbench gate: {ruling.scale} {ruling.verdict}", ruling.sentence)
        for ruling in check.rulings
        if ruling.verdict != "pass"
    ]
    if check.outdated:
        lines.append(_command("error" if check.strict else "warning", "avbench gate: baseline expired", check.outdated))
    lines.append(_command("notice", "avbench gate", check.conclusion))
    return "".join(f"{line}\n" for line in lines)


def github_error(message: str) -> str:
    """Of a check that could not be made."""
    return _command("error", "avbench gate", message) + "\n"


def summary_error(message: str) -> str:
    """The same for the step summary, in Markdown."""
    return f"**avbench gate: not checked.** {escape(' '.join(message.split()))}\n"


def _command(severity: str, title: str, words: str) -> str:
    return f"::{severity} title={_property(title)}::{_data(words)}"


def _data(text: str) -> str:
    """What a runner takes back as it was; a command ends with its line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
