"""What does a Python user call to settle, try and mend? exam, compare, try_remedy and heal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright import recipe as recipes
from trainwright.core.errors import RunNotFound, TrainwrightError, shown, system_reason
from trainwright.core.phrases import phrase
from trainwright.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from trainwright.api import Run
    from trainwright.edit.edit import Target
    from trainwright.exam.exam import Exam
    from trainwright.remedy import heal as records
    from trainwright.remedy.proof import Comparison
    from trainwright.store.contract import Store

FRESH_SEED = 1000  # a remedy is proven on seeds that the run did not use


def compare(
    a: Recipe | str | Path,
    b: Recipe | str | Path,
    *,
    seeds: int = 5,
    metric: str | None = None,
    budget: str | None = None,
    first_seed: int = 0,
    finding: str = "",
    processes: int | None = None,
    quiet: bool = False,
    allow_code: bool = False,
) -> Comparison:
    """Trains both recipes on the same seeds (same split, same order, the same start where shapes
    allow) and says whether `b` is better than `a` on held-out examples, by how much, how sure.

    Pairs of runs are added until the answer is clear, at most `seeds`. `metric` is one of the
    task's (accuracy or r2 when left out); `budget` replaces both recipes' own; `finding` is a
    rule's code that `b` is meant to close. Raises TrainwrightError when neither can be trained.
    """
    from trainwright.remedy.arms import compare_targets
    from trainwright.report.comparison import progress

    arms = [_recipe(part, budget) for part in (a, b)]
    with progress(sys.stderr, runs=2 * seeds, quiet=quiet) as tell:
        return compare_targets(
            arms[0], arms[1], seeds=seeds, metric=metric, first_seed=first_seed, finding=finding,
            processes=processes, allow_code=allow_code, tell=tell, names=_names(a, b),
        )  # fmt: skip


def _recipe(part: Any, budget: str | None) -> Recipe:
    if not isinstance(part, Recipe | str | Path):
        raise TrainwrightError(
            phrase("{value} is no recipe", value=shown(type(part).__name__)),
            allowed=phrase("a Recipe, or the path of one in TOML"),
            do=phrase("tw.Recipe(...), or `trainwright recipe new SOURCE` for a file"),
        )
    made = part if isinstance(part, Recipe) else recipes.load(part)
    if budget is None:
        return made
    return recipes.edit(made, {"budget": budget}).model_copy(update={"live": made.live})


def _names(a: Any, b: Any) -> tuple[str, str]:
    """What the two sides are called: their files' names, where they have one each."""
    names = [Path(part).name if isinstance(part, str | Path) else "" for part in (a, b)]
    if "" in names or names[0] == names[1]:
        return "before", "after"
    return names[0], names[1]


def try_remedy(
    run: Run | str,
    code: str,
    seeds: int = 5,
    *,
    store: str | Path | Store | None = None,
    budget: str | None = None,
    first_seed: int = FRESH_SEED,
    model: Any = None,
    quiet: bool = False,
    allow_code: bool = False,
) -> Comparison:
    """A stored run's recipe as it was against the same with one remedy, on fresh seeds. `code` is a
    remedy's name (`lower_learning_rate`) or a rule's (`A401`: the first of its remedies that fits).

    Raises TrainwrightError for a run whose live parts are not here, and for a remedy that does not
    fit, with the reason.
    """
    from trainwright.remedy.arms import compare_targets
    from trainwright.remedy.single import remedied
    from trainwright.report.comparison import progress

    before = _run(run, store, model)
    recipe = _recipe(_recipe_of(before), budget)
    after, name, finding = remedied(recipe, before.record, before.readings(), code)
    known = before.record.facts.score if before.record.facts is not None else None
    with progress(sys.stderr, runs=2 * seeds, quiet=quiet) as tell:
        return compare_targets(
            recipe, after, seeds=seeds, first_seed=first_seed, finding=finding, known=known,
            allow_code=allow_code, tell=tell, names=(phrase("before"), name),
        )  # fmt: skip


