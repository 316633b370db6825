"""What is a claim? One sentence of the lecture as an experiment that can fail."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from trainwright.core.claims import ClaimVerdict, Measured
from trainwright.core.stats import Interval

SEEDS = 5  # fewest for an interval over seeds that is worth showing [assumed]
SECONDS = 60.0  # on two cores; said in the lecture's own plan, lecture.md


def nobody(share: float) -> None:
    """Progress that no one asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much a measurement may spend: `seeds` repetitions within `seconds` of work on two cores.
    `tell` is called with the share done, 0 to 1, now and then."""

    tell: Callable[[float], None] = nobody
    seeds: int = SEEDS
    seconds: float = SECONDS


FEWEST = 3  # repetitions, however slow the machine: two have no interval to speak of [assumed]


def repetitions(pace: Pace, most: int | None = None) -> Iterator[int]:
    """Seeds 0, 1, ... up to `most` (the pace's own number when left out), as many as fit into the
    pace's seconds judged by those before; FEWEST at least. So n, not the time, gives way.

    Counted are seconds of this process's own work: other work on the machine changes no result.
    """
    began = time.process_time()
    for seed in range(most or pace.seeds):
        spent = time.process_time() - began
        if seed >= FEWEST and spent * (seed + 1) / seed > pace.seconds:
            return
        yield seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A measurement that is imported when it is called: listing claims needs no torch."""

    module: str
    function: str

    def __call__(self, pace: Pace) -> Measured:
        return getattr(import_module(self.module), self.function)(pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim: `code` C01..C40, `topic` the file of this room that measures it (`rate`),
    `measure` the experiment, `source` where its method is from. Its words are `lecture.<code>`."""

    code: str
    topic: str
    measure: Callable[[Pace], Measured]
    source: str = ""


def verdict_within(interval: Interval, allowed: Interval) -> ClaimVerdict:
    """`holds` when the whole interval lies in the allowed range, `differs` when it lies wholly
    outside, `undecided` when it crosses an end."""
    low, high = interval
    if low >= allowed[0] and high <= allowed[1]:
        return "holds"
    return "differs" if high < allowed[0] or low > allowed[1] else "undecided"


def verdict_of_all(verdicts: tuple[ClaimVerdict, ...]) -> ClaimVerdict:
    """A rule of several parts holds when each does, and differs when one does."""
    assert verdicts, "a rule has a part"
    if "differs" in verdicts:
        return "differs"
    return "holds" if all(one == "holds" for one in verdicts) else "undecided"
