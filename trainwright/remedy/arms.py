"""How are two recipes run side by side? The same seeds for both, so that split, order and, where
shapes allow, the start are the same; each run in its own process, as many as there are cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.core.task import LOWER_IS_BETTER
from trainwright.recipe import Recipe
from trainwright.remedy.proof import (
    MARGIN,
    Arm,
    Comparison,
    Outcome,
    is_clear,
    looks_for,
    prove,
)
from trainwright.watch.share import SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One run of a comparison is over: which arm (0 or 1), its seed, what it came to."""

    arm: int
    outcome: Outcome


Tell = Callable[[Ended], None]
Job = tuple[int, Recipe, int]  # arm, recipe, seed


def compare_recipes(
    first: Recipe,
    second: Recipe,
    *,
    seeds: int = 5,
    first_seed: int = 0,
    metric: str | None = None,
    finding: str = "",
    margin: float = MARGIN,
    allow_code: bool = False,
    processes: int | None = None,
    tell: Tell = lambda ended: None,
    names: tuple[str, str] = ("before", "after"),
) -> Comparison:
    """`second` against `first` on the held-out split that each run ends with.

    Pairs are added until the answer is clear, at most `seeds`. A run that crashes or leaves the
    numbers counts as one that learned nothing. Raises TrainwrightError when no arm ends in a
    score, with the first arm's own reason.
    """
    _check(seeds)
    outcomes: dict[tuple[int, int], Outcome] = {}
    chosen: list[str] = [metric] if metric else []
    resolutions: list[float] = []
    reasons: list[str] = []
    found: Comparison | None = None
    planned = looks_for(seeds)
    with _workers(processes, (first, second)) as run_all:
        for look, pairs in enumerate(planned):
            have = planned[look - 1] if look else 0
            jobs = [(arm, recipe, first_seed + k) for k in range(have, pairs)
                    for arm, recipe in enumerate((first, second))]  # fmt: skip
            for arm, done in run_all(jobs, metric=metric, allow_code=allow_code):
                outcomes[arm, done.outcome.seed] = done.outcome
                chosen += [done.metric] if done.metric else []
                resolutions += [done.resolution] if done.resolution else []
                reasons += [done.reason] if done.reason else []
                tell(Ended(arm=arm, outcome=done.outcome))
            if not chosen:
                raise TrainwrightError(
                    phrase("no run of either arm ended in a score: {reason}",
                           reason=reasons[0] if reasons else "?"),
                    allowed=phrase("recipes of which at least one can be trained"),
                    do=phrase("train the first one alone with `trainwright fit` and mend it"),
                )  # fmt: skip
            found = _judged(outcomes, first_seed, pairs, look, seeds, names, chosen[0],
                            resolution=min(resolutions, default=0.0), finding=finding,
                            margin=margin, notes=tuple(dict.fromkeys(reasons)))  # fmt: skip
            if is_clear(found):
                break
    assert found is not None, planned
    return found


def _check(seeds: int) -> None:
    if seeds < 1:
        raise TrainwrightError(
            phrase("{count} seeds", count=seeds),
            allowed=phrase("1 or more; 3 or more for a verdict"),
            do=phrase("leave it out for 5"),
        )


def _judged(
    outcomes: dict[tuple[int, int], Outcome], first_seed: int, pairs: int, look: int, most: int,
    names: tuple[str, str], metric: str, *, resolution: float, finding: str, margin: float,
    notes: tuple[str, ...],
) -> Comparison:  # fmt: skip
    arms = [
        Arm(name=names[arm],
            outcomes=tuple(outcomes[arm, first_seed + k] for k in range(pairs)))
        for arm in (0, 1)
    ]  # fmt: skip
    known = [o.score for arm in arms for o in arm.outcomes if o.score is not None]
    return prove(
        arms[0], arms[1], metric=metric, most=most, look=look, notes=notes, finding=finding,
        worst=min([0.0, *known]), resolution=resolution, margin=margin,
    )  # fmt: skip


# --- runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run that is over: its outcome, which metric was read, the metric's smallest step, and why
    there is no score."""

    outcome: Outcome
    metric: str = ""
    resolution: float = 0.0
    reason: str = ""


RunAll = Callable[..., Iterator[tuple[int, Done]]]


@contextmanager
def _workers(processes: int | None, arms: tuple[Recipe, Recipe]) -> Iterator[RunAll]:
    """A function that runs jobs and yields (arm, done) as they end: in processes, or here, one
    after another, where live objects cannot be sent to another process."""
    count = processes or os.cpu_count() or 1
    if count == 1 or not all(arm.portable for arm in arms):

        def run_here(jobs: Sequence[Job], **how: object) -> Iterator[tuple[int, Done]]:
            for arm, recipe, seed in jobs:
                yield arm, run_one(recipe, seed, **how)  # pyright: ignore[reportArgumentType]

        yield run_here
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool,
    ):

        def run_apart(jobs: Sequence[Job], **how: object) -> Iterator[tuple[int, Done]]:
            futures: dict[Future[Done], int] = {
                pool.submit(run_one, recipe, seed, **how): arm  # pyright: ignore[reportArgumentType]
                for arm, recipe, seed in jobs
            }
            for future in as_completed(futures):
                yield futures[future], future.result()

        try:
            yield run_apart
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start within compute on one thread each: together they use the cores."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def run_one(recipe: Recipe, seed: int, *, metric: str | None, allow_code: bool) -> Done:
    """One run in memory, judged and diagnosed; a crash is an outcome."""
    from trainwright.run.begin import begin
    from trainwright.run.messages import nobody
    from trainwright.run.recall import judge_stored
    from trainwright.store.memory import MemoryStore

    seeded = recipe.model_copy(update={"seed": seed, "baselines": False})
    store = MemoryStore()
    try:
        execution = begin(
            seeded, store, run_id=f"arm-{seed}", listener=nobody, command="compare",
            allow_code=allow_code, keeps=False, watch_budget=SHARE,
        )  # fmt: skip
        record = execution.run(resume=False)
        readings, _ = store.readings(record.id)
        found, _ = judge_stored(record, readings)
        open_codes = tuple(f.code for f in found.findings)
    except TrainwrightError as error:
        return Done(outcome=Outcome(seed=seed, score=None, state="failed"), reason=str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        return Done(outcome=Outcome(seed=seed, score=None, state="failed"), reason=reason)
    name, value, count = _score(record, metric)
    outcome = Outcome(
        seed=seed, score=value, state=record.state, seconds=record.seconds,
        num_parameters=record.num_parameters, open=open_codes,
    )  # fmt: skip
    step = 1 / count if name in ("accuracy",) and count else 0.0
    return Done(outcome=outcome, metric=name, resolution=step)


def _score(record: RunRecord, metric: str | None) -> tuple[str, float | None, int]:
    """(metric, its value as larger is better, number of held-out examples); an empty name when
    the run was not judged."""
    split = next((s for s in ("test", "valid", "train") if s in record.metrics), None)
    if split is None:
        return "", None, 0
    measured = record.metrics[split]
    name = metric or ("r2" if "r2" in measured else "accuracy")
    if name not in measured:
        raise TrainwrightError(
            phrase("there is no metric {name}", name=shown(name)),
            allowed=", ".join(measured),
            do=phrase("name one of these, or leave it out"),
        )
    value = measured[name].value
    understanding = record.understanding
    count = understanding.num_examples.get(split, 0) if understanding is not None else 0
    return name, -value if name in LOWER_IS_BETTER else value, count
