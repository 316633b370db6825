"""What does a run tell people while it goes on? Plain messages, for a progress bar, JSON lines, or
nobody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

from trainwright.core.diagnosis import Finding
from trainwright.core.records import Baseline, Notice, RunRecord, Understanding
from trainwright.data.told import Stage

SOON_SECONDS = 0.5  # reading that takes less is not told [assumed]
TELL_SECONDS = 0.1  # a progress bar needs no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The data is being read: so many files or rows of one stage, `total` None while not known.
    `over`: no more of this stage comes, as it is done or has failed."""

    stage: Stage
    done: int
    total: int | None
    over: bool


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
class Diagnosed:
    """A finding opened, or closed again, while the run goes on."""

    finding: Finding
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A baseline was trained."""

    baseline: Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is over, in whatever state its record says."""

    record: RunRecord


Message = Loaded | Understood | Progressed | Looked | Said | Diagnosed | Compared | Finished
Listener = Callable[[Message], None]


def nobody(message: Message) -> None:
    """The listener of a quiet run."""


class Teller:
    """A `Tell` that may be called for each file: the listener hears of a stage once it has taken
    SOON_SECONDS, from then on every TELL_SECONDS, and of its end. Leaving the context ends it."""

    def __init__(self, listener: Listener, clock: Callable[[], float] = perf_counter) -> None:
        self._listener, self._clock = listener, clock
        self._now: tuple[Stage, int, int | None] | None = None
        self._due, self._heard = 0.0, False

    def __call__(self, stage: Stage, done: int, total: int | None) -> None:
        now = self._clock()
        if self._now is None or self._now[0] != stage:
            self.close()
            self._due = now + SOON_SECONDS
        self._now = (stage, done, total)
        if done == total:
            self.close()
        elif now >= self._due:
            self._due, self._heard = now + TELL_SECONDS, True
            self._listener(Loaded(stage=stage, done=done, total=total, over=False))

    def close(self) -> None:
        """The end of a stage that was heard of is told."""
        if self._heard and self._now is not None:
            stage, done, total = self._now
            self._listener(Loaded(stage=stage, done=done, total=total, over=True))
        self._now, self._heard = None, False

    def __enter__(self) -> "Teller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