def heal(
    target: Any,
    data: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    valid: Any = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    budget: str | float | None = None,
    seeds: int = 3,
    without: Sequence[str] = (),
    store: str | Path | Store | None = None,
    quiet: bool = False,
    allow_code: bool = False,
) -> Healing:
    """Diagnoses, tries remedies one at a time, keeps what helps, and proves it on fresh seeds.

    `target` is a recipe (a Recipe, or its file), a run (a Run, or its name), a data file; or a
    network of your own, or better a function that makes it, with `data=(X, y)`, `loss` and
    `optimizer` (an optimiser, its class, or a function of the parameters). `budget` is in seconds:
    ten times one run, at most five minutes, when left out. A healthy target is left alone. The heal
    of a recipe or a run that was stopped goes on where it was when it is begun again; its runs lie
    in a file beside the store until it is over.

    Raises TrainwrightError where there is nothing to train again.
    """
    from trainwright.remedy.heal import heal as heal_target
    from trainwright.report.healing import progress

    if data is not None:
        made: Target = _program(target, data, loss, optimizer, valid, batch_size, epochs)
    else:
        made = _recipe(_target(target, store), None)
    seconds = _seconds(budget)
    with progress(sys.stderr, quiet=quiet, budget=seconds) as tell:
        found = heal_target(made, budget=seconds, seeds=seeds, allow_code=allow_code,
                            without=without, folder=_folder(store), tell=tell)  # fmt: skip
    return Healing(found, allow_code=allow_code)


def _folder(store: Any) -> Path | None:
    """Where the store's file lies, of which a heal keeps its runs beside; None for other stores."""
    from trainwright.store.open import DEFAULT_URL

    if store is None:
        return Path(DEFAULT_URL).parent
    if not isinstance(store, str | Path) or "://" in str(store):
        return None
    return Path(store).parent


def exam(
    target: Any, name: str, *, budget: str | float | None = None,
    store: str | Path | Store | None = None, allow_code: bool = False,
) -> Exam:  # fmt: skip
    """One small experiment on a run's or a recipe's training, which settles what readings cannot.

    Raises TrainwrightError for an exam that does not apply, with the reason.
    """
    from trainwright.exam.ask import run_exam

    made = target if _is_program(target) else _recipe(_target(target, store), None)
    return run_exam(made, name, budget=_seconds(budget), allow_code=allow_code)


def _is_program(target: Any) -> bool:
    from trainwright.edit.program import Program

    return isinstance(target, Program)


def _program(
    model: Any, data: Any, loss: Any, optimizer: Any, valid: Any, batch_size: int | None,
    epochs: int | None,
) -> Target:  # fmt: skip
    missing = [name for name, part in (("loss", loss), ("optimizer", optimizer)) if part is None]
    if missing:
        raise TrainwrightError(
            phrase("{names} is missing", names=", ".join(missing)),
            allowed=phrase("a network of your own needs its data, loss and optimiser"),
            do="tw.heal(Net, (X, y), loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam)",
        )
    from trainwright.edit.given import program_from

    return program_from(model, data, loss=loss, optimizer=optimizer, valid=valid,
                        batch_size=batch_size, epochs=epochs)  # fmt: skip


def _target(target: Any, store: Any) -> Any:
    """A recipe, or the path of one; runs become theirs, data files a fresh one."""
    from trainwright import api
    from trainwright.store.names import file_for_run, is_path

    if isinstance(target, Recipe):
        return target
    if isinstance(target, api.Run):
        return _recipe_of(target)
    if not isinstance(target, str | Path):
        raise TrainwrightError(
            phrase("{value} cannot be trained again", value=shown(type(target).__name__)),
            allowed=phrase("a recipe, a run, a data file; a network with data, loss and optimiser"),
            do="tw.heal(Net, (X, y), loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam)",
        )
    text = str(target)
    if text.endswith(".toml"):
        return target
    if Path(text).exists() or ":" in text:
        return api.make_recipe(text)
    try:
        return _recipe_of(api.load(text, store=store))
    except RunNotFound:
        if not is_path(text):
            raise
        taken = phrase("a recipe in TOML, data, or the name of a run")
        raise file_for_run(text, allowed=taken) from None


