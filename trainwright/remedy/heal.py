"""How is a training made healthy? Diagnose, apply one remedy, train, look whether it helped; keep
what did and go on from there, best first; in the end prove the whole on fresh seeds."""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.edit.catalogue import edit_named, edits
from trainwright.edit.edit import NotApplicable, Target, changes
from trainwright.edit.program import Done
from trainwright.remedy.arms import compare_targets
from trainwright.remedy.candidates import Candidate, candidates
from trainwright.remedy.proof import Comparison
from trainwright.remedy.visit import Visit, visit

State = Literal["healthy", "improved", "stuck", "left alone"]
Judged = Literal["first", "better", "same", "worse", "failed", "not applicable"]
GAIN = 0.02  # of skill: less is noise of one seed [assumed]
NEAR = 0.05  # of skill short of what quick learners reach: near enough [assumed]
BUDGET_RUNS = 10.0  # default budget, in runs of the target
LEAST_SECONDS, MOST_SECONDS = 20.0, 300.0  # and its bounds
LOST = -9.0  # skill of a run without a score
UNKNOWN_GOOD = 0.9  # accuracy or R2 that is enough where nobody knows what can be had [assumed]
PROOF_SHARE = 0.4  # of the budget is kept for the proof
FRESH = 1000  # seeds of the proof start here: none was used in the search
PATIENCE = 12  # visits in a row without gain, then nothing more is hoped for [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing tried. `parent` is the number of the step that it was tried on, -1 for the first;
    `skill` is 0 at the best constant answer and 1 at a perfect one."""

    number: int
    parent: int
    remedy: str
    code: str  # of the finding that asked for it; empty for what helps in general
    judged: Judged
    score: float | None = None
    skill: float = 0.0
    open: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """What became of it. `target` is the healed recipe or program (the given one, where nothing
    helped), `done` the edits in it, `proof` both on fresh seeds."""

    state: State
    before: Target
    target: Target
    steps: tuple[Step, ...]
    done: tuple[Done, ...] = ()
    proof: Comparison | None = None
    metric: str = ""
    seconds: float = 0.0
    open: tuple[str, ...] = ()  # what diagnosis still names in the healed one
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines to change in the user's own code, or the knobs to turn."""
        return tuple(line for done in self.done for line in done.lines)


Tell = Callable[[Step], None]
Prove = Callable[[Target, Target], Comparison]


@dataclass(slots=True)
class _Node:
    """A target that was trained."""

    step: Step
    target: Target
    seen: Visit


@dataclass(slots=True)
class _Search:
    """Best first over edited targets, each trained once on the same seed."""

    seed: int
    deadline: float
    allow_code: bool
    without: frozenset[str]
    tell: Tell
    nodes: list[_Node] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    queue: list[tuple[float, int, _Node, Candidate]] = field(default_factory=list)
    tried: set[tuple[str, ...]] = field(default_factory=set)
    _count: itertools.count = field(default_factory=itertools.count)
    _idle: int = 0

    def first(self, target: Target) -> _Node:
        seen = visit(target, self.seed, allow_code=self.allow_code)
        node = self._node(target, seen, "first", skill=skill(seen, seen))
        self._keep(node)
        return node

    def run(self) -> None:
        """Until the best node is healthy, the time is over, or nothing is left to try."""
        while self.queue and not is_well(self.best.seen) and self._idle < PATIENCE:
            if time.perf_counter() + self.best.seen.seconds > self.deadline:
                break
            _, _, node, candidate = heapq.heappop(self.queue)
            self._try(node, candidate)

    @property
    def best(self) -> _Node:
        return max(self.nodes, key=lambda n: (round(n.step.skill / GAIN), -len(n.step.open),
                                              -n.step.number))  # fmt: skip

    def _try(self, node: _Node, candidate: Candidate) -> None:
        table = edits()
        if candidate.remedy not in table or candidate.remedy in self.without:
            return
        path = (*_names(self.nodes[0].target, node.target), candidate.remedy)
        key = tuple(sorted(path))
        if key in self.tried:
            return
        self.tried.add(key)
        try:
            edited = table[candidate.remedy].apply(node.target, candidate.context)
        except NotApplicable as error:
            self._untried(node, candidate, "not applicable", str(error.what))
        except Exception as error:  # an edit that a foreign network breaks is one that did not help
            self._untried(node, candidate, "failed", f"{type(error).__name__}: {error}"[:200])
        else:
            self._look(node, candidate, edited)

    def _look(self, node: _Node, candidate: Candidate, edited: Target) -> None:
        """Trains the edited target; it is gone on from unless it is worse and closed nothing."""
        seen = visit(edited, self.seed, allow_code=self.allow_code)
        reached = skill(seen, self.nodes[0].seen)
        gained = reached - node.step.skill
        judged: Judged = ("failed" if seen.score is None else "better" if gained > GAIN
                          else "worse" if gained < -GAIN else "same")  # fmt: skip
        self._idle = 0 if reached - self.best.step.skill > GAIN else self._idle + 1
        found = self._node(edited, seen, judged, skill=reached, parent=node.step.number,
                           candidate=candidate)  # fmt: skip
        if judged in ("better", "same") or _closed(node, found, candidate):
            self._keep(found)

    def _untried(self, node: _Node, candidate: Candidate, judged: Judged, reason: str) -> None:
        self._tell(Step(number=len(self.steps), parent=node.step.number, remedy=candidate.remedy,
                        code=candidate.code, judged=judged, reason=reason))  # fmt: skip

    def _node(
        self, target: Target, seen: Visit, judged: Judged, *, skill: float, parent: int = -1,
        candidate: Candidate | None = None,
    ) -> _Node:  # fmt: skip
        step = Step(
            number=len(self.steps), parent=parent, judged=judged, score=seen.score,
            remedy=candidate.remedy if candidate is not None else "",
            code=candidate.code if candidate is not None else "", skill=skill,
            open=tuple(f.code for f in seen.diagnosis.findings), seconds=seen.seconds,
            reason=seen.reason,
        )  # fmt: skip
        self._tell(step)
        return _Node(step=step, target=target, seen=seen)

    def _keep(self, node: _Node) -> None:
        """What could be tried on it is queued."""
        self.nodes.append(node)
        for other in candidates(node.seen, short=not is_well(node.seen)):
            priority = node.step.skill + other.chance
            heapq.heappush(self.queue, (-priority, next(self._count), node, other))

    def _tell(self, step: Step) -> None:
        self.steps.append(step)
        self.tell(step)


