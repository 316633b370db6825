"""How is anybody's loop watched and judged? A watcher on the model and its optimiser, facts
measured beside it, and rules over both."""

import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from trainwright.check.gather import final_score, gather
from trainwright.core.diagnosis import Diagnosis
from trainwright.core.errors import StoreError, TrainwrightError
from trainwright.core.facts import Facts, ScoreFacts, with_known
from trainwright.core.history import History
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord, RunState
from trainwright.diagnose.judge import judge
from trainwright.run.trail import Trail
from trainwright.store.contract import Reading, Store
from trainwright.watch.flight import KeptBatch
from trainwright.watch.probes.criterion import Flattening
from trainwright.watch.replay import Replayed, replay
from trainwright.watch.share import SHARE
from trainwright.watch.watcher import Watcher

KEPT_START_BYTES = 256 * 2**20  # weights at the start are kept for `check` up to this size


class Watch:
    """A loop under observation: `with tw.watch(model, optimizer, loss=criterion) as w: ...`.

    Nothing has to be called inside the loop. Where the loss is a bare function, `w.loss(value)`
    tells it each step; `w.valid(loss=..., accuracy=...)` tells of the user's own validation.
    Readings go to `store` under `record`, or to the file `trail` for `diagnose_trail`.
    """

    def __init__(
        self,
        model: nn.Module | Sequence[nn.Module],
        optimizer: Any,
        *,
        loss: Callable[..., Any] | None = None,
        budget: float = SHARE,
        store: Store | None = None,
        record: RunRecord | None = None,
        data: Any = None,
        valid: Any = None,
        batch_size: int | None = None,
        trail: Path | None = None,
        known: ScoreFacts | None = None,
        speak: Callable[[Diagnosis], Diagnosis] = lambda diagnosis: diagnosis,
    ) -> None:
        self._speak = speak
        self._known = known  # what can be had, where somebody found that out before
        self._model = model if isinstance(model, nn.Module) else model[0]
        self._optimizer = list(optimizer) if isinstance(optimizer, (list, tuple)) else (
            None if optimizer is None else [optimizer])  # fmt: skip
        self._loss = loss
        self._data, self._valid, self._batch_size = data, valid, batch_size
        self._store, self._record = store, record
        self._facts: Facts | None = None
        self._start: dict[str, torch.Tensor] | None = None
        self._began = time.time()
        self._seconds: float | None = None  # once it has ended
        sink = self._keep if store is not None else None
        if trail is not None:
            sink = Trail(trail, lambda: self.watcher.layers)
        self.watcher = Watcher(model, optimizer, loss=loss, budget=budget, sink=sink)

    # --- while it runs --------------------------------------------------------------------------

    def attach(self) -> Self:
        """Begins to watch; `with` does it."""
        if self._data is not None and self._loss is not None:
            facts = gather(
                self._model, self._data, loss=self._loss, optimizer=self._optimizer,
                valid=self._valid, batch_size=self._batch_size, reference=self._known is None,
            )  # fmt: skip
            self._facts = facts if self._known is None else with_known(facts, self._known)
        else:
            self._start = _weights(self._model)
        if self._store is not None and self._record is not None:
            self._store.create_run(replace(self._record, state="running"))
        self.watcher.attach()
        return self

    def detach(self) -> None:
        """Ends watching and leaves no trace on model or optimiser; harmless when called twice."""
        self._end("finished")

    def adopt(self, optimizer: Any) -> None:
        """Watches an optimiser that turned up later, too."""
        self.watcher.adopt(optimizer)
        self._optimizer = [*(self._optimizer or []), optimizer]

    def adopt_loss(self, loss: Any) -> None:
        """Takes `loss` for the criterion from here on."""
        self._loss = loss
        self.watcher.adopt_loss(loss)

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end("finished" if kind is None else "failed")

    def loss(self, value: Any) -> None:
        """The step's loss, where no loss module tells it."""
        self.watcher.loss(value)

    def valid(self, **metrics: float) -> None:
        """What was measured on validation examples, as `loss=0.3, accuracy=0.9`."""
        self.watcher.valid(**metrics)

    def train(self, **metrics: float) -> None:
        """What was measured on training examples, over an epoch say."""
        self.watcher.train(**metrics)

    # --- afterwards, or at any time -------------------------------------------------------------

    @property
    def history(self) -> History:
        """Everything that was read."""
        return self.watcher.history()

    @property
    def readings(self) -> Any:
        """A polars frame: step, layer (null for readings of the whole step), reading, value."""
        from trainwright.watch.frame import frame

        return frame(self.history)

    @property
    def overhead(self) -> float | None:
        """The share of the elapsed time that watching took."""
        return self.watcher.overhead

    def facts(self) -> Facts:
        """What is known without training, with the scores of the weights as they are now."""
        facts = self._facts if self._facts is not None else self._facts_from_batches()
        if facts.targets is None or self.watcher.num_steps == 0:
            return facts
        data = self._data if self._data is not None else _joined(self.watcher.kept)
        if data is None:
            return facts
        loss = self._loss if self._loss is not None else self.watcher.found_loss
        score = final_score(self._model, data, self._valid, facts, loss=loss)
        return replace(facts, score=score)

    def diagnose(self, *, mute: Collection[str] = ()) -> Diagnosis:
        """What is wrong so far, or nothing."""
        seconds = self._seconds if self._seconds is not None else time.time() - self._began
        found = judge(self.facts(), self.history, mute=mute)
        return self._speak(replace(found, seconds=seconds))

    def replay(self) -> Replayed:
        """The last step whose batch and targets are kept, gone through again under full
        instruments: that of the first loss that was no number, if there was one.

        Weights are those of the last snapshot, at most a few seconds old. Raises TrainwrightError
        when no such step is kept.
        """
        flight = self.watcher.flight
        kept = [b for b in flight.frozen or flight.batches() if b.target is not None]
        loss = self._loss or self.watcher.found_loss
        if not kept or loss is None:
            raise TrainwrightError(
                phrase("no step is kept that could be gone through again"),
                allowed=phrase("a step whose loss module was given: tw.watch(..., loss=criterion)"),
                do=phrase("watch with the criterion as a module, and call `w.replay()` after it"),
            )
        last, snapshot = kept[-1], flight.snapshot
        random = next((r for r in flight.random if r.step == last.step), None)
        return replay(self._model, loss, last.inputs, last.target, named=last.named,
                      weights=snapshot.weights if snapshot is not None else None,
                      random=random)  # fmt: skip

    def _facts_from_batches(self) -> Facts:
        """Facts from the opening batches and a copy of the weights at the start."""
        data = _joined(self.watcher.kept)
        loss = self._loss if self._loss is not None else self.watcher.found_loss
        if data is None:
            return Facts(unseen={"facts": phrase("no batch was seen with its targets")})
        if loss is None:
            reason = phrase("no loss was given: `tw.watch(..., loss=criterion)`")
            return Facts(unseen={"facts": reason})
        size = len(self.watcher.kept[0].inputs[0])
        if isinstance(loss, nn.Module) and _is_flattened(self.watcher.kept[0]):
            loss = Flattening(criterion=loss)
        self._facts = gather(self._model, data, loss=loss, optimizer=self._optimizer,
                             batch_size=size, weights=self._start)  # fmt: skip
        return self._facts

    def _keep(self, readings: Sequence[Reading]) -> None:
        assert self._store is not None
        assert self._record is not None
        self._store.append(self._record.id, readings)

    def _end(self, state: RunState) -> None:
        self.watcher.detach()
        self._seconds = self._seconds or time.time() - self._began
        if self._store is None or self._record is None:
            return
        try:
            facts = self.facts()
        except Exception as error:  # the user's own exception may be on its way
            facts = Facts(unseen={"facts": f"{type(error).__name__}: {error}"})
        self._record = replace(
            self._record, state=state, steps=self.watcher.num_steps, facts=facts,
            layers=self.watcher.layers, seconds=self._seconds,
            overhead=self.watcher.overhead,
        )  # fmt: skip
        try:
            self._store.save_run(self._record)
        except StoreError as error:
            warnings.warn(str(error), stacklevel=3)


def _weights(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Parameters and buffers as they are before the first step, for facts measured later."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    if sum(t.numel() * t.element_size() for t in named.values()) > KEPT_START_BYTES:
        return None
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def _is_flattened(batch: KeptBatch) -> bool:
    """The outputs came as [batch * time, class_], though the targets are kept as [batch, time]."""
    outputs, targets = batch.outputs, batch.targets
    return outputs is not None and targets is not None and targets.dim() == 2 and (
        outputs.dim() == 2 and len(outputs) == targets.numel() > len(targets)
    )  # fmt: skip


def _joined(kept: Sequence[Any]) -> Any:
    """The kept batches as one (inputs, targets); None where targets were not seen."""
    whole = [batch for batch in kept if batch.targets is not None]
    if not whole:
        return None
    parts = zip(*(batch.inputs for batch in whole), strict=True)
    try:
        inputs = tuple(torch.cat([t.detach() for t in part]) for part in parts)
        targets = torch.cat([batch.targets for batch in whole])
    except (RuntimeError, TypeError):  # batches of unequal shapes: one must do
        inputs, targets = whole[0].inputs, whole[0].targets
    first, *rest = inputs
    return (inputs if rest else first), targets
