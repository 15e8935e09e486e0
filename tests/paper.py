"""A page with tables in it, as a paper would have them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["compiled", "needs_latex"]

PREAMBLE = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex: tables were not compiled")


def compiled(folder: Path, latex: str) -> str:
    """Runs pdflatex in `folder` and answers its log."""
    (folder / "paper.tex").write_text(f"{PREAMBLE}{latex}\\end{{document}}\n", encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log
