"""How is an exam put to whatever somebody has? A recipe, a program or a stored run becomes a
program and the terms around it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainwright import recipe as recipes
from trainwright.core.diagnosis import Diagnosis
from trainwright.core.facts import Facts, ScoreFacts
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.edit.edit import Target
from trainwright.edit.from_recipe import program_of
from trainwright.edit.program import Program
from trainwright.exam.arms import seconds_per_step
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.catalogue import exam as exam_named
from trainwright.exam.exam import BUDGET, Exam, NotHere, Terms
from trainwright.exam.settle import OVERHEAD, moved
from trainwright.recipe import Live, Recipe
from trainwright.run.begin import recipe_of
from trainwright.run.recall import judge_stored
from trainwright.store.contract import Store
from trainwright.store.open import DEFAULT_URL, open_run

ALL_BUDGET = 60.0  # seconds for all exams together, where nobody says more


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The exams that were taken, and why others were not, by name; what was thought of the run
    before and after, where there is a run."""

    exams: tuple[Exam, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    before: Diagnosis | None = None
    after: Diagnosis | None = None
    run: str = ""


def run_exam(
    target: Target, name: str, *, budget: float | None = None, allow_code: bool = False,
    record: RunRecord | None = None, store: Store | None = None, seed: int | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> Exam:  # fmt: skip
    """One exam of a recipe or a program, in `budget` seconds (BUDGET when left out).

    Raises TrainwrightError for a name that is none, with near ones, and NotHere, with the reason,
    for an exam that does not apply.
    """
    question = exam_named(name)
    program, terms = prepared(target, record=record, store=store, allow_code=allow_code, seed=seed)
    return question.ask(program, replace(terms, seconds=budget or BUDGET, tell=tell))


def run_exams(
    target: Target, *, budget: float | None = None, allow_code: bool = False,
    record: RunRecord | None = None, store: Store | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> Asked:  # fmt: skip
    """Every exam that applies, the cheapest first, as far as `budget` seconds reach."""
    program, terms = prepared(target, record=record, store=store, allow_code=allow_code)
    pace = seconds_per_step(program)
    began, budget = time.perf_counter(), budget or ALL_BUDGET
    order = sorted(EXAMS.values(), key=lambda question: question.price(program, pace))
    exams: list[Exam] = []
    skipped: list[tuple[str, str]] = []
    for place, question in enumerate(order):
        left = budget - (time.perf_counter() - began)
        if left <= OVERHEAD:
            skipped.append((question.name, "time"))
            continue
        share = min(left, max(left / (len(order) - place), 2 * question.price(program, pace)))
        try:
            exams.append(question.ask(program, terms.lasting(share)))
        except NotHere as error:
            skipped.append((question.name, error.what))
        tell((place + 1) / len(order))
    return Asked(exams=tuple(exams), skipped=tuple(skipped))


def asked_of(
    target: str, name: str | None, *, store: str = DEFAULT_URL, budget: float | None = None,
    allow_code: bool = False, tell: Callable[[float], None] = lambda share: None,
) -> Asked:  # fmt: skip
    """The exam of that name, or all, of a recipe's file (`*.toml`) or of a stored run, whose
    diagnosis is then given before and after.

    Raises TrainwrightError for a run whose live parts are not here.
    """
    if name is not None:
        exam_named(name)  # a wrong name is said before anything is read
    if target.endswith(".toml"):
        recipe = recipes.load(target)
        return _asked(recipe, name, budget=budget, allow_code=allow_code, tell=tell)
    allowed = phrase("a recipe in TOML, or the name of a run")
    opened, record = open_run(target, store, allowed=allowed)
    recipe = recipe_of(
        record, Live(), allowed=phrase("a run from files, which can be built again"),
        do=phrase("hand the exam a program: trainwright.exam.ask.run_exam"),
    )  # fmt: skip
    readings, _ = opened.readings(record.id)
    diagnosis, history = judge_stored(record, readings)
    asked = _asked(recipe, name, budget=budget, allow_code=allow_code, tell=tell, record=record,
                   store=opened)  # fmt: skip
    after = moved(diagnosis, asked.exams, record.facts or Facts(), history)
    return replace(asked, before=diagnosis, after=after, run=record.id)


def _asked(target: Target, name: str | None, **terms: Any) -> Asked:
    if name is None:
        return run_exams(target, **terms)
    return Asked(exams=(run_exam(target, name, **terms),))


def prepared(
    target: Target, *, record: RunRecord | None = None, store: Store | None = None,
    allow_code: bool = False, seed: int | None = None, resolved: Mapping[str, Any] | None = None,
    known: ScoreFacts | None = None,
) -> tuple[Program, Terms]:  # fmt: skip
    """The program of a target, and terms that know the recipe and the run it came from. `resolved`
    is what the recipe's `auto`s mean, found out where neither it nor a record says so; `known` what
    can be had on its data, likewise."""
    if isinstance(target, Program):
        return target, Terms(seed=seed or 0)
    if resolved is None:
        resolved = record.resolved if record is not None else resolved_of(target, allow_code)
    terms = Terms(seed=target.seed if seed is None else seed, recipe=target, record=record,
                  resolved=dict(resolved), store=store, allow_code=allow_code)  # fmt: skip
    return program_of(target, allow_code=allow_code, known=known), terms


def resolved_of(recipe: Recipe, allow_code: bool) -> dict[str, object]:
    """What the recipe's `auto`s mean."""
    from trainwright.run.assemble import assemble
    from trainwright.run.surroundings import own_randomness

    with own_randomness(recipe.seed):
        assembly = assemble(recipe, allow_code=allow_code)
        try:
            return assembly.resolved()
        finally:
            assembly.prepared.close()
