"""Where do readings stay? In bounded memory, thinned evenly, and on their way to a sink; and back
from a sink's readings to a history."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainwright.core.history import LAYER_READINGS, STEP_READINGS, Curve, History
from trainwright.core.phrases import phrase
from trainwright.store.contract import Reading

MAX_SAMPLES = 2_000
MAX_SAMPLE_BYTES = 9_000_000  # of the layers' readings, float32
MAX_LOSSES = 100_000
MAX_PENDING = 500  # readings kept for a sink that cannot take them
KEPT_OPENING = 20


class Losses:
    """Every step's loss; evenly thinned when there are more than 100 000."""

    def __init__(self) -> None:
        self._steps = np.zeros(1024, np.int32)
        self._values = np.zeros(1024, np.float32)
        self._count = 0
        self._stride = 1
        self.first_nonfinite: int | None = None
        self.recent: list[float] = []

    def add(self, steps: Sequence[int] | np.ndarray, values: Sequence[float] | np.ndarray) -> None:
        """Losses of the given steps, in order."""
        values = np.asarray(values, dtype=float)
        steps = np.asarray(steps, dtype=np.int64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad) and self.first_nonfinite is None:
            self.first_nonfinite = int(steps[bad[0]])
        self.recent = (self.recent + values.tolist())[-64:]
        chosen = steps % self._stride == 0 if self._stride > 1 else slice(None)
        steps, values = steps[chosen], values[chosen]
        needed = self._count + len(steps)
        if needed > len(self._steps):
            size = max(needed, 2 * len(self._steps))
            self._steps = np.resize(self._steps, size)
            self._values = np.resize(self._values, size)
        self._steps[self._count : needed], self._values[self._count : needed] = steps, values
        self._count = needed
        while self._count > MAX_LOSSES:
            self._stride *= 2
            kept = self._steps[: self._count] % self._stride == 0
            steps, values = self._steps[: self._count][kept], self._values[: self._count][kept]
            self._count = len(steps)
            self._steps[: self._count], self._values[: self._count] = steps, values

    def curve(self) -> Curve:
        return Curve(
            steps=self._steps[: self._count].astype(np.int64),
            values=self._values[: self._count].astype(float),
        )


@dataclass(slots=True)
class _Told:
    """Metrics that were told, by split and name."""

    steps: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.steps.setdefault(name, []).append(step)
            self.values.setdefault(name, []).append(float(value))

    def curves(self) -> dict[str, Curve]:
        return {
            n: Curve(steps=np.array(self.steps[n], np.int64), values=np.array(v))
            for n, v in self.values.items()
        }


