"""What happened in one step of a stored run? The state before it is computed again, from the newest
checkpoint before it or from the start, and the step is taken under full instruments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.data.batch import Batch
from trainwright.recipe import Live
from trainwright.run.assemble import assemble
from trainwright.run.begin import recipe_of
from trainwright.run.judge import look
from trainwright.run.messages import Listener, Progressed
from trainwright.run.surroundings import own_randomness
from trainwright.store.contract import Reading, Store
from trainwright.train.checkpoint import Checkpoints
from trainwright.train.loop import train
from trainwright.watch.replay import Replayed, replay

TELL_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """One step taken again; `row` is the position in the training split of the example that
    `replayed` points at."""

    step: int
    row: int | None
    replayed: Replayed


class _Reached(Exception):
    """The wanted step is about to be taken."""


class _StopBefore:
    """A step that hands over its batches instead, once it is the wanted one."""

    def __init__(self, step: Any, wanted: int, taken: int) -> None:
        self._step, self._wanted, self._taken = step, wanted, taken
        self.batches: Sequence[Batch] = ()

    def __call__(self, batches: Sequence[Batch], rate: float, *, check: bool) -> Any:
        self._taken += 1
        if self._taken == self._wanted:
            self.batches = batches
            raise _Reached
        return self._step(batches, rate, check=check)


def take_again(
    record: RunRecord,
    store: Store,
    readings: Sequence[Reading],
    *,
    step: int | None,
    live: Live,
    listener: Listener,
    allow_code: bool = False,
) -> Again:
    """What one step of a run did, seen closely; by default the one whose loss was not finite.

    Nothing is written. Raises TrainwrightError for a step that the run did not take, or when the
    live parts of its recipe are missing.
    """
    wanted = _which(record, readings, step)
    recipe = recipe_of(
        record, live,
        allowed=phrase("a run from files, which can be built again from its recipe"),
        do=phrase("watch it in your own loop: `w.replay()` after the step"),
    )  # fmt: skip
    with own_randomness(recipe.seed):
        assembly = assemble(recipe, allow_code=allow_code, resolved=record.resolved)
        trainee = assembly.trainee
        Checkpoints(store=store, run_id=record.id).restore(trainee, before=wanted)
        if trainee.total_steps is None:
            trainee.total_steps = record.total_steps
        trainee.paced = True
        stop = _StopBefore(assembly.step, wanted, trainee.step)
        events = train(
            trainee, assembly.prepared.train, assembly.order, stop, knobs=assembly.algorithm,
            plan=replace(assembly.plan, seconds=None),
            look=look(assembly) if assembly.prepared.valid is not None else None,
            metric=assembly.metric,
        )  # fmt: skip
        try:
            for number, _ in enumerate(events):
                if number % TELL_STEPS == 0:
                    listener(_progress(trainee.step, wanted))
            _not_taken(record, wanted)
        except _Reached:
            batch = stop.batches[0]
            seen = replay(assembly.module, assembly.objective, batch.inputs, batch.target)
            row = int(batch.rows[seen.example]) if seen.example is not None else None
            return Again(step=wanted, row=row, replayed=seen)
        finally:
            assembly.prepared.close()


def _which(record: RunRecord, readings: Sequence[Reading], step: int | None) -> int:
    last = _last(record)
    bad = next((r.step for r in readings if r.kind == "non_finite"), None)
    wanted = step if step is not None else bad
    if wanted is None:
        raise TrainwrightError(
            phrase("every loss of run {run} was finite: which step is to be taken again?",
                   run=record.id),
            allowed=phrase("a step from 1 to {last}", last=last),
            do=phrase("name it with --step"),
        )  # fmt: skip
    if not 1 <= wanted <= last:
        _not_taken(record, wanted)
    return wanted


def _last(record: RunRecord) -> int:
    """The last step that can be taken again; one that did not finish has begun another."""
    return max(1, record.steps + (record.state != "finished"))


def _not_taken(record: RunRecord, step: int) -> NoReturn:
    raise TrainwrightError(
        phrase("run {run} did not take step {step}", run=record.id, step=step),
        allowed=phrase("a step from 1 to {last}", last=_last(record)),
        do=phrase("name another with --step"),
    )


def _progress(step: int, wanted: int) -> Progressed:
    return Progressed(step=step, total_steps=wanted, loss=float("nan"), examples_per_second=0.0,
                      seconds=0.0, seconds_left=None)  # fmt: skip
