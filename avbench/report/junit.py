"""JUnit XML: what every CI server shows as tests. A rule is a test case; the dialect is the one that all of them read."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..gate import Check

__all__ = ["junit", "junit_error"]

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 cannot hold


def junit(check: Check) -> str:
    """A failure for each rule that fails the check; what is undecided and does not fail it is skipped."""
    cases: list[tuple[str, str, str]] = []  # name, "" | failure | skipped, words
    for ruling in check.rulings:
        outcome = {"notice": "", "warning": "skipped", "error": "failure"}[check.severity(ruling)]
        cases.append((ruling.scale, outcome, ruling.sentence))
    if check.outdated:
        cases.append(("baseline in date", "failure" if check.strict else "skipped", check.outdated))
    return _document(f"avbench.gate.{check.split}.{check.method}", cases)


def junit_error(message: str) -> str:
    """Of a check that could not be made."""
    return _document("avbench.gate", [("check", "error", message)])


def _document(classname: str, cases: list[tuple[str, str, str]]) -> str:
    counts = {f"{kind}s": str(sum(outcome == kind for _, outcome, _ in cases)) for kind in ("failure", "error")}
    counts |= {
        "tests": str(len(cases)),
        "skipped": str(sum(outcome == "skipped" for _, outcome, _ in cases)),
        "time": "0",
    }
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "avbench gate", **counts})
    for name, outcome, words in cases:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": _legal(classname), "name": _legal(name), "time": "0"}
        )
        if outcome:
            ElementTree.SubElement(case, outcome, {"message": _legal(words)}).text = _legal(words)
        else:
            ElementTree.SubElement(case, "system-out").text = _legal(words)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _legal(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