def _closed(parent: _Node, node: _Node, candidate: Candidate) -> bool:
    """Did the finding go that asked for the edit? Then others may be what is left."""
    return bool(candidate.code) and candidate.code in parent.step.open and (
        candidate.code not in node.step.open and node.seen.score is not None
    )  # fmt: skip


def _names(before: Target, after: Target) -> tuple[str, ...]:
    return tuple(f"{done.name}{done.values or ''}" for done in changes(before, after))


def skill(seen: Visit, first: Visit) -> float:
    """Of a score, 0 at the best constant answer and 1 at a perfect one; below 0 by powers of ten,
    so that R2 of -20 is seen to be better than -200. LOST without a score."""
    if seen.score is None:
        return LOST
    known = first.known
    constant = known.constant if known is not None else 0.0
    share = (seen.score - constant) / max(1e-9, 1.0 - constant)
    return share if share >= 0 else -math.log10(1.0 - share)


def is_well(seen: Visit) -> bool:
    """Nothing wrong found, and no quick learner is clearly better."""
    if not seen.diagnosis.healthy or seen.score is None or seen.state == "failed":
        return False
    known = seen.known
    if known is None or known.reference is None:
        return seen.score >= UNKNOWN_GOOD
    slack = 2 * (known.reference_sd or 0.0) + NEAR * max(0.0, 1.0 - known.constant)
    return seen.score >= known.reference - slack


def heal(
    target: Target,
    *,
    budget: float | None = None,
    seeds: int = 3,
    seed: int = 0,
    allow_code: bool = False,
    without: Collection[str] = (),
    tell: Tell = lambda step: None,
) -> Healing:
    """Diagnoses and mends, within `budget` seconds (ten runs of the target, 20 s to 5 minutes).

    A healthy target is left alone; remedies in `without` are not tried. Ctrl-C ends the search and
    gives what was found; what the proof does not bear out is not kept. Raises TrainwrightError when
    the target cannot be trained even once, and for a name in `without` that no remedy has.
    """
    began = time.perf_counter()
    for name in without:
        edit_named(name)  # a wrong name is said before anything is trained
    search = _Search(seed=seed, deadline=float("inf"), allow_code=allow_code, tell=tell,
                     without=frozenset(without))  # fmt: skip
    first = search.first(target)
    _trainable(first.seen)
    took = time.perf_counter() - began
    if budget is None:
        budget = min(MOST_SECONDS, max(LEAST_SECONDS, BUDGET_RUNS * took))
    if is_well(first.seen):
        return _result("left alone", search, first, began, proof=None)
    search.deadline = began + (1 - PROOF_SHARE) * budget
    notes: list[str] = []
    try:
        search.run()
    except KeyboardInterrupt:
        notes.append(phrase("stopped by you; what was found until then is shown"))
    best = search.best
    if best is first:
        return _result("stuck", search, first, began, proof=None, notes=notes)
    proof = None
    if not notes and seeds:
        try:
            proof = compare_targets(
                target, best.target, seeds=seeds, first_seed=FRESH, allow_code=allow_code,
                finding=first.step.open[0] if first.step.open else "",
                names=(phrase("before"), phrase("after")),
            )  # fmt: skip
        except KeyboardInterrupt:
            notes.append(phrase("stopped by you before the proof"))
    if proof is not None and proof.verdict not in ("cured", "helped"):
        notes.append(phrase("what helped on the first seed is not proven on fresh ones"))
        return _result("stuck", search, first, began, proof=proof, notes=notes)
    state: State = "healthy" if is_well(best.seen) else "improved"
    return _result(state, search, best, began, proof=proof, notes=notes)


def _trainable(seen: Visit) -> None:
    if seen.score is None and seen.facts is None:
        raise TrainwrightError(
            phrase("it cannot be trained even once: {reason}", reason=seen.reason),
            allowed=phrase("a target whose loop runs"),
            do=phrase("mend that first; `trainwright check` may say more"),
        )


def _result(
    state: State, search: _Search, node: _Node, began: float, *, proof: Comparison | None,
    notes: list[str] | None = None,
) -> Healing:  # fmt: skip
    before = search.nodes[0].target
    return Healing(
        state=state, before=before, target=node.target, steps=tuple(search.steps),
        done=changes(before, node.target), proof=proof, metric=node.seen.metric,
        seconds=time.perf_counter() - began, open=node.step.open, notes=tuple(notes or ()),
    )  # fmt: skip
