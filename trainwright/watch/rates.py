"""How did the learning rate go? Told when it has changed enough, at any step, sampled or not."""

from typing import Any

from trainwright.watch.record import Recorder

CHANGE = 0.05  # of the rate told last: a decay to 1e-10 is 450 points [assumed]
SPACING = 256  # after n steps, n / 256 lie between two points: a cycle of any length is bounded


class Rates:
    """The first group's rate, told to `recorder` as the training curve `learning_rate`.

    `seen` is the object of the last rate that was dealt with: schedulers put another one there, so
    that a step whose rate is the same object costs one comparison.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.seen: Any = None
        self._told = float("nan")
        self._due = 0

    def changed(self, step: int, rate: Any) -> None:
        """The rate of this step is another object. A tensor is read at sampled steps only."""
        is_number = isinstance(rate, float | int)
        if not is_number or abs(rate - self._told) <= CHANGE * abs(self._told):
            self.seen = rate
        elif step >= self._due:
            self.seen, self._told = rate, float(rate)
            self._due = step + 1 + step // SPACING
            self._recorder.tell("train", step, {"learning_rate": float(rate)})
