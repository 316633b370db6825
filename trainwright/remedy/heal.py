"""How is a training made healthy? Diagnose, settle by exams what is not sure, apply remedies, look
whether they helped, leave out what was not needed; in the end prove the whole on fresh seeds."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.edit.catalogue import edit_named
from trainwright.edit.edit import Target, changes
from trainwright.edit.program import Done
from trainwright.exam.ask import prepared
from trainwright.exam.exam import Exam
from trainwright.exam.rate import with_measured_rate
from trainwright.exam.settle import settle
from trainwright.recipe import Recipe
from trainwright.remedy.arms import Ended, compare_targets
from trainwright.remedy.confirm import Again, confirmed
from trainwright.remedy.past import forget, remember
from trainwright.remedy.proof import Comparison
from trainwright.remedy.search import Node, Search, Step
from trainwright.remedy.skill import is_blind, is_well
from trainwright.remedy.visit import BALANCED, Visit, known_of, visit

State = Literal["healthy", "improved", "stuck", "left alone"]
BUDGET_RUNS = 10.0  # default budget, in runs of the target
LEAST_SECONDS, MOST_SECONDS = 30.0, 300.0  # and its bounds
PROOF_SHARE = 0.4  # of the budget is kept for the proof
PRUNE_SHARE = 0.1  # and for leaving out what is not needed
EXAM_SHARE = 0.1  # of the budget, for exams of what is not sure [assumed]
MORE = 2  # times as many pairs again where the first ones are not clear and there is time
FRESH = 1000  # seeds of the proof start here: none was used in the search

Told = Step | Exam | Again | Ended
Tell = Callable[[Told], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """What became of it. `target` is the healed recipe or program (the given one, where nothing
    helped), `done` the edits in it, `kept` the number of its step, `proof` both on fresh seeds."""

    state: State
    before: Target
    target: Target
    steps: tuple[Step, ...]
    kept: int = 0
    done: tuple[Done, ...] = ()
    exams: tuple[Exam, ...] = ()
    proof: Comparison | None = None
    metric: str = ""
    seconds: float = 0.0
    open: tuple[str, ...] = ()  # what diagnosis still names in the healed one
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines to change in the user's own code, or the knobs to turn."""
        return tuple(line for done in self.done for line in done.lines)


def heal(
    target: Target,
    *,
    budget: float | None = None,
    seeds: int = 3,
    seed: int = 0,
    allow_code: bool = False,
    without: Collection[str] = (),
    folder: Path | None = None,
    tell: Tell = lambda told: None,
) -> Healing:
    """Diagnoses and mends, within `budget` seconds (ten runs of the target, 30 s to 5 minutes); the
    proof's first three pairs are run in any case, without which nothing could be kept.

    Where rare classes were not learned and accuracy hardly notices, balanced accuracy judges.
    A healthy target is left alone; remedies in `without` are not tried. Ctrl-C ends the search and
    gives what was found; what the proof does not bear out is not kept. A heal of a recipe that was
    stopped goes on where it was when it is begun again with the same `folder`. Raises
    TrainwrightError when the target cannot be trained even once, and for a name in `without` that
    no remedy has.
    """
    for name in without:
        edit_named(name)  # a wrong name is said before anything is trained
    began = time.perf_counter()
    past = ""
    if isinstance(target, Recipe):
        if target.algorithm.learning_rate == "measured":
            target, _ = with_measured_rate(target, allow_code=allow_code)
        past = remember(target, folder)
    known = known_of(target, allow_code=allow_code)

    begun = visit(target, seed, allow_code=allow_code, known=known, past=past)
    metric = BALANCED if is_blind(begun) else None

    def look(edited: Target, at: int = seed) -> Visit:
        return visit(edited, at, metric=metric, allow_code=allow_code, known=known, past=past)

    search = Search(look=look, allow_code=allow_code, without=frozenset(without), tell=tell)
    first = search.begin(target, begun.balanced() if metric else begun)
    if not _was_trained(first.seen):
        forget(past)
        raise TrainwrightError(
            phrase("it cannot be trained even once: {reason}", reason=first.seen.reason),
            allowed=phrase("a target whose loop runs"),
            do=phrase("mend that first; `trainwright check` may say more"),
        )
    budget = _budget(budget, time.perf_counter() - began)
    best, exams, proof, notes = first, (), None, list[str]()
    try:
        if not is_well(first.seen):
            exams = _settled(search, EXAM_SHARE * budget, allow_code, tell)
            best = first = search.nodes[0]
            kept = PROOF_SHARE if seeds else 0.0
            search.run(began + (1 - kept - PRUNE_SHARE) * budget)
            best = search.prune(began + (1 - kept) * budget)
            best = confirmed(search.nodes, best, again=look, seed=seed, tell=tell,
                             deadline=began + (1 - kept) * budget)  # fmt: skip
        if best is not first and seeds:
            proof = compare_targets(
                target, best.target, seeds=seeds, more=MORE * seeds, first_seed=FRESH,
                allow_code=allow_code, metric=metric,
                finding=first.step.open[0] if first.step.open else "", known=known, past=past,
                names=(phrase("before"), phrase("after")), deadline=began + budget, tell=tell,
            )  # fmt: skip
        forget(past)  # it is over: nothing is left to go on with
    except KeyboardInterrupt:
        best = search.best if best is first else best
        notes.append(phrase("stopped by you; what was found until then is shown, not proven"))
    if best is first and len(search.steps) == 1 and not is_well(first.seen) and not notes:
        notes.append(phrase("no time was left for a remedy: one run takes {seconds} s",
                            seconds=f"{first.seen.seconds:.3g}"))  # fmt: skip
    if proof is not None and proof.verdict not in ("cured", "helped"):
        notes.append(phrase("what helped on the first seed is not proven on fresh ones"))
        best = first
    return Healing(
        state=_state(first, best), before=target, target=best.target, steps=tuple(search.steps),
        kept=best.step.number, done=changes(target, best.target), exams=exams, proof=proof,
        metric=best.seen.metric, seconds=time.perf_counter() - began, open=best.step.open,
        notes=tuple(notes),
    )  # fmt: skip


def _was_trained(seen: Visit) -> bool:
    """Or is at least something named, from which to mend it?"""
    return seen.score is not None or seen.history is not None or not seen.diagnosis.healthy


def _budget(asked: float | None, one_run: float) -> float:
    return asked or min(MOST_SECONDS, max(LEAST_SECONDS, BUDGET_RUNS * one_run))


def _state(first: Node, best: Node) -> State:
    if best is first:
        return "left alone" if is_well(first.seen) else "stuck"
    return "healthy" if is_well(best.seen) else "improved"


def _settled(search: Search, seconds: float, allow_code: bool, tell: Tell) -> tuple[Exam, ...]:
    """The exams that the first diagnosis left open, taken; what is tried first follows them."""
    first = search.nodes[0]
    seen = first.seen
    try:
        program, terms = prepared(
            first.target, allow_code=allow_code, resolved=seen.resolved, known=seen.measured
        )
        found, exams = settle(
            program, seen.diagnosis, budget=seconds, terms=replace(terms, history=seen.history),
            history=seen.history, told=tell,
        )  # fmt: skip
    except Exception:  # no experiment fits a foreign network: remedies are tried all the same
        return ()
    if exams:
        search.settled(replace(first, seen=replace(seen, diagnosis=found)))
    return exams
