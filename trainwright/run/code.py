"""May a recipe name the user's own code? Only where the user has said so: `pkg.mod:Net` is imported
with --allow-code and at no other time."""

import importlib
import sys
from pathlib import Path
from typing import Any

from trainwright.core.errors import ModelError, did_you_mean, shown
from trainwright.core.phrases import phrase


def names_code(name: str) -> bool:
    """Whether a model or loss name is a path to code, as `pkg.mod:Net`."""
    return ":" in name


def load_code(name: str, *, allowed: bool) -> Any:
    """The object at `pkg.mod:Name`; the current folder can be imported from, as Python's -m does.

    Raises ModelError when code is not allowed, or cannot be found or imported.
    """
    if not allowed:
        raise ModelError(
            phrase("the recipe names code, {name}, and code was not allowed", name=shown(name)),
            allowed=phrase("a built-in name, or any code with --allow-code"),
            do=phrase("read that code, then add --allow-code (in Python: pass the class itself)"),
        )
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ModelError(
            phrase(
                "{module_name} cannot be imported: {type}: {error}",
                module_name=shown(module_name),
                type=type(error).__name__,
                error=str(error)[:200],
            ),
            allowed=phrase("a module that Python finds from the current folder"),
            do=phrase("check the name, or run from the folder that holds it"),
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        names = [n for n in vars(module) if not n.startswith("_")]
        raise ModelError(
            phrase(
                "{module_name} has no class or function {attribute}",
                module_name=shown(module_name),
                attribute=shown(attribute),
            ),
            allowed=phrase("a class or a function that returns a module"),
            do=did_you_mean(attribute, names or [phrase("(the module is empty)")]),
        )
    return found
