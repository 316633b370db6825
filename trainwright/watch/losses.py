"""How do losses get from the loop to the record? They wait as tensors or numbers until their steps
are over, and are moved together."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from trainwright.watch.record import Recorder


class LossBuffer:
    """Losses on their way from the device: `pending` tensors or numbers, and whose step they are.

    Criterions append to `pending`; `close_steps` makes one loss of what a step appended.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.pending: list[Any] = []
        self.steps: list[int] = []
        self._packed: list[tuple[list[int], Tensor]] = []
        self._closed = 0  # the last step that is over

    def close_steps(self, last: int) -> None:
        """All steps up to `last` are over: one loss for each, the mean of what was appended in it.

        Steps appended alike; when they did not, the losses are spread evenly over them.
        """
        new, first = len(self.pending) - len(self.steps), self._closed + 1
        num_steps, self._closed = last - self._closed, last
        if num_steps < 1 or not new:
            return
        if new > num_steps:
            given = self.pending[len(self.steps) :]
            places = [len(given) * k // num_steps for k in range(num_steps + 1)]
            self.pending[len(self.steps) :] = [_mean(given[a:b]) for a, b in pairwise(places)]
            new = num_steps
        self.steps += [first + (num_steps * (k + 1)) // new - 1 for k in range(new)]

    def of_step(self, step: int) -> Tensor | None:
        """The loss of that step, if it was the last one."""
        if not self.steps or self.steps[-1] != step:
            return None
        last = self.pending[-1]
        return last.float().mean() if isinstance(last, Tensor) else torch.tensor(float(last))

    def pack(self) -> None:
        """Many small tensors become one, on their device, without waiting for it."""
        if self.steps and all(isinstance(t, Tensor) for t in self.pending[: len(self.steps)]):
            rows = torch.stack([t.float().mean() for t in self.pending[: len(self.steps)]])
            self._packed.append((self.steps, rows))
            self.pending, self.steps = self.pending[len(self.steps) :], []

    def flush(self) -> bool:
        """Hands all closed steps' losses to the recorder; whether there were any."""
        n = len(self.steps)
        closed, steps, packed = self.pending[:n], self.steps, self._packed
        self.pending, self.steps, self._packed = self.pending[n:], [], []
        for some, rows in packed:
            self._recorder.add_losses(some, rows.tolist())
        if not n:
            return bool(packed)
        if (
            all(isinstance(t, Tensor) and t.dim() == 0 for t in closed)
            and len({(t.dtype, t.device) for t in closed}) == 1
        ):
            values = torch.stack(closed).tolist()
        else:
            values = [
                float(t.float().mean()) if isinstance(t, Tensor) else float(t) for t in closed
            ]
        self._recorder.add_losses(steps, values)
        return True


def _mean(losses: Sequence[Any]) -> Any:
    """One loss of several, on their device when they are tensors."""
    if len(losses) == 1:
        return losses[0]
    if all(isinstance(t, Tensor) for t in losses):
        return torch.stack([t.float().mean() for t in losses]).mean()
    return sum(map(float, losses)) / len(losses)
