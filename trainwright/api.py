"""What does a Python user call? fit, resume and load, and the Run that they return."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright import recipe as recipes
from trainwright.core.errors import TrainwrightError, shown, system_reason
from trainwright.core.phrases import phrase
from trainwright.core.records import Metric, Notice, RunRecord, RunState
from trainwright.recipe import Live, Recipe
from trainwright.run.messages import Listener, nobody
from trainwright.watch.share import SHARE, check_share

if TYPE_CHECKING:
    import numpy as np
    import polars
    from torch import nn

    from trainwright.run.use import Predictor
    from trainwright.store.contract import Reading, Store

Settings = Mapping[str, Any]


class Run:
    """One run: its record, and what can be done with it."""

    def __init__(
        self, record: RunRecord, store: Store, *, predictor: Predictor | None = None,
        own: Any = None, allow_code: bool = False,
    ) -> None:  # fmt: skip
        self.record = record
        self._store = store
        self._predictor = predictor
        self._own = own
        self._allow_code = allow_code

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def state(self) -> RunState:
        """new, running, interrupted, failed or finished."""
        return self.record.state

    @property
    def recipe(self) -> Recipe:
        return recipes.from_plain(self.record.recipe)

    @property
    def model(self) -> nn.Module:
        """The trained network, in eval mode, with the chosen weights."""
        return self._use().module

    @property
    def metrics(self) -> dict[str, dict[str, Metric]]:
        """Metrics with intervals, by split and name."""
        return {split: dict(values) for split, values in self.record.metrics.items()}

    @property
    def weights_sha256(self) -> str:
        """sha256 over the chosen weights' bytes in name order."""
        return self.record.weights_sha256

    @property
    def history(self) -> polars.DataFrame:
        """One row per recorded step and split: step, split, loss, and what else was measured."""
        import polars

        rows = [
            {"step": r.step, "split": r.kind, **{k: float(v) for k, v in r.values.items()}}
            for r in self.readings()
            if r.kind in ("train", "valid")
        ]
        return polars.DataFrame(rows, infer_schema_length=None)

    def readings(self) -> list[Reading]:
        """The history as it was written, every kind of it."""
        found, _ = self._store.readings(self.id)
        return found

    def predict(self, source: Any) -> np.ndarray:
        """Class names or numbers, one per example of new data (what `fit` took, without target)."""
        predictor = self._use()
        probabilities, _ = predictor.probabilities(source)
        return predictor.answers(probabilities)

    def predict_proba(self, source: Any) -> np.ndarray:
        """[example, class_] probabilities, columns in the order of `classes`."""
        if not self._use().task.is_classification:
            raise TrainwrightError(
                phrase("a regression has no class probabilities"),
                allowed=phrase("classification"),
                do=phrase("use .predict"),
            )
        return self._use().probabilities(source)[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of predict_proba's columns."""
        return self._use().task.classes

    def report(self, path: str | Path | None = None) -> Path:
        """Writes the run's self-contained HTML page; by default `<id>.html` here."""
        from trainwright.report.page import render_page

        place = Path(path) if path is not None else Path(f"{self.id}.html")
        readings = self.readings()
        diagnosis, history = None, None
        if self.record.facts is not None:
            from trainwright.run.recall import judge_stored

            diagnosis, history = judge_stored(self.record, readings)
        page = render_page(self.record, readings, diagnosis=diagnosis, watched=history)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(page, encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise TrainwrightError(
                phrase(
                    "the report cannot be written to {path}: {reason}",
                    path=shown(str(place)),
                    reason=system_reason(error),
                ),
                allowed=phrase("a folder that can be written"),
                do=phrase("name another file"),
            ) from None
        return place

    def __repr__(self) -> str:
        headline = ", ".join(
            f"{split} {name} {metric.value:.4g}"
            for split, values in self.record.metrics.items()
            for name, metric in list(values.items())[1:2]
        )
        return f"<Run {self.id}: {self.state} at step {self.record.steps}; {headline}>"

    def _use(self) -> Predictor:
        if self._predictor is None:
            from trainwright.run.use import load_predictor

            self._predictor = load_predictor(
                self._store, self.record, model=self._own, allow_code=self._allow_code
            )
        return self._predictor


def fit(
    source: Any,
    y: Any = None,
    *,
    target: str | None = None,
    recipe: Recipe | str | Path | None = None,
    model: Any = None,
    loss: Any = None,
    algorithm: Settings | None = None,
    data: Settings | None = None,
    budget: str | None = None,
    seed: int = 0,
    store: str | Path | Store | None = None,
    name: str | None = None,
    quiet: bool = False,
    watch: bool | float = True,
    allow_code: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Trains on a file, folder, `sklearn:digits`, or live arrays X and y, and judges the result.

    `model` and `loss` are a name, a table of knobs, or the user's own module, class or function;
    `store` is a URL or path, or None to write nothing. `watch` is the share of the time that
    watching may take (True: 2 %), for `tw.diagnose(run)`; False: nobody watches. A run that was
    interrupted or whose loss left the numbers comes back with that `.state`.

    Raises TrainwrightError with everything that is to be mended.
    """
    made = make_recipe(
        source, y, target=target, recipe=recipe, model=model, loss=loss, algorithm=algorithm,
        data=data, budget=budget, seed=seed,
    )  # fmt: skip
    place, kept = open_place(store)
    return start(
        made, place, name=name, listener=listener or _listener(quiet), allow_code=allow_code,
        keeps=kept, command="tw.fit(...)", watch=watch,
    )  # fmt: skip


def start(
    recipe: Recipe, store: Store, *, name: str | None, listener: Listener, allow_code: bool,
    keeps: bool, command: str, watch: bool | float = True,
) -> Run:  # fmt: skip
    """Begins and runs a recipe in an open store."""
    from dataclasses import replace

    from trainwright.run.begin import begin

    recipe, notices = _measured(recipe, listener, allow_code)
    share = SHARE if watch is True else float(watch)
    if share:
        check_share(share)
    execution = begin(
        recipe, store, run_id=free_name(name, store),
        listener=listener, command=command,
        allow_code=allow_code, keeps=keeps, watch_budget=share,
    )  # fmt: skip
    execution.record = replace(execution.record, notices=notices)
    execution.run(resume=False)
    return _done(execution, store, own=recipe.live.model, allow_code=allow_code)


def _measured(
    recipe: Recipe, listener: Listener, allow_code: bool
) -> tuple[Recipe, tuple[Notice, ...]]:
    """The recipe with a number for a learning rate that is to be `measured`, and what is said of
    it."""
    if recipe.algorithm.learning_rate != "measured":
        return recipe, ()
    from trainwright.exam.rate import with_measured_rate
    from trainwright.run.messages import Said

    found, notice = with_measured_rate(recipe, allow_code=allow_code)
    listener(Said(notice=notice))
    return found, (notice,)


def resume(
    run_id: str, *, store: str | Path | Store, source: Any = None, y: Any = None,
    model: Any = None, loss: Any = None, quiet: bool = False, allow_code: bool = False,
    listener: Listener | None = None, budget: str | None = None,
) -> Run:  # fmt: skip
    """Goes on with a stopped run, from its newest checkpoint to the same bit.

    Live parts of the recipe (arrays, a module) must be given again.
    """
    from trainwright.run.begin import go_on

    place, _ = open_place(store)
    record = place.run(run_id)
    live = Live(source=source, target=y, model=model, loss=loss)
    execution = go_on(record, place, live=live, listener=listener or _listener(quiet),
                      allow_code=allow_code)  # fmt: skip
    execution.run(resume=True)
    return _done(execution, place, own=model, allow_code=allow_code)


def load(
    run_id: str, *, store: str | Path | Store | None = None, model: Any = None,
    allow_code: bool = False,
) -> Run:  # fmt: skip
    """A run from a store (`./trainwright.db` by default); `model` rebuilds one that was live."""
    from trainwright.store.open import DEFAULT_URL, open_run

    place = store if store is not None else DEFAULT_URL
    if isinstance(place, str | Path):
        place, record = open_run(run_id, place, allowed=phrase("the name of a run"))
    else:
        record = place.run(run_id)
    return Run(record, place, own=model, allow_code=allow_code)


def make_recipe(
    source: Any = None, y: Any = None, *, target: str | None = None,
    recipe: Recipe | str | Path | None = None, model: Any = None, loss: Any = None,
    algorithm: Settings | None = None, data: Settings | None = None, budget: str | None = None,
    seed: int = 0,
) -> Recipe:  # fmt: skip
    """The recipe that `fit`'s arguments stand for."""
    base = recipe if isinstance(recipe, Recipe) else recipes.load(recipe) if recipe else Recipe()
    settings: dict[str, Any] = {}
    live: dict[str, Any] = {}
    if isinstance(source, (str, Path)) and y is None:
        settings["data.source"] = str(source)
    elif source is not None:
        live |= {"source": source, "target": y}
    for group, part in (("model", model), ("loss", loss)):
        if isinstance(part, str):
            settings[f"{group}.name"] = part
        elif isinstance(part, Mapping):
            settings |= {f"{group}.{key}": value for key, value in part.items()}
        elif part is not None:
            live[group] = part
    for group, table in (("algorithm", algorithm), ("data", data)):
        settings |= {f"{group}.{key}": value for key, value in (table or {}).items()}
    settings |= {} if target is None else {"data.target": target}
    settings |= {} if budget is None else {"budget": budget}
    settings |= {"seed": seed} if seed != 0 else {}
    edited = recipes.edit(base, settings)
    return edited.model_copy(update={"live": Live(**live)}) if live else edited


def _done(execution: Any, store: Store, *, own: Any, allow_code: bool) -> Run:
    from trainwright.run.use import Predictor

    assembly = execution.assembly
    predictor = Predictor(
        module=assembly.module.eval(), objective=assembly.objective,
        encoder=assembly.prepared.encoder,
    )  # fmt: skip
    return Run(execution.record, store, predictor=predictor, own=own, allow_code=allow_code)


def open_place(store: str | Path | Store | None) -> tuple[Store, bool]:
    """The store, and whether it outlives this process."""
    from trainwright.store.memory import MemoryStore
    from trainwright.store.open import open_store

    opened = open_store(store) if store is None or isinstance(store, (str, Path)) else store
    return opened, not isinstance(opened, MemoryStore)


def _new_name(store: Store) -> str:
    from trainwright.store.names import new_name

    return new_name(lambda name: _is_taken(name, store))


def free_name(name: str | None, store: Store) -> str:
    """`name`, refused before any data is read when it is unfit or taken; a new one when there is
    none. Raises StoreError."""
    if not name:
        return _new_name(store)
    from trainwright.store.names import check_name, name_taken

    check_name(name)
    if _is_taken(name, store):
        raise name_taken(name, store.place)
    return name


def _is_taken(name: str, store: Store) -> bool:
    from trainwright.core.errors import StoreError

    try:
        return store.run(name).id == name
    except StoreError:
        return False


def _listener(quiet: bool) -> Listener:
    if quiet:
        return nobody
    from trainwright.report.live import listener_for

    return listener_for(sys.stderr)
