"""What was going on just now? A ring of the last batches by reference, random states, and a copy of
the weights every few seconds, so that a step can be gone through again."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.watch.probes.criterion import by_example

RING = 8  # batches
MAX_RING_BYTES = 64_000_000  # of CPU memory that would otherwise be free
MAX_SNAPSHOT_BYTES = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flown:
    """A batch as the model got it at `step` (the number of the step that it belonged to), or of
    our own loop the rows of the split."""

    step: int
    inputs: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None  # what the criterion compared the outputs with, where it was seen
    rows: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomState:
    """Of torch's generators when a step's first forward began."""

    step: int
    cpu: Tensor
    cuda: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Weights and buffers after `step` steps, on the CPU."""

    step: int
    weights: Mapping[str, Tensor]


class Flight:
    """The recorder. `note` is called each step and keeps references only; it is slot assignment
    into a list, since it is paid between samples."""

    def __init__(self) -> None:
        self.ring: list[tuple[int, Any, Any] | None] = [None] * RING
        self.position = 0
        self.target: tuple[int, Any] = (0, None)  # of the last step whose criterion ran
        self.frozen: tuple[Flown, ...] = ()  # as they were at the first loss that was no number
        self._rows: deque[tuple[int, Sequence[Tensor]]] = deque(maxlen=RING)
        self.random: deque[RandomState] = deque(maxlen=RING)
        self.snapshot: Snapshot | None = None
        self.snapshot_seconds = 0.0
        self.too_large = False

    def note_rows(self, step: int, rows: Sequence[Tensor]) -> None:
        """Our own loop: which rows of the split the step's batches were."""
        self._rows.append((step, rows))

    def note_random(self, step: int, *, cuda: bool) -> None:
        """The generators' state before a sampled step's first forward."""
        state = torch.cuda.get_rng_state() if cuda else None
        self.random.append(RandomState(step=step, cpu=torch.get_rng_state(), cuda=state))

    def keep_within(self) -> None:
        """Lets the oldest batches go when all are too large together."""
        last = self.ring[(self.position - 1) % RING]
        if last is None or RING * (_bytes(last[1]) + _bytes(last[2])) <= MAX_RING_BYTES:
            return
        kept = 0
        for back in range(RING):
            at = (self.position - 1 - back) % RING
            entry = self.ring[at]
            if entry is None:
                continue
            kept += _bytes(entry[1]) + _bytes(entry[2])
            if kept > MAX_RING_BYTES and back:
                self.ring[at] = None
                self.too_large = True

    def take_snapshot(self, step: int, models: Sequence[nn.Module]) -> None:
        """Copies weights and buffers of all models to the CPU, unless they are too large."""
        if self.frozen:
            return
        state = {}
        for number, model in enumerate(models):
            prefix = f"{number}." if len(models) > 1 else ""
            state |= {prefix + n: t for n, t in model.state_dict().items() if isinstance(t, Tensor)}
        if sum(t.numel() * t.element_size() for t in state.values()) > MAX_SNAPSHOT_BYTES:
            self.too_large = True
            return
        weights = {n: t.detach().to("cpu", copy=True) for n, t in state.items()}
        self.snapshot = Snapshot(step=step, weights=weights)

    def batches(self) -> tuple[Flown, ...]:
        """What is left of the last steps' batches, oldest first."""
        if self._rows:
            return tuple(
                Flown(step=s, rows=torch.cat([r.reshape(-1) for r in rows]))
                for s, rows in self._rows
            )
        found = [self.ring[(self.position + k) % RING] for k in range(RING)]
        return tuple(
            Flown(
                step=entry[0],
                inputs=tuple(entry[1]),
                named=dict(entry[2] or {}),
                target=self.target[1] if entry[0] == self.target[0] else None,
            )
            for entry in found
            if entry is not None
        )

    def freeze(self, step: int, models: Sequence[nn.Module]) -> None:
        """Keeps what there is now for good: later steps only carry the damage on."""
        self.take_snapshot(step, models)
        self.frozen = self.batches()

    def clear(self) -> None:
        """Lets all references go."""
        self.ring = [None] * RING
        self._rows.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBatch:
    """One of the first batches, copied: what the model got and gave, and what the loss compared
    it with, where that was seen."""

    step: int
    inputs: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    outputs: Tensor | None = None
    targets: Tensor | None = None


class Opening:
    """Copies the first batches, as long as they fit into `room` bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._batch: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
        self.kept: list[KeptBatch] = []

    def take(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """What a root is called with at the start of a sampled step."""
        size = _bytes(args) + _bytes(named)
        self._batch = None
        if size <= self._room:
            self._room -= size
            self._batch = tuple(map(_copy, args)), {n: _copy(v) for n, v in named.items()}

    def drop(self) -> None:
        """What was taken is part of no step."""
        self._batch = None

    def close(self, step: int, outputs: Tensor | None, targets: Tensor | None) -> None:
        """The step is over: the batch that was taken is kept with what came of it."""
        if self._batch is not None:
            inputs, named = self._batch
            first = next(_tensors([*inputs, *named.values()]), None)
            targets = by_example(targets, outputs, first)
            batch = KeptBatch(
                step=step, inputs=inputs, named=named, outputs=outputs, targets=targets
            )
            self.kept.append(batch)
        self._batch = None


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    return (v for v in values if isinstance(v, Tensor))


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {n: _copy(v) for n, v in value.items()}
    return type(value)(map(_copy, value)) if type(value) in (tuple, list) else value


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return 0
    return sum(_bytes(v) for v in value)
