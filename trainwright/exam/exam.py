"""What is an exam? A question that a small experiment answers, and by how much each answer moves
the findings that it is about."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from trainwright.check.subject import same_random_states
from trainwright.core.claims import Picture
from trainwright.core.errors import TrainwrightError
from trainwright.core.history import History
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.edit.program import Program
from trainwright.recipe import Recipe
from trainwright.store.contract import Store

Verdict = Literal["yes", "no", "undecided"]
Values = Mapping[str, float | str]
BUDGET = 30.0  # seconds of an exam for which nobody names any [assumed]


class Likelihood(NamedTuple):
    """How often the answer is yes: `given` the finding is right, and `otherwise`, where it is wrong
    though suspected.

    [measured: benchmarks/exam_outcomes_cpu2_2026-11-26.md] on `right` programs of the clinic that
    have the fault and `wrong` ones that have not, with four more as was assumed; a side that says 0
    is [assumed].
    """

    given: float
    otherwise: float
    right: int = 0
    wrong: int = 0

    def shift(self, chance: float) -> float:
        """By how much an answer that is yes with that chance moves the finding's log odds."""
        right = chance * self.given + (1 - chance) * (1 - self.given)
        wrong = chance * self.otherwise + (1 - chance) * (1 - self.otherwise)
        return math.log(right / wrong)


class NotHere(TrainwrightError):
    """An exam that means nothing for this program; says why."""


def not_here(name: str, why: str, *, do: str = "") -> NotHere:
    """The error for an exam that does not apply; `why` is a whole phrase."""
    return NotHere(
        phrase("the exam {name} does not apply: {why}", name=name, why=why),
        allowed=phrase("a program that it fits"),
        do=do or phrase("`trainwright exam RUN --all` takes those that apply"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an experiment found. `chance` is how likely yes is, where noise leaves that open;
    `shifts` replace what the question's likelihoods would say, where the experiment knows more
    than yes or no."""

    verdict: Verdict
    chance: float | None = None
    values: Values = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    shifts: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()  # word codes under `exams.note`


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """A question that was put to a program. `values` fill the sentence of the answer; `shifts` are
    log-likelihood ratios by which the odds of each finding move."""

    name: str
    answer: Verdict
    values: Values
    pictures: tuple[Picture, ...]
    shifts: Mapping[str, float]
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms an exam is taken: seconds that it may use, its seed, who hears how far it is (a
    share, 0..1), and what there is beside the program: the recipe that it is made of with what its
    `auto`s mean, and the stored run. `trained` keeps arms that several exams share."""

    seconds: float = BUDGET
    seed: int = 0
    tell: Callable[[float], None] = lambda share: None
    recipe: Recipe | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)
    record: RunRecord | None = None
    store: Store | None = None
    history: History | None = None
    allow_code: bool = False
    trained: dict[tuple[int, int, int], Any] = field(default_factory=dict)

    def lasting(self, seconds: float) -> "Terms":
        """The same terms with other seconds."""
        return replace(self, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One exam of the catalogue. `about` says how the answer bears on findings; it costs
    `trainings` times one whole training of the program, and `steps` single steps."""

    name: str
    work: Callable[[Program, Terms], Answer]
    about: Mapping[str, Likelihood]
    trainings: float = 0.0
    steps: int = 0

    def ask(self, program: Program, terms: Terms) -> Exam:
        """Experiments on fresh starts; random states go on as if nothing had been drawn.

        Raises NotHere, with the reason, where the exam does not apply.
        """
        began = time.perf_counter()
        with same_random_states():
            answer = self.work(program, terms)
        shifts = answer.shifts
        if shifts is None:
            sure = {"yes": 1.0, "no": 0.0, "undecided": None}[answer.verdict]
            chance = sure if answer.chance is None else answer.chance
            shifts = {code: 0.0 if chance is None else odds.shift(chance)
                      for code, odds in self.about.items()}  # fmt: skip
        return Exam(name=self.name, answer=answer.verdict, values=answer.values,
                    pictures=answer.pictures, shifts=shifts, notes=answer.notes,
                    seconds=time.perf_counter() - began)  # fmt: skip

    def price(self, program: Program, seconds_per_step: float) -> float:
        """Expected seconds, `seconds_per_step` for a step of the program's own loop."""
        return (self.trainings * program.num_steps + self.steps) * seconds_per_step
