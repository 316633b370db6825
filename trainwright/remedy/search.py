"""Which edits help? Best first over edited targets, each trained once on the same seed."""

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from trainwright.core.phrases import phrase
from trainwright.edit.catalogue import edits
from trainwright.edit.edit import NotApplicable, Target, changes
from trainwright.exam.ask import prepared
from trainwright.exam.rate import range_test
from trainwright.remedy.candidates import Candidate, Part, candidates
from trainwright.remedy.skill import GAIN, is_good, is_well, skill
from trainwright.remedy.visit import Visit

Judged = Literal["first", "better", "same", "worse", "failed", "not applicable"]
PATIENCE_WELL = 5  # the same once nothing wrong is found [assumed]
PATIENCE = 12  # visits in a row without gain, then nothing more is hoped for [assumed]
RATES = ("lower_learning_rate", "raise_learning_rate")  # ask a range test how far
RANGE_RUNS = 1.0  # seconds of a range test, in runs of the target [assumed]
# How many times as long a run takes with it, about: by what it does to steps or widths.
SLOWER = {"train_longer": 2.0, "widen": 2.0, "smaller_batch": 4.0}
SEVERAL = " + "  # between the names of remedies that were tried at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing tried. `parent` is the number of the step that it was tried on, -1 for the first;
    `skill` is 0 at the best constant answer and 1 at a perfect one. `remedy` names several with
    SEVERAL between; `left_out` where they were taken out again instead of put in."""

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
    left_out: bool = False

    @property
    def remedies(self) -> tuple[str, ...]:
        """The names apart; none for the first."""
        return tuple(self.remedy.split(SEVERAL)) if self.remedy else ()

    @property
    def rank(self) -> tuple[float, int, int]:
        """Skill, then how little is still named, then who came first."""
        return round(self.skill / GAIN), -len(self.open), -self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A target that was trained, and the edits that lead to it."""

    step: Step
    target: Target
    seen: Visit
    path: tuple[Part, ...] = ()


