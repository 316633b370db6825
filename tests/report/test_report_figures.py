"""A logarithmic axis shows what a reader can use."""

import re

import numpy as np
import pytest

from trainwright.report import figures
from trainwright.report.curves import Series


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
