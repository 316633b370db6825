"""Exams move what readings left open, by Bayes' rule, within their seconds, and nothing else."""

import math
import time
from dataclasses import replace

import pytest
from exam_programs import at_rate, healthy

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.exam import Exam, Likelihood, Terms
from trainwright.exam.settle import LIMIT, becomes_named, moved, posterior, settle, worth
from trainwright.report.rule_words import evidence_words


def finding(code, confidence, **rest):
    return Finding(code=code, name="", severity="serious", confidence=confidence, **rest)


def answered(**shifts):
    return Exam(name="higher_rate", answer="yes", values={"gain": 0.3}, pictures=(), shifts=shifts,
                seconds=0.1)  # fmt: skip


def test_odds_are_multiplied_and_never_certain():
    assert posterior(0.2, math.log(8)) == pytest.approx(2 / 3)
    assert posterior(0.6, 0.0) == pytest.approx(0.6)
    assert posterior(0.5, 100.0) == LIMIT
    assert posterior(0.5, -100.0) == pytest.approx(1 - LIMIT)


def test_a_suspicion_that_rises_becomes_a_finding_with_the_exam_as_evidence():
    before = Diagnosis(possible=(finding("A402", 0.2),))
    after = moved(before, [answered(A402=math.log(8.5))], healthy().facts)
    assert [f.code for f in after.findings] == ["A402"]
    assert [f.code for f in becomes_named(before, after)] == ["A402"]
    told = after.findings[0].evidence[-1]
    assert (told.reading, told.value) == ("exam.higher_rate", "yes")
    assert evidence_words(told) == "Ten times the rate yes"
    assert told.provenance == "0.20 → 0.68"
    assert not after.possible


def test_a_finding_that_is_refuted_is_named_no_more():
    before = Diagnosis(findings=(finding("A401", 0.6),))
    after = moved(before, [answered(A401=math.log(0.1))], healthy().facts)
    assert after.healthy
    assert [f.code for f in after.suspected] == ["A401"]


def test_what_was_sure_and_what_no_exam_is_about_stay_as_they_are():
    notes = finding("D108", 0.3, note=True)
    before = Diagnosis(findings=(finding("L301", 0.97), finding("D104", 0.6)), possible=(notes,))
    after = moved(before, [answered(L301=-3.0, D108=2.0)], healthy().facts)
    assert after is before


def test_no_exam_lifts_a_finding_above_one_that_was_sure_without():
    yes = replace(answered(D101=5.0), name="standardised_inputs")
    before = Diagnosis(findings=(finding("A401", 0.97), finding("D101", 0.85)))
    after = moved(before, [yes], healthy().facts, explained=0.0)
    assert [f.code for f in after.findings] == ["A401", "D101"]
    assert after.findings[1].confidence == pytest.approx(0.94)
    alone = moved(Diagnosis(findings=(finding("D101", 0.85),)), [yes], healthy().facts)
    assert alone.findings[0].confidence == LIMIT


def test_what_a_likelier_finding_explains_raises_others_less():
    no = Exam(name="overfit_one_batch", answer="no", values={}, pictures=(), seconds=0.1,
              shifts={"M207": math.log(0.75 / 0.15), "L301": math.log(0.5 / 0.15)})  # fmt: skip
    about = {"M207": Likelihood(0.25, 0.85), "L301": Likelihood(0.5, 0.85)}
    asked = {no.name: replace(EXAMS[no.name], about=about)}
    only, both = (Diagnosis(findings=named, possible=(finding("M207", 0.2),))
                  for named in ((), (finding("L301", 0.97),)))  # fmt: skip
    alone = moved(only, [no], healthy().facts, questions=asked)
    beside = moved(both, [no], healthy().facts, questions=asked)
    (raised,) = alone.findings
    explained = next(f for f in (*beside.suspected, *beside.findings[0].consequences)
                     if f.code == "M207")  # fmt: skip
    assert raised.confidence == pytest.approx(5 / 9)
    assert 0.2 < explained.confidence < 0.35


