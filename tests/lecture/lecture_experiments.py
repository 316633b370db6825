"""Experiments of no lecture, for tests of what runs them: their module is named, so that a process
of its own can import it."""

import os
import time
from pathlib import Path

from trainwright.core.claims import Measured, Picture, Series
from trainwright.lecture.claim import Claim, Later


def claim(code: str, function: str) -> Claim:
    return Claim(code=code, topic="none", measure=Later(module=__name__, function=function))


def fine(pace) -> Measured:
    pace.tell(0.5)
    curve = Series(name="a", x=(1.0, 2.0), y=(float("nan"), 3.0), low=(0.0, 1.0), high=(2.0, 4.0))
    return Measured(verdict="holds", effect=1.5, interval=(1.0, float("inf")), n=pace.seeds,
                    values={"worst": 1.0, "word": "seen"}, notes=("of its own",),
                    pictures=(Picture(x="steps", y="loss", series=(curve,), log_y=True,
                                      names=("a", "b")),))  # fmt: skip


def raises(pace) -> Measured:
    raise ZeroDivisionError("in the experiment")


def dies(pace) -> Measured:
    os._exit(7)


def counts(pace) -> Measured:
    """Leaves a mark for each time that it is measured."""
    place = Path(os.environ["LECTURE_TEST_COUNT"])
    place.write_text(place.read_text() + "x" if place.exists() else "x")
    return fine(pace)


def endless(pace) -> Measured:
    while True:
        time.sleep(0.05)
        pace.tell(0.1)
