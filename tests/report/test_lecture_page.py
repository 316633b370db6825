"""The lecture's page holds everything and loads nothing, in either language; the card says the same."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from trainwright.core.claims import ClaimNews, ClaimResult, Measured, Picture, Series
from trainwright.core.words import use_language
from trainwright.report import figures
from trainwright.report.lecture import (
    claim_card,
    claims_table,
    ended_line,
    measuring,
    plain,
    reading_words,
)
from trainwright.report.lecture_page import render_lecture

CURVE = Series(name="lecture.series.mini_batch", x=(10.0, 100.0), y=(2.0, 0.1), low=(1.0, 0.05),
               high=(3.0, 0.2))  # fmt: skip
FOREIGN = Series(name="<script>alert(1)</script>", x=(10.0, 100.0), y=(3.0, 2.0), dots=True)
VALUES = {"mini": 1600.0, "mini_steps": 50.0, "size": 32, "mini_rate": 0.3, "full": 13_000.0,
          "full_steps": 10.0, "full_rate": 2.0, "target": 0.1, "missed": 0}  # fmt: skip
C06 = ClaimResult(
    claim="C06", seconds=12.3, device="x86_64",
    measured=Measured(
        verdict="holds", effect=7.97, interval=(7.33, 8.66), n=10, values=VALUES,
        notes=("lecture.note.rate_high", "a note in plain words"),
        pictures=(Picture(x="lecture.axis.examples", y="lecture.axis.train_loss",
                          series=(CURVE, FOREIGN), log_x=True, log_y=True),),
    ),
)  # fmt: skip
C07 = replace(C06, claim="C07", measured=replace(C06.measured, verdict="differs", pictures=()))


def text_of(drawn, width=100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(drawn)
    return " ".join(out.getvalue().replace("│", " ").split())


@pytest.fixture
def chinese():
    use_language("zh-Hant")
    yield
    use_language("en")


def test_the_page_has_every_claim_with_its_words_numbers_and_picture():
    page = render_lecture([C06, C07], sources={"C06": "Bottou & Bousquet 2008"})
    for part in ("Mini-batches reach the target", "小批次以較少的梯度達到目標", "7.33 to 8.66, n = 10",
                 "Instead of the whole data set", "It does not hold as measured here",
                 "13,000 examples", "Bottou &amp; Bousquet 2008", "a note in plain words",
                 "fast, then stuck", '<a href="#C07">',
                 'id="C07"', "mini-batch"):  # fmt: skip
        assert part in page, part
    assert page.count("<svg") == 1
    assert page.startswith("<!doctype html>")


def test_the_page_loads_nothing_and_foreign_text_does_nothing():
    page = render_lecture([C06], sources={"C06": '"><img src=http://x>'})
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_speaks_the_language_spoken(chinese):
    page = render_lecture([C06], sources={})
    assert 'lang="zh-Hant"' in page
    assert "依此處的量測，成立。" in page
    assert "It holds" not in page


def test_the_page_of_nothing_says_how_to_measure():
    assert "trainwright lecture all" in render_lecture([], sources={})


def test_a_figure_leaves_out_what_its_axes_cannot_show():
    curve = Series(
        name="a", x=(0.0, 1.0, 10.0, 100.0, 1000.0), y=(1.0, float("nan"), 0.0, 2.0, 3.0)
    )
    drawn = figures.shared_axes("f", Picture(x="x", y="y", series=(curve,), log_x=True, log_y=True))
    assert len(re.findall(r"<use ", drawn)) == 2, "two dots are left"
    nothing = replace(curve, y=(float("inf"),) * 5)
    assert "<svg" in figures.shared_axes("f", Picture(x="x", y="y", series=(nothing,)))


def test_each_series_has_the_colour_of_its_key():
    page = render_lecture([C06], sources={})
    figure = page[page.index("<svg") : page.index("</svg>")]
    for part in ("part-0", "part-1"):
        assert f"key part {part}" in page
        assert f"var(--{part})" in figure


def test_the_card_says_verdict_effect_reading_and_rule():
    text = text_of(claim_card(C06, kept=True))
    for part in ("C06 · Mini-batches", "小批次", "It holds as measured here.", "7.97, interval 7.33 to 8.66",
                 "1,600 examples (50 steps)", "Rule: Until the same training loss", "12.3 s", "--fresh"):  # fmt: skip
        assert part in text, part
    assert "--fresh" not in text_of(claim_card(C06))


def test_a_result_of_other_code_has_a_card_without_its_reading():
    old = replace(C06, measured=replace(C06.measured, values={}))
    assert reading_words(old) == ""
    assert "It holds" in text_of(claim_card(old))


def test_the_table_lists_what_is_not_measured_yet_too():
    text = text_of(claims_table(["C06", "C01"], {"C06": C06}))
    assert "holds 7.97" in text
    assert "C01 A step is" in text


def test_json_has_null_where_there_is_no_bound():
    open_ended = replace(C06.measured, interval=(1.0, float("inf")))
    assert plain(replace(C06, measured=open_ended)) == {
        "claim": "C06", "verdict": "holds", "effect": 7.97, "interval": [1.0, None], "n": 10,
        "seconds": 12.3, "title": "Mini-batches reach the target with fewer gradients",
    }  # fmt: skip


def test_where_there_is_no_terminal_each_end_is_a_line():
    out = io.StringIO()
    with measuring(out, claims=2, quiet=False) as tell:
        tell(ClaimNews(claim="C06", share=0.5))
        tell(ClaimNews(claim="C06", result=C06))
        tell(ClaimNews(claim="C07", reason="broke [bold]"))
    assert out.getvalue().splitlines() == [
        ended_line(ClaimNews(claim="C06", result=C06)), "C07  not measured: broke [bold]",
    ]  # fmt: skip
    quiet = io.StringIO()
    with measuring(quiet, claims=1, quiet=True) as tell:
        tell(ClaimNews(claim="C06", result=C06))
    assert quiet.getvalue() == ""