class Recorder:
    """The readings so far. `sink` gets each as it comes; when it raises, up to 500 wait for it."""

    def __init__(self, sink: Callable[[Sequence[Reading]], None] | None = None) -> None:
        self._sink = sink
        self._pending: list[Reading] = []
        self._waits_until = 0
        self._samples: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._pairs: list[int] = []
        self._stride, self._num_pairs = 1, 0
        self._last_step, self._was_second = -1, False
        self.losses = Losses()
        self.train, self.valid = _Told(), _Told()
        self.unseen: dict[str, str] = {}

    def sample(
        self, step: int, layer: Mapping[str, Sequence[float]], by_step: Mapping[str, float]
    ) -> None:
        """One sampled step: [layer] lists and numbers, by reading."""
        rows = np.array([layer[n] for n in LAYER_READINGS], np.float32)
        numbers = np.array([by_step.get(n, math.nan) for n in STEP_READINGS])
        self._keep(step, rows, numbers)
        if self._sink is not None:
            values: dict[str, Any] = {n: np.array(v) for n, v in layer.items()}
            values = {n: v for n, v in values.items() if not np.isnan(v).all()}
            values |= {n: v for n, v in by_step.items() if not math.isnan(v)}
            self._send([Reading(step=step, kind="watch", values=values)])

    def _keep(self, step: int, rows: np.ndarray, numbers: np.ndarray) -> None:
        """Pairs of successive steps stay together; of the later ones each `stride`-th is kept."""
        second = step == self._last_step + 1 and not self._was_second
        self._num_pairs += not second
        self._was_second, self._last_step = second, step
        if self._num_pairs % self._stride and len(self._samples) >= KEPT_OPENING:
            return
        self._samples.append((step, rows, numbers))
        self._pairs.append(self._num_pairs)
        limit = min(MAX_SAMPLES, max(200, MAX_SAMPLE_BYTES // max(rows.nbytes, 1)))
        while len(self._samples) > limit:
            self._stride *= 2
            kept = [
                i
                for i, pair in enumerate(self._pairs)
                if i < KEPT_OPENING or pair % self._stride == 0
            ]
            self._samples = [self._samples[i] for i in kept]
            self._pairs = [self._pairs[i] for i in kept]

    def add_losses(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """The losses of some steps, in order."""
        if not len(steps):
            return
        self.losses.add(steps, values)
        if self._sink is not None:
            values_ = {"loss": np.asarray(values, float), "steps": np.asarray(steps, float)}
            self._send([Reading(step=int(steps[-1]), kind="loss", values=values_)])

    def tell(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """What the user measured, as w.valid(loss=…)."""
        (self.train if split == "train" else self.valid).add(step, metrics)
        if self._sink is not None:
            values = {n: float(v) for n, v in metrics.items()}
            self._send([Reading(step=step, kind=f"told_{split}", values=values)])

    def _send(self, readings: list[Reading]) -> None:
        assert self._sink is not None, "readings are sent only to a sink"
        self._pending += readings
        if self._waits_until > 0:
            self._waits_until -= 1
            del self._pending[:-MAX_PENDING]
            return
        try:
            self._sink(tuple(self._pending))
        except Exception as error:
            self.unseen["sink"] = phrase(
                "readings could not be handed on ({error}); the last {count} are kept",
                error=f"{type(error).__name__}: {error}"[:200],
                count=MAX_PENDING,
            )
            self._waits_until = 10  # sends are skipped before it is tried again
            del self._pending[:-MAX_PENDING]
        else:
            self._pending.clear()

    def forget(self) -> None:
        """Nothing was read so far; what was told stays."""
        self._samples, self._pairs, self.losses = [], [], Losses()
        self._stride, self._num_pairs = 1, 0
        self._last_step, self._was_second = -1, False

    def flush(self) -> None:
        """Tries once more to hand on what waits."""
        if self._sink is not None and self._pending:
            self._waits_until = 0
            self._send([])

    def history(self, layers: Sequence[str], *, num_steps: int, overhead: float | None) -> History:
        """All of it as arrays; layers that came later have NaN before."""
        return _history(
            self._samples,
            layers,
            losses=self.losses,
            train=self.train.curves(),
            valid=self.valid.curves(),
            num_steps=num_steps,
            unseen=dict(self.unseen),
            overhead=overhead,
        )


def history_from_readings(
    readings: Iterable[Reading],
    layers: Sequence[str],
    *,
    num_steps: int | None = None,
    overhead: float | None = None,
    unseen: Mapping[str, str] | None = None,
) -> History:
    """The history whose readings a sink got. Arrays shorter than `layers` are filled with NaN."""
    samples, losses = [], Losses()
    train, valid = _Told(), _Told()
    last = 0
    for reading in readings:
        last = max(last, reading.step)
        match reading.kind:
            case "watch":
                given = {n: np.asarray(v, float) for n, v in reading.values.items()}
                L = max((len(v) for v in given.values() if v.ndim), default=0)
                rows = np.stack([given.get(n, np.full(L, np.nan)) for n in LAYER_READINGS])
                numbers = np.array([float(given.get(n, math.nan)) for n in STEP_READINGS])
                samples.append((reading.step, rows, numbers))
            case "loss":
                losses.add(np.asarray(reading.values["steps"]), np.asarray(reading.values["loss"]))
            case "told_train" | "told_valid":
                told = train if reading.kind == "told_train" else valid
                told.add(reading.step, {n: float(v) for n, v in reading.values.items()})
    samples.sort(key=lambda s: s[0])
    return _history(
        samples,
        layers,
        losses=losses,
        train=train.curves(),
        valid=valid.curves(),
        num_steps=num_steps or last,
        unseen=dict(unseen or {}),
        overhead=overhead,
    )


def _history(
    samples: Sequence[tuple[int, np.ndarray, np.ndarray]],
    layers: Sequence[str],
    *,
    losses: Losses,
    num_steps: int,
    unseen: dict[str, str],
    overhead: float | None,
    train: Mapping[str, Curve],
    valid: Mapping[str, Curve],
) -> History:
    T, L = len(samples), len(layers)
    cube = np.full((len(LAYER_READINGS), T, L), np.nan)
    for at, (_, rows, _numbers) in enumerate(samples):
        cube[:, at, : rows.shape[1]] = rows[:, :L]
    numbers = np.array([n for _, _, n in samples]).reshape(T, len(STEP_READINGS)).T
    by_layer = {n: c for n, c in zip(LAYER_READINGS, cube, strict=True) if not np.isnan(c).all()}
    by_step = {
        n: v.copy() for n, v in zip(STEP_READINGS, numbers, strict=True) if not np.isnan(v).all()
    }
    return History(
        steps=np.array([s for s, _, _ in samples], np.int64),
        layers=tuple(layers),
        by_layer=by_layer,
        by_step=by_step,
        loss=losses.curve(),
        train=train,
        valid=valid,
        num_steps=num_steps,
        first_nonfinite=losses.first_nonfinite,
        unseen=unseen,
        overhead=overhead,
    )
