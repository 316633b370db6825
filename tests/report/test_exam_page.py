"""The exams' page holds each question, answer, curve and what it moved, in both languages."""

import pytest

from trainwright.core.claims import Picture, Series
from trainwright.core.words import use_language
from trainwright.exam.ask import Asked
from trainwright.exam.exam import Exam
from trainwright.report.exam_page import render_exams

CURVE = Picture(x="exams.axis.steps", y="exams.axis.loss", series=(
    Series(name="exams.series.before", x=(1.0, 2.0, 3.0), y=(3.0, 2.0, 1.0)),
    Series(name="exams.series.after", x=(1.0, 2.0, 3.0), y=(3.0, float("nan"), 0.5)),
))  # fmt: skip
ANSWERED = Exam(
    name="higher_rate", answer="yes", pictures=(CURVE,), shifts={"A402": 2.0}, seconds=1.5,
    notes=("exams.note.cut",),
    values={"metric": "accuracy", "before": 0.4, "after": 0.9, "gain": 0.5, "pairs": 2.0,
            "steps": 60.0, "own": 1e-4, "other": 1e-3},
)  # fmt: skip
ASKED = Asked(exams=(ANSWERED,), skipped=(("train_on", "time"), ("label_noise", "<i>no</i>")))


def test_a_card_holds_question_answer_curve_note_and_what_moved():
    page = render_exams(ASKED, title="swift & <b>otter</b>")
    for part in ("Is a rate of 0.001 instead of 0.0001 better?", "0.400 → 0.900", "odds × 7.4",
                 "cut short", "<svg", "Twice as long", "no time was left"):  # fmt: skip
        assert part in page, part
    assert "<b>otter" not in page
    assert "<i>no" not in page


def test_an_exam_that_moves_nothing_says_so():
    quiet = Exam(name="higher_rate", answer="no", values=ANSWERED.values, pictures=(), shifts={},
                 seconds=0.5)  # fmt: skip
    page = render_exams(Asked(exams=(quiet,)))
    assert "moves no finding" in page
    assert "<svg" not in page
    assert "Not taken" not in page


@pytest.mark.parametrize("part", ["學習率的十倍", "未進行的檢測", "沒有時間了", 'lang="zh-Hant"'])
def test_the_page_is_said_in_chinese(part):
    use_language("zh-Hant")
    assert part in render_exams(ASKED)
