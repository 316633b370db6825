"""What became of a number over the run? Series of readings, thinned without hiding a spike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MOST_POINTS = 500  # more than a printed column shows apart [assumed]


class Reading(Protocol):
    """What the store's reading is to a report: named values of one kind at one step."""

    @property
    def step(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def values(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one curve. `low` and `high` bound the readings that a point stands for."""

    steps: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    thinned: bool


def series(history: Sequence[Reading], kind: str, name: str) -> Series | None:
    """The finite readings of `name`, at most MOST_POINTS; None when there are none.

    Thinning: consecutive readings share a bucket of equal count; the point is (mean step, mean
    value), with the bucket's lowest and highest beside it. The last reading keeps its own point.
    """
    pairs = [
        (reading.step, value)
        for reading in history
        if reading.kind == kind and (value := scalar(reading.values.get(name))) is not None
    ]
    if not pairs:
        return None
    pairs.sort()
    width = math.ceil(len(pairs) / (MOST_POINTS - 1)) if len(pairs) > MOST_POINTS else 1
    inner = pairs[:-1] if width > 1 else pairs
    buckets = [inner[at : at + width] for at in range(0, len(inner), width)]
    buckets += [pairs[-1:]] if width > 1 else []
    return Series(
        steps=tuple(sum(step for step, _ in bucket) / len(bucket) for bucket in buckets),
        values=tuple(math.fsum(value for _, value in bucket) / len(bucket) for bucket in buckets),
        low=tuple(min(value for _, value in bucket) for bucket in buckets),
        high=tuple(max(value for _, value in bucket) for bucket in buckets),
        thinned=width > 1,
    )


def at_step(history: Sequence[Reading], kind: str, name: str, step: int) -> float | None:
    """The reading at exactly `step`, or None."""
    found = (r for r in history if r.kind == kind and r.step == step)
    return next((scalar(r.values.get(name)) for r in found), None)


def first_and_last(
    history: Sequence[Reading], kind: str, name: str
) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """(step, value) of the first and the last finite reading; None when there are none."""
    pairs = [(r.step, scalar(r.values.get(name))) for r in history if r.kind == kind]
    finite = sorted((step, value) for step, value in pairs if value is not None)
    return (finite[0], finite[-1]) if finite else None


def scalar(value: Any) -> float | None:
    """A reading as one finite number; None for arrays of several and for NaN and infinity."""
    if value is None or getattr(value, "size", 1) != 1:
        return None
    number = float(value.item() if hasattr(value, "item") else value)
    return number if math.isfinite(number) else None
