"""A logarithmic axis shows what a reader can use."""

import re

import numpy as np
import pytest

from trainwright.core.claims import Picture
from trainwright.core.claims import Series as Bars
from trainwright.core.words import use_language
from trainwright.report import figures
from trainwright.report.curves import Series
from trainwright.report.pictures import captioned


def series(values):
    known = tuple(float(v) for v in values)
    steps = tuple(float(at) for at in range(1, len(known) + 1))
    return Series(steps=steps, values=known, low=known, high=known, thinned=False)


def heights(html) -> list[float]:
    """The numbers at the ticks of the vertical axis, which is drawn last."""
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", html)
    numbers = [float(t.replace("−", "-").replace(",", "").replace("k", "e3")) for t in texts]
    across = next(at for at in range(1, len(numbers)) if numbers[at] < numbers[at - 1])
    return numbers[across:]


BY_HEART = series(np.geomspace(1.0, 1e-48, 60))
TURNED_UP = series(np.concatenate([np.linspace(0.7, 0.2, 10), np.linspace(0.2, 3.4, 50)]))


def test_a_loss_that_vanishes_leaves_the_axis_where_floats_end():
    ticks = heights(figures.marked_curve("loss", BY_HEART, []))
    assert min(ticks) > 1e-8
    assert max(ticks) <= 1.0


def test_a_validation_loss_is_not_pressed_flat_by_a_training_loss_far_below():
    lines = [(BY_HEART, figures.BLUE), (TURNED_UP, figures.ORANGE)]
    ticks = heights(figures.curve("loss", lines, marked=None, log=True))
    assert min(ticks) >= 1e-4
    assert max(ticks) <= 10.0


def test_two_losses_that_fall_together_are_both_seen_to_their_end():
    lines = [(series(np.geomspace(1, 1e-6, 50)), figures.BLUE)] * 2
    assert min(heights(figures.curve("loss", lines, marked=None, log=True))) <= 1.1e-6


@pytest.mark.parametrize(("last", "log"), [(0.0, True), (-0.5, False), (0.9, False)])
def test_zero_has_no_place_on_the_axis_and_numbers_below_it_need_another_one(last, log):
    ticks = heights(figures.marked_curve("loss", series([1.0, 0.95, 0.92, last]), []))
    steps = np.diff(ticks)
    assert (not np.allclose(steps, steps[0])) == log


def test_an_axis_of_a_loss_that_exploded_has_one_exponent_a_number():
    drawn = figures.curve("loss", [(series(np.geomspace(1, 1e21, 50)), figures.BLUE)],
                          marked=None, log=True)  # fmt: skip
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", drawn)
    assert any(re.fullmatch(r"1e\d\d", text) for text in texts), texts
    assert not any("+" in text or re.search(r"e.*[kM]", text) for text in texts), texts


BARS = (Bars(name="a", x=(1.0, 2.0, 3.0), y=(3.0, 1.0, 2.0)),
        Bars(name="b", x=(1.0, 2.0, 3.0), y=(1.0, float("nan"), 2.0)))  # fmt: skip


def test_an_axis_of_names_has_names_for_numbers_and_a_bar_for_each_series():
    names = ("knobs", "<i>診斷</i>", "$x^2$")
    drawn = figures.shared_axes("f", Picture(x="x", y="y", series=BARS, names=names))
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", drawn)
    assert texts[:3] == ["knobs", "&lt;i&gt;診斷&lt;/i&gt;", "$x^2$"]
    assert not any("@" in text for text in texts)
    assert [drawn.count(f"fill: var(--part-{at})") for at in (0, 1)] == [3, 2]


def test_the_names_on_an_axis_are_said_in_the_language_spoken():
    picture = Picture(
        x="x",
        y="y",
        series=BARS,
        names=("lecture.asked_group.knob", "plain", "lecture.asked_group.number"),
    )
    use_language("zh-Hant")
    try:
        drawn = captioned("f", picture)
    finally:
        use_language("en")
    for word in ("旋鈕", "plain", "數字"):
        assert f">{word}</text>" in drawn
