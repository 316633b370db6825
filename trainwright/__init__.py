"""trainwright trains a network, judges it honestly, and keeps a record that resumes to the bit.

import trainwright as tw
run = tw.fit("customers.csv", target="churned")
run = tw.fit(X, y, model=MyNet, loss="cross_entropy", budget="5 epochs")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainwright.api import Run, fit, load, resume
    from trainwright.core.errors import TrainwrightError
    from trainwright.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Recipe", "Run", "TrainwrightError", "fit", "load", "resume"]

# Names are fetched on first use, so that `import trainwright` stays light.
_HOMES = {
    "Recipe": "trainwright.recipe",
    "Run": "trainwright.api",
    "TrainwrightError": "trainwright.core.errors",
    "fit": "trainwright.api",
    "load": "trainwright.api",
    "resume": "trainwright.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainwright' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
