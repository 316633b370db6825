"""How does a run come to be, and how is a stopped one taken up again? A recipe or a record becomes
an Execution."""

import secrets
import time
from dataclasses import replace

from trainwright import recipe as recipes
from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.recipe import Live, Recipe
from trainwright.run.execute import Execution, nothing_to_resume
from trainwright.run.messages import Listener, nobody
from trainwright.store.contract import Store
from trainwright.store.memory import MemoryStore
from trainwright.watch.share import SHARE


def begin(
    recipe: Recipe,
    store: Store,
    *,
    run_id: str,
    listener: Listener,
    command: str,
    allow_code: bool,
    keeps: bool,
    watch_budget: float,
) -> Execution:
    """A new run, ready to be run; it enters the store once its parts fit together."""
    record = RunRecord(
        id=run_id,
        state="new",
        created=time.time(),
        recipe=recipes.to_plain(recipe) | {"live": list(recipe.live.names)},
        recipe_hash=recipes.recipe_hash(recipe),
        portable=recipe.portable,
        command=command,
    )
    return Execution(
        store=store,
        record=record,
        recipe=recipe,
        listener=listener,
        allow_code=allow_code,
        keeps=keeps,
        watch_budget=watch_budget,
    )


def run_in_memory(recipe: Recipe, *, command: str, allow_code: bool = False) -> Execution:
    """A whole run that leaves nothing behind, unwatched; see `run_apart`."""
    return run_apart(recipe, MemoryStore(), command=command, allow_code=allow_code)


def run_apart(
    recipe: Recipe, store: Store, *, command: str, allow_code: bool = False,
    watch_budget: float = 0.0,
) -> Execution:  # fmt: skip
    """A whole run for experiments, in a store that users do not see: trained, judged, and over.

    A run answers Ctrl-C by ending in order; here it is raised again, so that what is around the run
    ends too.
    """
    execution = begin(
        recipe, store, run_id=f"{command}-{recipe.seed}-{secrets.token_hex(4)}", listener=nobody,
        command=command, allow_code=allow_code, keeps=False, watch_budget=watch_budget,
    )  # fmt: skip
    if execution.run(resume=False).state == "interrupted":
        raise KeyboardInterrupt
    return execution


def go_on(
    record: RunRecord, store: Store, *, live: Live, listener: Listener, allow_code: bool
) -> Execution:
    """A stopped run, ready to go on.

    Raises RunFailed when there is nothing to go on with, TrainwrightError when live parts of the
    recipe are missing.
    """
    if record.state == "finished":
        raise nothing_to_resume(record.id)
    recipe = recipe_of(
        record, live, allowed=phrase("the same objects again, from Python"),
        do=f"tw.resume({record.id!r}, store=..., source=X, y=y, model=YourNet)",
    )  # fmt: skip
    return Execution(store=store, record=replace(record, stopped=None), recipe=recipe,
                     listener=listener, allow_code=allow_code, watch_budget=SHARE)  # fmt: skip


def recipe_of(record: RunRecord, live: Live, *, allowed: str, do: str) -> Recipe:
    """The recipe of a stored run, with the live objects that it was given.

    Raises TrainwrightError, saying `allowed` and `do`, when one of them is missing.
    """
    missing = sorted(set(record.recipe.get("live", ())) - set(live.names))
    if missing:
        raise TrainwrightError(
            phrase("run {run} was given live objects for {names}",
                   run=record.id, names=", ".join(missing)),
            allowed=allowed, do=do,
        )  # fmt: skip
    return recipes.from_plain(record.recipe).model_copy(update={"live": live})
