"""Which of several that did about as well holds on other seeds too?"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainwright.edit.edit import Target
from trainwright.remedy.search import Node
from trainwright.remedy.skill import GAIN, skill
from trainwright.remedy.visit import Visit

CLOSE = 0.05  # of skill below the best: as good but for its seed, perhaps [assumed]
MOST = 4  # that are trained again
ROUNDS = 2  # other seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A step's target, trained once more at another seed."""

    step: int
    seed: int
    score: float | None


def confirmed(
    nodes: Sequence[Node], best: Node, *, again: Callable[[Target, int], Visit], seed: int,
    deadline: float, tell: Callable[[Again], None],
) -> Node:  # fmt: skip
    """Of those CLOSE to the best, the one whose mean skill is highest over `seed`, at which all
    were trained, and up to ROUNDS other seeds, as far as whole rounds fit before
    `deadline`; of equal ones the one with the fewest edits."""
    others = sorted((n for n in nodes if n is not best and _is_near(n, best)),
                    key=lambda n: n.step.rank, reverse=True)  # fmt: skip
    near = [best, *others[: MOST - 1]]
    skills = {node.step.number: [node.step.skill] for node in near}
    for other in range(seed + 1, seed + 1 + ROUNDS):
        needed = sum(node.seen.seconds for node in near)
        if len(near) < 2 or time.perf_counter() + needed > deadline:
            break
        for node in near:
            seen = again(node.target, other)
            skills[node.step.number].append(skill(seen, nodes[0].seen.known))
            tell(Again(step=node.step.number, seed=other, score=seen.score))

    def rank(node: Node) -> tuple[int, int, int]:
        found = skills[node.step.number]
        return round(sum(found) / len(found) / GAIN), -len(node.step.open), -len(node.path)

    return max(near, key=rank) if all(len(s) > 1 for s in skills.values()) else best


def _is_near(node: Node, best: Node) -> bool:
    return bool(node.path) and node.step.skill >= best.step.skill - CLOSE
