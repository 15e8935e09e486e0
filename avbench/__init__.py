"""avbench: measures how well a model makes a given person say given words in a given place. Not AVBench.

The names below are imported when they are first used, so that `import avbench` costs nothing. What a stage does
is in the stage's own module: `from avbench.score import score`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import AvbenchError
    from .metric import Card, Measured, Metric, Sample, Scale, Unmeasurable
    from .split import Pair, Prompt, Split, load_split

__all__ = [
    "AvbenchError",
    "Card",
    "Measured",
    "Metric",
    "Pair",
    "Prompt",
    "Sample",
    "Scale",
    "Split",
    "Unmeasurable",
    "load_split",
]

_HOME = {
    "AvbenchError": "errors",
    "Card": "metric",
    "Measured": "metric",
    "Metric": "metric",
    "Pair": "split",
    "Prompt": "split",
    "Sample": "metric",
    "Scale": "metric",
    "Split": "split",
    "Unmeasurable": "metric",
    "load_split": "split",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from .home import package_version

        return package_version()
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
