"""How long does each part of a run take? Seconds by part, each second counted once."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """Counts on from the seconds of an earlier stretch of the run."""

    def __init__(self, before: Mapping[str, float]) -> None:
        self.parts = dict(before)
        self._inside = 0.0  # seconds of the parts within the part that is being timed

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Counts the seconds inside to `part`, but for those that a part inside it counts."""
        began, outside = time.perf_counter(), self._inside
        self._inside = 0.0
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.parts[part] = self.parts.get(part, 0.0) + took - self._inside
            self._inside = outside + took

    def move(self, seconds: float, part: str, *, to: str) -> None:
        """Takes seconds that were counted to `part` into a part of their own."""
        self.parts[part] -= seconds
        self.parts[to] = self.parts.get(to, 0.0) + seconds
