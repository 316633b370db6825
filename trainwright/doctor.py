"""What does a Python user call when training does not work? watch, check and diagnose, and the
Diagnosis that they return."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright import api
from trainwright.core import diagnosis as records
from trainwright.core.facts import TaskKind
from trainwright.core.records import RunRecord
from trainwright.recipe import Recipe
from trainwright.watch.share import SHARE, check_share

if TYPE_CHECKING:
    from torch import nn

    from trainwright.run import attach
    from trainwright.store.contract import Store


class Diagnosis(records.Diagnosis):
    """A diagnosis that speaks: `print(diagnosis)` is the box that the command line shows."""

    def __str__(self) -> str:
        from trainwright.report.diagnosis import as_text

        return as_text(self)

    __repr__ = __str__


def _spoken(found: records.Diagnosis) -> Diagnosis:
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return Diagnosis(**values)


def watch(
    model: nn.Module | Sequence[nn.Module],
    optimizer: Any,
    *,
    loss: Callable[..., Any] | None = None,
    budget: float = SHARE,
    store: str | Path | Store | None = None,
    name: str | None = None,
    data: Any = None,
    valid: Any = None,
    batch_size: int | None = None,
) -> attach.Watch:
    """Watches anyone's loop: `with tw.watch(model, optimizer, loss=criterion) as w: ...`.

    Nothing has to be called inside. `optimizer` is one, several in a list, or None where weights
    are moved by hand: a step is then what moves them. `budget` is the share of time that watching
    may take, all in all. `data=(X, y)` and `valid` let it compare with what simple learners reach
    on the same examples; without them the opening batches must do. With `store` the readings are
    kept under `name`, for `trainwright diagnose` and `report`.

    Raises TrainwrightError for a module without parameters, an optimiser of another model, or a
    budget that is not above 0 and at most 1.
    """
    from trainwright.run.attach import Watch

    check_share(budget)
    kept: Any = None
    record = None
    if store is not None:
        kept, _ = api.open_place(store)
        record = RunRecord(id=api.free_name(name, kept), created=time.time(), portable=False,
                           command="tw.watch(...)")  # fmt: skip
    return Watch(model, optimizer, loss=loss, budget=budget, store=kept, record=record, data=data,
                 valid=valid, batch_size=batch_size, speak=_spoken)  # fmt: skip


def check(
    model: nn.Module,
    data: Any,
    *,
    loss: Callable[..., Any],
    optimizer: Any = None,
    task: TaskKind | None = None,
    valid: Any = None,
    batch_size: int | None = None,
    mute: Collection[str] = (),
) -> Diagnosis:
    """What is wrong before the first step, by a few passes forward and backward; no training, and
    nothing is left changed: training after it is equal to the bit.

    `data` is (X, y), or an iterable of batches (x, y).
    """
    from trainwright.check.gather import gather
    from trainwright.diagnose.judge import judge

    facts = gather(model, data, loss=loss, optimizer=optimizer, task=task, valid=valid,
                   batch_size=batch_size)  # fmt: skip
    return _spoken(judge(facts, mute=mute))


def diagnose(
    run: api.Run | str, *, store: str | Path | Store | None = None, mute: Collection[str] = ()
) -> Diagnosis:
    """What was wrong in a run, from its record and readings alone."""
    from trainwright.run.recall import judge_stored

    found = run if isinstance(run, api.Run) else api.load(run, store=store)
    return _spoken(judge_stored(found.record, found.readings(), mute=mute)[0])


def check_recipe(
    recipe: Recipe, *, allow_code: bool = False, mute: Collection[str] = ()
) -> Diagnosis:
    """What is wrong with a recipe and its data before the first step."""
    from trainwright.diagnose.judge import judge
    from trainwright.run.assemble import assemble
    from trainwright.run.facts import facts_of
    from trainwright.run.surroundings import own_randomness

    with own_randomness(recipe.seed):
        assembly = assemble(recipe, allow_code=allow_code)
        try:
            facts = facts_of(assembly, reference=True)
        finally:
            assembly.prepared.close()
    return _spoken(judge(facts, mute=mute))
