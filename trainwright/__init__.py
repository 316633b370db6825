"""trainwright trains a network, judges it honestly, and keeps a record that resumes to the bit.

import trainwright as tw
run = tw.fit("customers.csv", target="churned")
run = tw.fit(X, y, model=MyNet, loss="cross_entropy", budget="5 epochs")
with tw.watch(model, optimizer, loss=criterion) as w: ...  # your own loop
print(w.diagnose())
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainwright.api import Run, fit, load, resume
    from trainwright.core.errors import TrainwrightError
    from trainwright.doctor import Diagnosis, check, diagnose, watch
    from trainwright.recipe import Recipe
    from trainwright.treatment import compare, exam, heal, try_remedy

__version__ = "0.1.0"
__all__ = [
    "Diagnosis", "Recipe", "Run", "TrainwrightError", "check", "compare", "diagnose", "exam", "fit",
    "heal", "load", "resume", "try_remedy", "watch",
]  # fmt: skip

# Names are fetched on first use, so that `import trainwright` stays light.
_HOMES = {
    "Recipe": "trainwright.recipe",
    "Run": "trainwright.api",
    "TrainwrightError": "trainwright.core.errors",
    "Diagnosis": "trainwright.doctor",
    "check": "trainwright.doctor",
    "compare": "trainwright.treatment",
    "diagnose": "trainwright.doctor",
    "exam": "trainwright.treatment",
    "heal": "trainwright.treatment",
    "try_remedy": "trainwright.treatment",
    "watch": "trainwright.doctor",
    "fit": "trainwright.api",
    "load": "trainwright.api",
    "resume": "trainwright.api",
}


class _Front(ModuleType):
    """The package as users see it: `watch`, `check` and `diagnose` are functions here, although
    rooms of the same names lie behind, which Python would put in their place when it imports them.
    Source: docs.python.org/3/reference/datamodel.html#customizing-module-attribute-access
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainwright' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
