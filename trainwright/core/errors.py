"""What can go wrong for a user, and how is it said? One tree of exceptions; each message has three
parts: what is wrong, what is allowed, what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

SHOWN_CHARACTERS = 60  # a value echoed in a message is cut here [assumed]


class TrainwrightError(Exception):
    """A mistake that the user can mend. `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, allowed: str = "", do: str = "") -> None:
        self.what, self.allowed, self.do = what, allowed, do
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"  allowed: {self.allowed}"] if self.allowed else []
        parts += [f"  do: {self.do}"] if self.do else []
        return "\n".join(parts)


class DataError(TrainwrightError):
    """The source cannot be read, or not be understood as examples."""


class ModelError(TrainwrightError):
    """The model cannot be built, or does not fit the data."""


class StoreError(TrainwrightError):
    """The store cannot be opened, read or written."""


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
        super().__init__(f"{count} problem{'s' if count > 1 else ''} in the recipe")

    def __str__(self) -> str:
        lines = [self.what]
        for problem in self.problems:
            lines.append(f"  {problem.path}: {problem.what}")
            lines += [f"    allowed: {problem.allowed}"] if problem.allowed else []
            lines += [f"    do: {problem.do}"] if problem.do else []
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
    return f"did you mean '{near}'?" if near else "choose one of " + ", ".join(choices[:30])
