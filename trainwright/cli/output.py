"""How does a command speak? Through one console for people, one line of JSON for machines."""

import json
import math
import sys
from functools import cache
from typing import Any

from rich.console import Console


@cache
def console() -> Console:
    """Where answers go. Colour follows the terminal and NO_COLOR."""
    return Console(highlight=False, soft_wrap=False)


@cache
def error_console() -> Console:
    """Where progress and errors go, so that answers can be piped."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One line of strict JSON: NaN and infinity, which JSON lacks, become null."""
    print(json.dumps(finite(value), ensure_ascii=False), file=sys.stdout, flush=True)


def finite(value: Any) -> Any:
    """The same nested value with null for what is no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value
