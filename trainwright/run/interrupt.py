"""What happens on Ctrl-C or SIGTERM? While training, the step in hand is finished, a checkpoint is
written, and the run can be resumed; a second signal, or one at any other time, ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Context in which both signals raise KeyboardInterrupt; within `held` the first is only noted
    in `.asked`, so that it tears no step apart.

    Outside the main thread Python cannot catch signals: there `.asked` stays False.
    """

    def __init__(self) -> None:
        self.asked = False
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, whoever loops looks at `.asked`."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._held:
            raise KeyboardInterrupt
        self.asked = True
