"""What is kept is bounded and evenly spread, whatever the length of the run."""

import math
import tracemalloc

import numpy as np
import polars as pl
import pytest

from trainwright.core.history import LAYER_READINGS, STEP_READINGS, Curve, History
from trainwright.watch.budget import Purse
from trainwright.watch.frame import frame
from trainwright.watch.record import KEPT_OPENING, MAX_LOSSES, MAX_SAMPLES, Recorder


def _layer(value, L):
    return {name: [value] * L for name in LAYER_READINGS}


def test_at_most_two_thousand_samples_are_kept_the_opening_among_them():
    recorder = Recorder()
    for step in range(1, 9001):
        recorder.sample(step, _layer(float(step), 3), dict.fromkeys(STEP_READINGS, float(step)))
    history = recorder.history(("a", "b", "c"), num_steps=9000, overhead=None)
    assert KEPT_OPENING < len(history.steps) <= MAX_SAMPLES
    assert list(history.steps[:KEPT_OPENING]) == list(range(1, KEPT_OPENING + 1))
    gaps = np.diff(history.steps[KEPT_OPENING:])
    assert gaps.max() <= 64
    np.testing.assert_array_equal(history.by_layer["weight_norm"][:, 1], history.steps)
    np.testing.assert_array_equal(history.by_step["loss"], history.steps)


def test_losses_are_thinned_evenly_and_the_first_that_is_not_finite_is_remembered():
    recorder = Recorder()
    steps = np.arange(1, 350_001)
    values = 1.0 / steps
    values[200_000] = math.nan
    for start in range(0, len(steps), 1000):
        recorder.add_losses(steps[start : start + 1000], values[start : start + 1000])
    curve = recorder.losses.curve()
    assert MAX_LOSSES // 2 < len(curve.steps) <= MAX_LOSSES
    assert len(set(np.diff(curve.steps))) == 1
    assert curve.values[:10] == pytest.approx(1.0 / curve.steps[:10])
    assert recorder.losses.first_nonfinite == 200_001


def test_layers_that_turn_up_later_have_no_numbers_before():
    recorder = Recorder()
    recorder.sample(1, _layer(1.0, 1), {})
    recorder.sample(2, _layer(2.0, 2), {"loss": 3.0})
    history = recorder.history(("a", "b"), num_steps=2, overhead=0.01)
    np.testing.assert_array_equal(history.by_layer["output_sd"], [[1.0, np.nan], [2.0, 2.0]])
    assert set(history.by_step) == {"loss"}


def test_a_frame_has_one_row_for_each_number_that_was_measured():
    history = History(
        steps=np.array([1, 2]), layers=("a", "b"),
        by_layer={"weight_norm": np.array([[1.0, 2.0], [math.nan, 4.0]])},
        by_step={"learning_rate": np.array([0.1, 0.2]), "loss": np.array([9.0, 8.0])},
        loss=Curve(steps=np.array([2, 3]), values=np.array([8.0, math.nan])),
    )  # fmt: skip
    table = frame(history)
    assert table.columns == ["step", "layer", "reading", "value"]
    assert table.height == 3 + 2 + 3
    assert table.filter(pl.col("reading") == "loss")["step"].to_list() == [1, 2, 3]
    assert table.filter((pl.col("layer") == "b") & (pl.col("step") == 2))["value"].to_list() == [
        4.0
    ]


def test_fifty_layers_and_a_hundred_thousand_steps_need_less_than_20_mb_here_and_in_a_store():
    stored = [0]

    def sink(readings):
        stored[0] += sum(np.asarray(v).size * 8 for r in readings for v in r.values.values())

    purse, now, due, second, sampled = Purse(0.05), 0.0, 1, False, 0
    purse.begin(0.0)
    tracemalloc.start()
    recorder = Recorder(sink)
    for step in range(1, 100_001):
        now += 1e-3
        if step % 256 == 0:
            recorder.add_losses(list(range(step - 255, step + 1)), [0.5] * 256)
        if step != due:
            purse.ends.append(now)
            continue
        recorder.sample(step, _layer(float(step), 50), dict.fromkeys(STEP_READINGS, 1.0))
        sampled += 1
        purse.settle(began=now - 1e-3, ended=now + 1e-4, direct=1e-4)
        now += 1e-4
        if purse.in_opening or second:
            second, due = False, purse.next_step(step, now)
        else:
            second, due = True, step + 1
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 1000 < sampled < 2500
    assert held < 20e6
    assert stored[0] < 20e6
