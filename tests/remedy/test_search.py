"""Searching tries causes apart and together, tells each misfit once, and leaves out what was not
needed."""

from dataclasses import replace

import pytest

from tests.edit.programs import adam, classes, program
from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.facts import ScoreFacts
from trainwright.edit.edit import Context, Edit, Target
from trainwright.edit.program import Program
from trainwright.remedy import search as searching
from trainwright.remedy.candidates import candidates
from trainwright.remedy.search import SEVERAL, Search, Step
from trainwright.remedy.visit import Visit

ROOM = ScoreFacts(metric="accuracy", constant=0.0, reference=1.0)


def finding(code: str, *remedies: str, sure: float = 0.9) -> Finding:
    return Finding(code=code, name=code, severity="serious", confidence=sure, remedies=remedies)


def seen(score: float | None, *findings: Finding) -> Visit:
    return Visit(seed=0, score=score, metric="accuracy", seconds=0.0,
                 diagnosis=Diagnosis(findings=findings))  # fmt: skip


def searched(score, given: Program, first: Visit, **parts) -> Search:
    """A search in which `score(names of edits)` stands for training."""

    def look(target: Target) -> Visit:
        assert isinstance(target, Program)
        return score(tuple(done.name for done in target.done))

    search = Search(look=look, allow_code=False, without=frozenset(), tell=lambda step: None,
                    **parts)  # fmt: skip
    search.begin(given, first)
    search.run(float("inf"))
    return search


@pytest.fixture(autouse=True)
def no_range_test(monkeypatch):
    """Rates go by their usual step: nothing here is trained."""
    monkeypatch.setattr(searching, "range_test", lambda *a, **k: pytest.fail("not asked for"))
    monkeypatch.setattr(searching, "RATES", ())


def test_several_causes_are_tried_together_after_the_first_alone():
    faults = (finding("A1", "swap_optimizer"), finding("B1", "standardise_inputs", sure=0.8))
    known = [c.parts for c in candidates(seen(0.2, *faults), short=False)]
    names = [tuple(remedy for remedy, _ in parts) for parts in known]
    assert names[0] == ("swap_optimizer",)
    assert ("swap_optimizer", "standardise_inputs") in names


def test_one_cause_alone_is_no_combination():
    found = candidates(seen(0.2, finding("A1", "swap_optimizer", "widen")), short=False)
    assert all(len(c.parts) == 1 for c in found)


def test_two_faults_that_hide_each_other_are_found_by_trying_both():
    needed = {"swap_optimizer", "standardise_inputs"}
    faults = (finding("A1", "swap_optimizer"), finding("B1", "standardise_inputs"))

    def score(names):
        good = needed <= set(names)
        return seen(0.99 if good else 0.1, *(() if good else faults))

    X, y = classes(scale=50.0)
    search = searched(score, program(data=(X, y)), seen(0.1, *faults))
    assert {name for name, _ in search.best.path} == needed
    assert search.best.step.skill > 0.9
    assert len(search.steps) <= 5


def test_what_was_not_needed_is_left_out_again():
    faults = (finding("A1", "swap_optimizer"), finding("B1", "standardise_inputs"))

    def score(names):
        good = "standardise_inputs" in names
        return seen(0.99 if good else 0.1, *(() if good else faults))

    X, y = classes(scale=50.0)
    given = program(data=(X, y))
    search = Search(look=lambda t: score(tuple(d.name for d in t.done)), allow_code=False,
                    without=frozenset(), tell=lambda step: None)  # fmt: skip
    first = search.begin(given, seen(0.1, *faults))
    both = tuple((name, Context()) for name in ("swap_optimizer", "standardise_inputs"))
    target, applied = search._applied(given, both)
    search._keep(search._train(first, target, applied, "A1"))
    kept = search.prune(float("inf"))
    assert [name for name, _ in kept.path] == ["standardise_inputs"]
    assert kept.step.left_out
    assert kept.step.remedy == "swap_optimizer"


def test_what_all_need_stays():
    def score(names):
        return seen(0.9 if len(names) == 2 else 0.3)

    given = program(data=classes(scale=50.0))
    search = Search(look=lambda t: score(tuple(d.name for d in t.done)), allow_code=False,
                    without=frozenset(), tell=lambda step: None)  # fmt: skip
    first = search.begin(given, seen(0.1))
    both = tuple((name, Context()) for name in ("swap_optimizer", "standardise_inputs"))
    target, applied = search._applied(given, both)
    search._keep(search._train(first, target, applied, ""))
    assert len(search.prune(float("inf")).path) == 2


def test_a_misfit_is_told_once_however_many_runs_it_is_tried_on():
    faults = (finding("A1", "unfreeze", "swap_optimizer", "widen", "add_norm"),)
    search = searched(lambda names: seen(0.1 + 0.1 * min(3, len(names)), *faults), program(),
                      seen(0.1, *faults))  # fmt: skip
    told = [step for step in search.steps if step.judged == "not applicable"]
    assert [step.remedy for step in told if step.remedy == "unfreeze"] == ["unfreeze"]
    assert len(search.steps) > 4


def test_the_rate_of_a_remedy_comes_from_a_range_test(monkeypatch):
    asked = []

    def fake(program, *, seconds):
        asked.append(seconds)
        return type("Range", (), {"best": 0.003})()

    monkeypatch.setattr(searching, "range_test", fake)
    monkeypatch.setattr(searching, "RATES", ("raise_learning_rate",))
    given = program(optimizer=lambda parameters: adam(parameters, 1e-6))
    rates = []

    def look(target):
        rates.append(target.optimizer.learning_rate)
        return seen(0.99)

    search = Search(look=look, allow_code=False, without=frozenset(), tell=lambda step: None)
    search.begin(given, seen(0.1, finding("A402", "raise_learning_rate")))
    search.run(float("inf"))
    assert asked
    assert rates == [0.003]


def test_a_step_names_its_remedies_apart():
    step = Step(number=1, parent=0, remedy=f"widen{SEVERAL}add_norm", code="", judged="same")
    assert step.remedies == ("widen", "add_norm")
    assert replace(step, remedy="").remedies == ()


def test_an_edit_that_breaks_a_network_is_told_as_failed(monkeypatch):
    def broken(program: Program, context: Context) -> Program:
        raise RuntimeError("too wide")

    monkeypatch.setattr(searching, "edits", lambda: {"widen": Edit(name="widen", program=broken)})
    search = searched(lambda names: pytest.fail("nothing to train"), program(),
                      seen(0.95, finding("M207", "widen")))  # fmt: skip
    assert [(s.judged, s.reason) for s in search.steps[1:]] == [
        ("failed", "RuntimeError: too wide")]  # fmt: skip