def _run(run: Run | str, store: Any, model: Any) -> Run:
    from trainwright import api

    return run if isinstance(run, api.Run) else api.load(run, store=store, model=model)


def _recipe_of(run: Run) -> Recipe:
    """The recipe of a run, to be trained again. Raises TrainwrightError where live parts of it are
    gone."""
    if not run.record.portable:
        raise TrainwrightError(
            phrase("run {run} trained live objects, which a store cannot hold", run=run.id),
            allowed=phrase("a run from files or named data"),
            do="tw.heal(Net, (X, y), loss=..., optimizer=...)",
        )
    return run.recipe


def _seconds(budget: str | float | None) -> float | None:
    """Seconds of a budget in words (`60s`) or numbers. Raises TrainwrightError for others."""
    if budget is None or isinstance(budget, int | float):
        return budget
    from trainwright.core.budget import parse_seconds

    seconds = parse_seconds(budget)
    if seconds is None:
        raise TrainwrightError(
            phrase("{budget} is no time", budget=shown(budget)),
            allowed=phrase("seconds or minutes, as 60s or 3min"),
            do=phrase("leave it out for ten times one run"),
        )
    return seconds


class Healing:
    """What became of a heal: `print(healing)` is the card that the command line shows, `record` all
    of it as plain values."""

    def __init__(self, record: records.Healing, *, allow_code: bool = False) -> None:
        self.record = record
        self._allow_code = allow_code

    @property
    def state(self) -> records.State:
        """healthy, improved, stuck, or left alone."""
        return self.record.state

    @property
    def steps(self) -> tuple[records.Step, ...]:
        """Everything that was tried, the run as it was first."""
        return self.record.steps

    @property
    def proof(self) -> Comparison | None:
        """The target as it was against the healed one on fresh seeds; None where nothing helped."""
        return self.record.proof

    @property
    def recipe(self) -> Recipe | None:
        """The healed recipe (the given one, where nothing helped); None for a live network."""
        target = self.record.target
        return target if isinstance(target, Recipe) else None

    @property
    def diff(self) -> tuple[Any, ...]:
        """(knob, old, new) of a recipe; of a program the lines to change in one's own code."""
        before, target = self.record.before, self.record.target
        if isinstance(before, Recipe) and isinstance(target, Recipe):
            return tuple(recipes.diff(before, target))
        return self.record.lines

    @cached_property
    def model(self) -> nn.Module:
        """The healed network, trained when it is first asked for (a recipe at its own seed, a
        program at seed 0). It takes inputs and gives outputs as `diff` leaves them: standardised,
        where that is one of its lines."""
        import torch

        with torch.enable_grad():  # it may be asked for where answers are wanted
            return self._trained()

    def _trained(self) -> nn.Module:
        target = self.record.target
        if not isinstance(target, Recipe):
            from trainwright.edit.loop import train

            return train(target, 0).model
        from trainwright import api
        from trainwright.run.messages import nobody
        from trainwright.store.memory import MemoryStore

        return api.start(target, MemoryStore(), name=None, listener=nobody, keeps=False,
                         command="tw.heal(...)", allow_code=self._allow_code,
                         watch=False).model  # fmt: skip

    def report(self, path: str | Path = "heal.html") -> Path:
        """Writes one HTML page that needs nothing else. Raises TrainwrightError where it cannot."""
        from trainwright.report.healing_page import render_healing

        place = Path(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(render_healing(self.record), encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise TrainwrightError(
                phrase("the report cannot be written to {path}: {reason}",
                       path=shown(str(place)), reason=system_reason(error)),
                allowed=phrase("a folder that can be written"), do=phrase("name another file"),
            ) from None  # fmt: skip
        return place

    def __str__(self) -> str:
        from trainwright.report.healing import as_text

        return as_text(self.record)

    __repr__ = __str__