def test_in_a_program_that_is_sick_already_a_better_arm_says_little():
    yes = replace(answered(A408=math.log(16)), name="adamw_arm")
    alone = Diagnosis(possible=(finding("A408", 0.5 - 1e-9),))
    beside = replace(alone, findings=(finding("D107", 0.75),))
    assert moved(alone, [yes], healthy().facts).findings[0].confidence == pytest.approx(16 / 17)
    after = {f.code: f.confidence for f in moved(beside, [yes], healthy().facts).findings}
    assert after == {"D107": 0.75, "A408": pytest.approx(2 / 3)}, "a quarter of four bits"
    no = replace(answered(A408=-math.log(16)), name="adamw_arm", answer="no")
    (lowered,) = moved(beside, [no], healthy().facts).suspected
    assert lowered.confidence == pytest.approx(1 / 17), "what refutes it counts in full"


def test_a_symptom_does_not_explain_its_own_cause_away():
    yes = answered(A402=math.log(16))
    before = Diagnosis(findings=(finding("A403", 0.75),), possible=(finding("A402", 0.2),))
    assert moved(before, [yes], healthy().facts).findings[0].confidence == pytest.approx(0.8)


def test_consequences_are_told_from_causes_anew():
    before = Diagnosis(findings=(finding("A403", 0.7),), possible=(finding("A402", 0.3),))
    after = moved(before, [answered(A402=3.0)], healthy().facts)
    assert [f.code for f in after.findings] == ["A402"]
    assert [f.code for f in after.findings[0].consequences] == ["A403"]


def test_an_exam_about_nothing_open_is_worth_nothing():
    assert worth(EXAMS["higher_rate"], Diagnosis(findings=(finding("A402", 0.99),))) == 0
    assert worth(EXAMS["higher_rate"], Diagnosis(possible=(finding("D104", 0.4),))) == 0
    open_one = Diagnosis(possible=(finding("A402", 0.4),))
    assert worth(EXAMS["higher_rate"], open_one) > worth(EXAMS["adamw_arm"], open_one) > 0


def test_a_rate_too_low_is_settled_and_a_good_one_cleared():
    before = Diagnosis(possible=(finding("A402", 0.3), finding("A401", 0.1)))
    after, exams = settle(at_rate(1e-2), before, budget=8.0)
    assert exams
    assert [f.code for f in after.findings] == ["A402"]
    assert after.findings[0].confidence > 0.7
    cleared, _ = settle(healthy(), Diagnosis(findings=(finding("A402", 0.6),)), budget=8.0)
    assert cleared.healthy


def test_nothing_is_asked_where_nothing_is_open_or_no_time_is_there():
    sure = Diagnosis(findings=(finding("L301", 0.97),))
    assert settle(healthy(), sure, budget=5.0) == (sure, ())
    open_one = Diagnosis(possible=(finding("A402", 0.4),))
    assert settle(healthy(), open_one, budget=0.01) == (open_one, ())


def test_the_budget_holds():
    program = healthy().turned(epochs=400)
    codes = ("A402", "A401", "M207", "M206", "D101", "A404", "M214", "A408", "D110")
    many = Diagnosis(possible=tuple(finding(code, 0.3) for code in codes))
    began = time.perf_counter()
    _, exams = settle(program, many, budget=3.0)
    assert exams
    assert time.perf_counter() - began < 6.0


def test_exams_are_told_as_they_end_and_share_their_arms():
    heard = []
    terms = Terms()
    many = Diagnosis(possible=(finding("A402", 0.4), finding("A401", 0.4)))
    _, exams = settle(healthy(), many, budget=8.0, terms=terms, told=heard.append)
    assert tuple(heard) == exams
    assert len({exam.name for exam in exams}) == len(exams)
    assert replace(terms).trained is terms.trained