@dataclass(slots=True, kw_only=True)
class Search:
    """Nodes that were kept, and what is still to be tried on them. `look` trains a target once."""

    look: Callable[[Target], Visit]
    allow_code: bool
    without: frozenset[str]
    tell: Callable[[Step], None]
    nodes: list[Node] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _queue: list[tuple[float, int, Node, Candidate]] = field(default_factory=list)
    _seen: dict[tuple[str, ...], Node] = field(default_factory=dict)
    _unfit: set[tuple[str, str]] = field(default_factory=set)
    _rates: dict[int, float | None] = field(default_factory=dict)
    _count: itertools.count = field(default_factory=itertools.count)
    _idle: int = 0

    def begin(self, target: Target, seen: Visit) -> Node:
        """The target as it was given, already trained."""
        step = self._step("first", seen, skill(seen, seen.known), parent=-1, remedy="")
        return self._keep(Node(step=step, target=target, seen=seen))

    def settled(self, first: Node) -> None:
        """The first node with the diagnosis that exams made; what is tried on it follows that."""
        assert len(self.nodes) == 1, "before anything is tried"
        self.nodes, self._queue = [], []
        self._keep(first)

    def run(self, deadline: float) -> None:
        """Until the best node is as good as can be had, the time is over, or nothing is left to
        try; one that is well is soon let be."""
        while self._queue and not is_good(self.best.seen) and self._idle < self._patience:
            if time.perf_counter() + self.best.seen.seconds > deadline:
                return
            _, _, node, candidate = heapq.heappop(self._queue)
            self._try(node, candidate, deadline)

    @property
    def _patience(self) -> int:
        return PATIENCE_WELL if is_well(self.best.seen) else PATIENCE

    def prune(self, deadline: float) -> Node:
        """The best node without the edits that it does as well without: each is left out once."""
        best, place = self.best, 0
        while len(best.path) > 1 and place < len(best.path):
            if time.perf_counter() + best.seen.seconds > deadline:
                return best
            rest = (*best.path[:place], *best.path[place + 1 :])
            found = self._left_out(best, best.path[place][0], rest)
            if found is not None and found is not best and _as_good(found, best):
                best = found
            else:
                place += 1
        return best

    @property
    def best(self) -> Node:
        """Of the kept ones."""
        return max(self.nodes, key=lambda node: node.step.rank)

    # --- one thing tried ---------------------------------------------------------------------

    def _try(self, node: Node, candidate: Candidate, deadline: float) -> None:
        parts = tuple(p for p in candidate.parts if p[0] in edits() and p[0] not in self.without)
        if not parts or len(parts) < min(2, len(candidate.parts)):
            return
        if len(parts) == 1 and parts[0][0] in RATES:
            parts = (self._with_rate(node, parts[0], deadline),)
        try:
            target, applied = self._applied(node.target, parts)
        except NotApplicable as error:
            self._untried(node, candidate, "not applicable", str(error.what))
            return
        except Exception as error:  # an edit that a foreign network breaks is one that did not help
            self._untried(node, candidate, "failed", f"{type(error).__name__}: {error}"[:200])
            return
        slower = max(SLOWER.get(remedy, 1.0) for remedy, _ in applied)
        late = time.perf_counter() + slower * node.seen.seconds > deadline
        if late or self._key(target) in self._seen:
            return
        found = self._train(node, target, applied, candidate.code)
        gained = found.step.skill - self.best.step.skill
        self._idle = 0 if gained > GAIN else self._idle + 1
        if found.step.judged in ("better", "same") or _closed(node, found, candidate.code):
            self._keep(found)

    def _applied(self, target: Target, parts: tuple[Part, ...]) -> tuple[Target, tuple[Part, ...]]:
        """Several at once: those that fit, two at least. Raises NotApplicable."""
        applied: list[Part] = []
        for remedy, context in parts:
            try:
                target = edits()[remedy].apply(target, context)
            except NotApplicable:
                if len(parts) == 1:
                    raise
            else:
                applied.append((remedy, context))
        if len(applied) < min(2, len(parts)):
            raise NotApplicable(phrase("one alone is tried by itself"))
        return target, tuple(applied)

    def _with_rate(self, node: Node, part: Part, deadline: float) -> Part:
        """The remedy with the rate that a range test likes, where there is time for one."""
        if node.step.number not in self._rates:
            seconds = RANGE_RUNS * node.seen.seconds
            late = time.perf_counter() + seconds + node.seen.seconds > deadline
            self._rates[node.step.number] = None if late else self._rate(node, seconds)
        return part[0], replace(part[1], rate=self._rates[node.step.number])

    def _rate(self, node: Node, seconds: float) -> float | None:
        """None where there is no rate to be found: the remedy goes by its usual step."""
        try:
            program, _ = prepared(node.target, allow_code=self.allow_code,
                                  resolved=node.seen.resolved,
                                  known=node.seen.measured)  # fmt: skip
            return float(f"{range_test(program, seconds=seconds).best:.1g}")  # as people write it
        except Exception:  # several optimisers; or a foreign network, which may raise anything
            return None

    def _left_out(self, node: Node, remedy: str, rest: tuple[Part, ...]) -> Node | None:
        """The first target with the other edits alone; None where they need the one left out."""
        try:
            target = self.nodes[0].target
            for name, context in rest:
                target = edits()[name].apply(target, context)
        except Exception:
            return None
        known = self._seen.get(self._key(target))
        if known is not None:
            return known
        found = self._train(node, target, rest, "", remedy=remedy)
        self.nodes.append(found)
        return found

    # --- book-keeping ------------------------------------------------------------------------

    def _train(
        self, node: Node, target: Target, parts: tuple[Part, ...], code: str, *, remedy: str = ""
    ) -> Node:
        """A look at the target, told as a step below the node; `remedy` is what was left out."""
        seen = self.look(target)
        reached = skill(seen, self.nodes[0].seen.known)
        gained = reached - node.step.skill
        judged: Judged = ("failed" if seen.score is None else "better" if gained > GAIN
                          else "worse" if gained < -GAIN else "same")  # fmt: skip
        step = self._step(judged, seen, reached, parent=node.step.number, code=code,
                          remedy=remedy or SEVERAL.join(name for name, _ in parts),
                          left_out=bool(remedy))  # fmt: skip
        path = parts if remedy else (*node.path, *parts)
        found = Node(step=step, target=target, seen=seen, path=path)
        self._seen[self._key(target)] = found
        return found

    def _keep(self, node: Node) -> Node:
        self.nodes.append(node)
        self._seen[self._key(node.target)] = node
        self._offer(node)
        return node

    def _offer(self, node: Node) -> None:
        """What could be tried on it is queued."""
        for other in candidates(node.seen, short=not is_good(node.seen)):
            priority = node.step.skill + other.chance
            heapq.heappush(self._queue, (-priority, next(self._count), node, other))

    def _key(self, target: Target) -> tuple[str, ...]:
        """What was done to it, in whatever order."""
        first = self.nodes[0].target if self.nodes else target
        return tuple(sorted(f"{done.name}{done.values or ''}" for done in changes(first, target)))

    def _untried(self, node: Node, candidate: Candidate, judged: Judged, reason: str) -> None:
        """Told once for each reason; of several at once, each is told by itself."""
        remedy = candidate.parts[0][0]
        if len(candidate.parts) > 1 or (remedy, reason) in self._unfit:
            return
        self._unfit.add((remedy, reason))
        self._tell(Step(number=len(self.steps), parent=node.step.number, remedy=remedy,
                        code=candidate.code, judged=judged, reason=reason))  # fmt: skip

    def _step(
        self, judged: Judged, seen: Visit, skill: float, *, parent: int, remedy: str,
        code: str = "", left_out: bool = False,
    ) -> Step:  # fmt: skip
        step = Step(
            number=len(self.steps), parent=parent, judged=judged, score=seen.score, remedy=remedy,
            code=code, skill=skill, open=tuple(f.code for f in seen.diagnosis.findings),
            seconds=seen.seconds, reason=seen.reason, left_out=left_out,
        )  # fmt: skip
        self._tell(step)
        return step

    def _tell(self, step: Step) -> None:
        self.steps.append(step)
        self.tell(step)


def _as_good(node: Node, best: Node) -> bool:
    """As high a score, and nothing named that was not."""
    return node.step.skill >= best.step.skill - GAIN and (
        set(node.step.open) <= set(best.step.open)
    )


def _closed(parent: Node, node: Node, code: str) -> bool:
    """Did the finding go that asked for the edit? Then others may be what is left."""
    return bool(code) and code in parent.step.open and (
        code not in node.step.open and node.seen.score is not None
    )  # fmt: skip
