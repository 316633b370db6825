"""What is good enough depends on what can be had, and on how many examples say so."""

import math

import pytest

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.facts import Facts, ScoreFacts
from trainwright.remedy.skill import LOST, is_blind, is_good, is_well, skill
from trainwright.remedy.visit import BALANCED, Visit

ILL = Finding(code="A401", name="x", severity="serious", confidence=0.9)


def seen(score: float | None, *, rows: int = 0, reference: float | None = 1.0, **more) -> Visit:
    known = ScoreFacts(metric="accuracy", constant=0.4, reference=reference)
    return Visit(seed=0, score=score, metric="accuracy", resolution=1 / rows if rows else 0.0,
                 facts=Facts(score=known), **more)  # fmt: skip


@pytest.mark.parametrize(("rows", "well"), [(27, True), (10_000, False)])
def test_a_few_rows_leave_room_for_luck_and_many_do_not(rows: int, well: bool) -> None:
    assert is_well(seen(0.926, rows=rows)) is well


def test_where_nobody_knows_what_can_be_had_nine_in_ten_is_enough() -> None:
    assert is_well(seen(0.91, reference=None))
    assert not is_well(seen(0.85, reference=None))


def test_nothing_is_well_while_something_is_named_or_no_score_is_there() -> None:
    assert not is_well(seen(1.0, diagnosis=Diagnosis(findings=(ILL,))))
    assert not is_well(seen(None))
    assert not is_well(seen(1.0, state="failed"))


def test_skill_is_0_at_the_constant_answer_1_at_a_perfect_one_and_counts_decades_below() -> None:
    known = ScoreFacts(metric="r2", constant=0.0)
    assert [skill(seen(s), known) for s in (0.0, 1.0)] == [0.0, 1.0]
    assert skill(seen(-99.0), known) == pytest.approx(-2.0)
    assert skill(seen(-9.0), known) > skill(seen(-99.0), known)
    assert skill(seen(None), known) == LOST
    assert skill(seen(0.5), ScoreFacts(metric="r2", constant=math.nan)) == 0.5


def test_well_within_chance_is_left_alone_but_good_only_as_the_quick_learners_are() -> None:
    assert is_well(seen(0.95, rows=50))
    assert not is_good(seen(0.95, rows=50))
    assert is_good(seen(1.0, rows=50))
    assert is_good(seen(0.91, reference=None))
    assert not is_good(seen(1.0, diagnosis=Diagnosis(findings=(ILL,))))


def test_missed_rare_classes_are_judged_by_every_class_alike() -> None:
    rare = Finding(code="D107", name="x", severity="serious", confidence=0.9)
    missed = seen(0.97, diagnosis=Diagnosis(findings=(rare,)))
    assert is_blind(missed)
    assert is_blind(seen(0.97, diagnosis=Diagnosis(
        findings=(Finding(code="A402", name="y", severity="serious", confidence=0.9,
                          consequences=(rare,)),))))  # fmt: skip
    assert not is_blind(seen(0.97))
    known = ScoreFacts(metric="accuracy", constant=0.97, reference=0.98,
                       recalls=(1.0, 0.0, math.nan))  # fmt: skip
    told = Visit(seed=0, score=0.97, metric="accuracy", facts=Facts(score=known)).balanced()
    assert (told.score, told.metric) == (0.5, BALANCED)
    assert told.known is not None
    assert (told.known.constant, told.known.reference) == (0.5, None)
    assert skill(told, told.known) == 0.0
    assert told.balanced().score == 0.5
    nothing = Visit(seed=0, score=0.97, metric="accuracy", facts=Facts(score=ScoreFacts(
        metric="accuracy", constant=0.9)))  # fmt: skip
    assert nothing.balanced() is nothing, "recalls are not known"
