"""How are two targets run side by side? The same seeds for both, so that split, order and, where
shapes allow, the start are the same; each run in its own process, as many as there are cores."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from trainwright.core.errors import TrainwrightError
from trainwright.core.facts import ScoreFacts
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Target
from trainwright.exam.arms import LEAST_R2
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
from trainwright.remedy.visit import known_of, visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One run of a comparison is over: which arm (0 or 1), its seed, what it came to."""

    arm: int
    outcome: Outcome


Tell = Callable[[Ended], None]
Job = tuple[int, Target, int]  # arm, target, seed


def compare_targets(
    first: Target,
    second: Target,
    *,
    seeds: int = 5,
    more: int = 0,
    first_seed: int = 0,
    metric: str | None = None,
    finding: str = "",
    margin: float = MARGIN,
    allow_code: bool = False,
    processes: int | None = None,
    tell: Tell = lambda ended: None,
    names: tuple[str, str] = ("before", "after"),
    known: ScoreFacts | None = None,
    past: str = "",
    deadline: float = math.inf,
) -> Comparison:
    """`second` against `first` on the held-out split that each run ends with.

    Pairs are added until the answer is clear, at most `seeds`, and none after `deadline` on
    `time.perf_counter`'s clock; the first FEWEST_PAIRS are run in any case. `more` pairs follow
    where it is not clear by then, if they end before the deadline at the pace until then. A run
    that crashes or leaves the numbers counts as the best constant answer. `known` is what can be
    had on these data, found out where it is left out; `past` is the file of `remedy.past`.

    Raises TrainwrightError when no arm ends in a score, with the first arm's own reason.
    """
    _check(seeds)
    outcomes: dict[tuple[int, int], Outcome] = {}
    chosen: list[str] = [metric] if metric else []
    resolutions: list[float] = []
    constants: list[float] = []
    reasons: list[str] = []
    known = known or known_of(first, allow_code=allow_code)
    how = {"metric": metric, "allow_code": allow_code, "known": known, "past": past}
    found: Comparison | None = None
    planned = looks_for(seeds, more)
    began = time.perf_counter()
    with _workers(processes, (first, second)) as run_all:
        for look, pairs in enumerate(planned):
            have = planned[look - 1] if look else 0
            jobs = [(arm, target, first_seed + k) for k in range(have, pairs)
                    for arm, target in enumerate((first, second))]  # fmt: skip
            for arm, done in run_all(jobs, **how):
                outcomes[arm, done.outcome.seed] = done.outcome
                chosen += [done.metric] if done.metric else []
                resolutions += [done.resolution] if done.resolution else []
                constants += [done.constant] if done.constant is not None else []
                reasons += [done.reason] if done.reason else []
                tell(Ended(arm=arm, outcome=done.outcome))
            if not chosen:
                raise TrainwrightError(
                    phrase("no run of either arm ended in a score: {reason}",
                           reason=reasons[0] if reasons else "?"),
                    allowed=phrase("recipes of which at least one can be trained"),
                    do=phrase("train the first one alone with `trainwright fit` and mend it"),
                )  # fmt: skip
            found = _judged(outcomes, first_seed, pairs, look, seeds, more, names, chosen[0],
                            resolution=min(resolutions, default=0.0), finding=finding,
                            constant=min(constants, default=None),
                            margin=margin, notes=tuple(dict.fromkeys(reasons)))  # fmt: skip
            pace = (time.perf_counter() - began) / pairs
            needed = more * pace if pairs == seeds else 0.0
            if is_clear(found) or time.perf_counter() + needed > deadline:
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
    more: int, names: tuple[str, str], metric: str, *, resolution: float, finding: str,
    margin: float, constant: float | None, notes: tuple[str, ...],
) -> Comparison:  # fmt: skip
    arms = [
        Arm(name=names[arm],
            outcomes=tuple(outcomes[arm, first_seed + k] for k in range(pairs)))
        for arm in (0, 1)
    ]  # fmt: skip
    scores = [o.score for arm in arms for o in arm.outcomes if o.score is not None]
    worst = min([0.0, *scores]) if constant is None else constant
    return prove(
        arms[0], arms[1], metric=metric, most=most, more=more, look=look, notes=notes,
        finding=finding, worst=worst, resolution=resolution, margin=margin,
    )  # fmt: skip


# --- runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run that is over: its outcome, which metric was read, the metric's smallest step, what the
    best constant answer scores, and why there is no score."""

    outcome: Outcome
    metric: str = ""
    resolution: float = 0.0
    constant: float | None = None
    reason: str = ""


RunAll = Callable[..., Iterator[tuple[int, Done]]]


@contextmanager
def _workers(processes: int | None, arms: tuple[Target, Target]) -> Iterator[RunAll]:
    """A function that runs jobs and yields (arm, done) as they end: in processes, or here, one
    after another, where live objects cannot be sent to another process."""
    count = processes or os.cpu_count() or 1
    if count == 1 or not all(_is_portable(arm) for arm in arms):

        def run_here(jobs: Sequence[Job], **how: object) -> Iterator[tuple[int, Done]]:
            for arm, target, seed in jobs:
                yield arm, run_one(target, seed, **how)  # pyright: ignore[reportArgumentType]

        yield run_here
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool,
    ):

        def run_apart(jobs: Sequence[Job], **how: object) -> Iterator[tuple[int, Done]]:
            futures: dict[Future[Done], int] = {
                pool.submit(run_one, target, seed, **how): arm  # pyright: ignore[reportArgumentType]
                for arm, target, seed in jobs
            }
            for future in as_completed(futures):
                yield futures[future], future.result()

        try:
            yield run_apart
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _is_portable(target: Target) -> bool:
    """Whether another process can train it: live parts stay in this one."""
    return isinstance(target, Recipe) and target.portable


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


def run_one(
    target: Target, seed: int, *, metric: str | None = None, allow_code: bool = False,
    known: ScoreFacts | None = None, past: str = "",
) -> Done:  # fmt: skip
    """One training, judged and diagnosed; a crash is an outcome."""
    seen = visit(target, seed, metric=metric, allow_code=allow_code, known=known, past=past)
    score = seen.score
    if seen.metric == "r2" and score is not None:
        score = max(LEAST_R2, score)
    outcome = Outcome(
        seed=seed, score=score, state=seen.state, seconds=seen.seconds,
        num_parameters=seen.num_parameters, open=tuple(f.code for f in seen.diagnosis.findings),
    )  # fmt: skip
    same = seen.known if seen.known is not None and seen.known.metric == seen.metric else None
    return Done(outcome=outcome, metric=seen.metric, resolution=seen.resolution, reason=seen.reason,
                constant=same.constant if same is not None else None)  # fmt: skip
