"""How does a command speak? Through one console for people, one line of JSON for machines."""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TextIO

from rich.console import Console

from trainwright.core.errors import TrainwrightError, shown, system_reason
from trainwright.core.phrases import phrase


class PipedConsole(Console):
    """A console whose reader may leave, as `head` does: what follows is said to nobody, and a run
    that tells of its progress goes on."""

    def on_broken_pipe(self) -> None:
        silence(self.file)


@cache
def console() -> Console:
    """Where answers go. Colour follows the terminal and NO_COLOR."""
    return PipedConsole(highlight=False, soft_wrap=False, emoji=False)


@cache
def error_console() -> Console:
    """Where progress and errors go, so that answers can be piped."""
    return PipedConsole(stderr=True, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """One line of strict JSON: NaN and infinity, which JSON lacks, become null."""
    unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(finite(value), ensure_ascii=not unicode)
    # A byte of a file's name that is no text becomes JSON's own escape for it.
    write_text(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def write_text(text: str) -> None:
    """An answer as it is, in one go; nothing happens when nobody reads any more."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)


@contextmanager
def refuse_place(place: str, *, option: str = "--out") -> Iterator[None]:
    """Whatever cannot be written to `place` within is said in our three parts."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise TrainwrightError(
            phrase(
                "{path} cannot be written: {reason}", path=shown(place), reason=system_reason(error)
            ),
            allowed=phrase("a folder that can be written"),
            do=phrase("name another file with {option}", option=option),
        ) from None


def silence(stream: Any) -> None:
    """What is still written to `stream` goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def finish(stream: TextIO | None) -> bool:
    """Writes what is left of the answer; False when it cannot be. A reader who left is no loss."""
    try:
        if stream is not None:  # a shell may have closed it
            stream.flush()
    except OSError as error:
        silence(stream)  # else Python tries again at its end, and says so
        return isinstance(error, BrokenPipeError)
    return True


def never_fail_to_encode(stream: TextIO | None) -> None:
    """A character that the terminal's encoding lacks is written as its escape."""
    reconfigure = getattr(stream, "reconfigure", None)  # a stream put in place of it may have none
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def harmless(text: str) -> str:
    """Lines in which no character acts on a terminal: such as do are written as their escapes."""
    return "".join(c if c.isprintable() or c in "\n\t\u3000" else repr(c)[1:-1] for c in text)


def finite(value: Any) -> Any:
    """The same nested value with null for what is no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value
