"""Synthetic healings: what a search and its proof hand to the report."""

from dataclasses import replace

from trainwright.edit.edit import changes
from trainwright.recipe import Recipe, edit
from trainwright.remedy.heal import Healing
from trainwright.remedy.proof import Arm, Comparison, Outcome, prove
from trainwright.remedy.search import Step


def step(number, parent, remedy, judged, score=None, *, code="", still=(), reason=""):
    return Step(number=number, parent=parent, remedy=remedy, code=code, judged=judged, score=score,
                skill=-1.0 if score is None else score, open=tuple(still), seconds=1.0,
                reason=reason)  # fmt: skip


STEPS = (
    step(0, -1, "", "first", 0.102, still=("A402", "A403")),
    step(1, 0, "swap_optimizer", "not applicable", code="A402", reason="it is so already"),
    step(2, 0, "raise_learning_rate", "better", 0.55, code="A402", still=("A403",)),
    step(3, 2, "widen", "same", 0.552, still=("A403",)),
    step(4, 2, "add_norm", "failed", reason="RuntimeError: \x1b[31mboom"),
    step(5, 2, "train_longer", "better", 0.972, code="A403"),
    step(6, 0, "train_longer", "worse", 0.05, code="A403", still=("A402",)),
)
BEFORE = Recipe()
AFTER = edit(BEFORE, {"algorithm.learning_rate": 0.01, "budget": "20 epochs"})


def arm(name, scores, still=()):
    return Arm(name=name, outcomes=tuple(
        Outcome(seed=1000 + at, score=score, state="failed" if score is None else "finished",
                seconds=1.2, num_parameters=5000, open=tuple(still))
        for at, score in enumerate(scores)
    ))  # fmt: skip


def proof(first=(0.1, 0.12, 0.11), second=(0.97, 0.96, 0.975)) -> Comparison:
    return prove(arm("before", first, ("A402",)), arm("after", second), metric="accuracy",
                 most=len(first), resolution=1 / 360, finding="A402")  # fmt: skip


def healing(**parts) -> Healing:
    whole = Healing(state="healthy", before=BEFORE, target=AFTER, steps=STEPS,
                    done=changes(BEFORE, AFTER), kept=5, proof=proof(), metric="accuracy", seconds=31.2)  # fmt: skip
    return replace(whole, **parts)


def left_alone() -> Healing:
    return healing(state="left alone", target=BEFORE, done=(), proof=None, kept=0,
                   steps=(step(0, -1, "", "first", 0.97),))  # fmt: skip


def stuck() -> Healing:
    return healing(state="stuck", target=BEFORE, done=(), proof=None, kept=0, open=("A402", "A403"))
