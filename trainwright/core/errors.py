"""What can go wrong for a user, and how is it said? One tree of exceptions; each message has three
parts: what is wrong, what is allowed, what to do."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from trainwright.core.phrases import phrase

SHOWN_CHARACTERS = 60  # a value echoed in a message is cut here [assumed]


class TrainwrightError(Exception):
    """A mistake that the user can mend. `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, allowed: str = "", do: str = "") -> None:
        self.what, self.allowed, self.do = what, allowed, do
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"  {line}" for line in _advice(self.allowed, self.do)]
        return "\n".join(parts)


class DataError(TrainwrightError):
    """The source cannot be read, or not be understood as examples."""


class ModelError(TrainwrightError):
    """The model cannot be built, or does not fit the data."""


class StoreError(TrainwrightError):
    """The store cannot be opened, read or written."""


class StoreNotFound(StoreError):
    """There is no store at this place, and none was to be made."""


class RunNotFound(StoreError):
    """No run of that name in this store."""


class LeaseHeld(StoreError):
    """Another living process writes this run."""


class RunFailed(TrainwrightError):
    """The run stopped by itself; its record is kept and it can be resumed."""

    exit_code: ClassVar[int] = 3


class Interrupted(TrainwrightError):
    """The user stopped the run; a checkpoint is written and it can be resumed."""

    exit_code: ClassVar[int] = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with one knob at `path`, e.g. `algorithm.learning_rate`."""

    path: str
    what: str
    allowed: str = ""
    do: str = ""


class RecipeError(TrainwrightError):
    """Every problem of a recipe at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        assert self.problems, "a RecipeError needs at least one problem"
        count = len(self.problems)
        super().__init__(
            phrase("{count} problem in the recipe", count=count)
            if count == 1
            else phrase("{count} problems in the recipe", count=count)
        )

    def __str__(self) -> str:
        lines = [self.what]
        for problem in self.problems:
            lines.append(f"  {problem.path}: {problem.what}")
            lines += [f"    {line}" for line in _advice(problem.allowed, problem.do)]
        return "\n".join(lines)


def shown(value: object) -> str:
    """A foreign value made fit for a terminal: control characters escaped, cut short, quoted."""
    text = value if isinstance(value, str) else repr(value)
    cut = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)
    return f"'{safe}'" if isinstance(value, str) else safe


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that was probably meant, or None."""
    found = get_close_matches(word.lower(), {c.lower(): c for c in choices}, n=1, cutoff=0.6)
    return next((c for c in choices if found and c.lower() == found[0]), None)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of choices when nothing is near."""
    choices = list(choices)
    near = nearest(word, choices)
    if near:
        return phrase("did you mean '{near}'?", near=near)
    return phrase("choose one of {choices}", choices=", ".join(choices[:30]))


def system_reason(error: Exception) -> str:
    """Why the operating system refused, in words; other errors say it in their own."""
    match getattr(error, "errno", None):
        case errno.ENOENT:
            return phrase("No such file or directory")
        case errno.EACCES:
            return phrase("Permission denied")
        case errno.EPERM:
            return phrase("Operation not permitted")
        case errno.EISDIR:
            return phrase("Is a directory")
        case errno.ENOTDIR:
            return phrase("Not a directory")
        case errno.EEXIST:
            return phrase("File exists")
        case errno.ENOSPC:
            return phrase("No space left on device")
        case errno.EROFS:
            return phrase("Read-only file system")
        case errno.ENAMETOOLONG:
            return phrase("File name too long")
        case errno.EIO:
            return phrase("Input/output error")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _advice(allowed: str, do: str) -> list[str]:
    """The second and the third part of a message, as far as they are there."""
    lines = [phrase("allowed: {allowed}", allowed=allowed)] if allowed else []
    return [*lines, phrase("do: {do}", do=do)] if do else lines
