"""`trainwright exam`: a card for people, an object for machines, three parts for mistakes."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from trainwright.cli.app import run
from trainwright.core.claims import Picture, Series
from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.words import use_language
from trainwright.exam.ask import Asked, run_exams
from trainwright.exam.exam import Exam
from trainwright.recipe import load
from trainwright.report.exams import cards, drawn, exam_card, moved_lines, plain_asked

RECIPE = """budget = "60 steps"
[data]
source = "sklearn:wine"
[model]
name = "mlp"
width = 16
[algorithm]
optimizer = "sgd"
learning_rate = 1e-4
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    return tmp_path


def test_an_exam_of_a_recipe_answers_in_words_and_in_json(place, capsys):
    assert run(["exam", "r.toml", "higher_rate", "--budget", "2s"]) == 0
    said = capsys.readouterr().out
    assert "Is a rate of 0.001 instead of 0.0001 better?" in said
    assert "A402" in said
    assert run(["exam", "r.toml", "rate_times_ten", "--budget", "2s", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["exams"][0]["name"] == "higher_rate"
    assert told["exams"][0]["answer"] in ("yes", "no", "undecided")
    assert set(told["exams"][0]["shifts"]) == {"A402"}


def test_an_exam_of_a_run_says_what_it_makes_of_the_diagnosis(place, capsys):
    assert run(["fit", "sklearn:wine", "--recipe", "r.toml", "--name", "one"]) == 0
    capsys.readouterr()
    assert run(["exam", "one", "double_depth", "--budget", "2s", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == "one"
    assert told["before"].keys() == told["after"].keys()
    assert run(["exam", "one", "replay", "--budget", "2s"]) == 0
    assert "60" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["r.toml", "overfit_one_bach"], "overfit_one_batch"), (["r.toml"], "--all"),
     (["r.toml", "replay", "--all"], "--all"), (["nobody", "replay"], "nobody"),
     (["r.toml", "replay", "--budget", "3 epochs"], "is a time"),
     (["r.toml", "replay"], "does not apply")],
)  # fmt: skip
def test_mistakes_are_answered_in_three_parts(place, capsys, words, expected):
    if words[0] == "nobody":
        run(["fit", "sklearn:wine", "--recipe", "r.toml", "--budget", "2 steps"])
        capsys.readouterr()
    assert run(["exam", *words]) == 2
    said = capsys.readouterr().err
    assert expected in said.replace("\n", " ")
    assert "do:" in said


def test_all_exams_are_taken_as_far_as_the_time_reaches(place):
    asked = run_exams(load("r.toml"), budget=8.0)
    taken = {exam.name for exam in asked.exams}
    skipped = dict(asked.skipped)
    assert len(taken) >= 5
    assert taken | skipped.keys() >= {"overfit_one_batch", "label_noise", "float32_arm"}
    assert not taken & skipped.keys()
    assert len(plain_asked(asked)["exams"]) == len(taken)


CURVE = Picture(x="exams.axis.steps", y="exams.axis.loss",
                series=(Series(name="exams.series.before", x=(1.0, 2.0, 3.0), y=(3.0, 2.0, 1.0)),))  # fmt: skip
ANSWERED = Exam(name="higher_rate", answer="yes", pictures=(CURVE,), shifts={"A402": 2.0, "A401": -0.01},
                seconds=1.5, notes=("exams.note.cut",),
                values={"metric": "accuracy", "before": 0.4, "after": 0.9, "gain": 0.5, "pairs": 2.0,
                        "steps": 60.0, "own": 1e-4, "other": 1e-3})  # fmt: skip


def suspected(confidence):
    return Diagnosis(possible=(Finding(code="A402", name="", severity="serious",
                                       confidence=confidence),))  # fmt: skip


def text(renderable):
    console = Console(width=100, record=True, file=StringIO())
    console.print(renderable)
    return console.export_text()


def test_a_card_holds_question_answer_curve_note_and_what_moved():
    said = text(exam_card(ANSWERED, before=suspected(0.2), after=suspected(0.6)))
    for part in ("Ten times the rate", "0.400 → 0.900", "█", "cut short", "20% → 60%", "1.5 s"):
        assert part in said
    assert moved_lines(ANSWERED, None, None) == ["A402 learning rate too low: odds × 7.4"]
    unseen = text(exam_card(ANSWERED, before=Diagnosis(), after=Diagnosis()))
    assert "odds × 7.4" in unseen
    settled = replace(ANSWERED, shifts={"A401": 0.0})
    assert "moves no finding" in text(exam_card(settled))


def test_a_curve_falls_in_letters():
    line = drawn(CURVE)[1]
    assert line.index("█") < line.index("▁")
    assert "3 → 1" in line


def test_the_card_is_said_in_chinese():
    use_language("zh-Hant")
    asked = Asked(exams=(ANSWERED,), skipped=(("train_on", "time"),))
    said = text(cards(asked))
    assert "學習率的十倍" in said
    assert "沒有時間了" in said


@pytest.mark.parametrize("budget", ["banana", "3 epochs"])
def test_a_budget_that_is_no_time_is_refused_with_what_is(place, capsys, budget):
    assert run(["exam", "r.toml", "overfit_one_batch", "--budget", budget]) != 0
    said = capsys.readouterr().err
    assert "an exam's budget is a time" in said
    assert "60s or 3min" in said
