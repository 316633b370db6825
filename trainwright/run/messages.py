"""What does a run tell people while it goes on? Plain messages, for a progress bar, JSON lines, or
nobody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainwright.core.records import Baseline, Notice, RunRecord, Understanding


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """The data was read."""

    run_id: str
    understanding: Understanding


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """Training goes on. `total_steps` is None until a budget of seconds is planned."""

    step: int
    total_steps: int | None
    loss: float
    examples_per_second: float
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The validation split was measured."""

    step: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something was done or skipped that must be known."""

    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A baseline was trained."""

    baseline: Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is over, in whatever state its record says."""

    record: RunRecord


Message = Understood | Progressed | Looked | Said | Compared | Finished
Listener = Callable[[Message], None]


def nobody(message: Message) -> None:
    """The listener of a quiet run."""
