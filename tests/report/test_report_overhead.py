"""What watching took informs, and frightens nobody."""

import pytest

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.words import use_language
from trainwright.report.diagnosis import as_text
from trainwright.report.findings import findings
from trainwright.report.rule_words import overhead_words

SHORT = Diagnosis(steps=8, overhead=0.39, seconds=0.05)


@pytest.mark.parametrize(
    ("steps", "overhead", "seconds", "said"),
    [
        (8, 0.39, 0.05, "0.02 s, nearly all of it in the first steps; of longer runs at most 2 %"),
        (
            5000,
            0.04,
            0.9,
            "0.04 s, nearly all of it in the first steps; of longer runs at most 2 %",
        ),
        (8, 0.39, 0.001, "0.01 s, nearly all of it in the first steps; of longer runs at most 2 %"),
        (5000, 0.04, 30.0, "4 % of the time"),  # too much, and said so
        (150, 0.01, 600.0, "1 % of the time"),  # few long steps
        (8, 0.39, None, "39 % of the time"),  # nobody knows how long it was
    ],
)
def test_seconds_are_said_where_a_share_says_nothing(steps, overhead, seconds, said):
    assert overhead_words(Diagnosis(steps=steps, overhead=overhead, seconds=seconds)) == said


@pytest.mark.parametrize(("language", "said"), [("en", "longer runs"), ("zh-Hant", "訓練較久時")])
def test_box_and_page_say_it_in_both_languages(language, said):
    use_language(language)
    assert said in " ".join(as_text(SHORT, width=110).split())
    assert said in findings(SHORT)
    assert "39" not in findings(SHORT)
