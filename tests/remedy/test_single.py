"""One change stands for a remedy, or for a finding: the first of its remedies that fits the run."""

from dataclasses import replace

import pytest

from trainwright import api
from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.errors import TrainwrightError
from trainwright.core.history import History
from trainwright.edit.edit import NotApplicable
from trainwright.recipe import diff
from trainwright.remedy import single
from trainwright.remedy.single import remedied


@pytest.fixture(scope="module")
def run():
    """A run whose record and readings are real; its diagnosis is made by each test."""
    return api.fit("sklearn:wine", budget="20 steps", quiet=True, model={"name": "mlp", "width": 8},
                   algorithm={"optimizer": "sgd", "learning_rate": 0.5})  # fmt: skip


def finding(code, *remedies, **parts):
    return Finding(code=code, name="", severity="serious", confidence=0.9, remedies=remedies,
                   **parts)  # fmt: skip


@pytest.fixture
def judged(monkeypatch):
    """Sets what diagnosis says of the run."""

    def give(*findings, possible=()):
        found = Diagnosis(findings=findings, possible=possible)
        monkeypatch.setattr(single, "judge_stored", lambda record, readings: (found, History()))

    return give


def tried(run, word):
    return remedied(run.recipe, run.record, run.readings(), word)


def test_a_remedy_is_applied_and_nothing_else(run, judged):
    judged(finding("A401", "lower_learning_rate"))
    edited, name, closes = tried(run, "lower_learning_rate")
    assert [(path, new) for path, _, new in diff(run.recipe, edited)] == [
        ("algorithm.learning_rate", 0.05)
    ]
    assert (name, closes) == ("lower_learning_rate", "A401")


def test_a_remedy_that_no_finding_asks_for_is_tried_all_the_same(run, judged):
    judged()
    _, name, closes = tried(run, " raise_learning_rate ")
    assert (name, closes) == ("raise_learning_rate", "")


@pytest.mark.parametrize("word", ["A401", "a401"])
def test_a_rule_stands_for_the_first_of_its_remedies_that_fits(run, judged, word):
    judged(finding("A401", "reorder_steps", "not_of_this_version", "lower_learning_rate"))
    _, name, closes = tried(run, word)
    assert (name, closes) == ("lower_learning_rate", "A401")


def test_consequences_and_possible_findings_are_found_too(run, judged):
    effect = finding("M207", "widen")
    root = replace(finding("A402", "raise_learning_rate"), consequences=(effect,))
    judged(root, possible=(finding("A403", "train_longer"),))
    assert tried(run, "M207")[1:] == ("widen", "M207")
    assert tried(run, "A403")[1:] == ("train_longer", "A403")


def test_a_rule_that_the_run_has_not_is_refused_with_those_it_has(run, judged):
    judged(finding("A402", "raise_learning_rate"))
    with pytest.raises(TrainwrightError, match="A401 is not among the findings") as caught:
        tried(run, "A401")
    assert "A402" in str(caught.value)


def test_a_finding_for_which_only_a_person_can_do_something_says_so(run, judged):
    judged(finding("D110"))
    with pytest.raises(TrainwrightError, match="nothing to try for D110"):
        tried(run, "D110")


def test_the_reason_is_that_of_the_first_remedy_that_does_not_fit(run, judged):
    judged(finding("A401", "reorder_steps"))
    with pytest.raises(NotApplicable, match="reorder_steps cannot be applied"):
        tried(run, "A401")


def test_a_misspelt_remedy_gets_its_neighbour(run, judged):
    judged()
    with pytest.raises(TrainwrightError, match="lower_learning_rate"):
        tried(run, "lower_learning_rat")
