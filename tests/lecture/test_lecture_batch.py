"""C05 and C06 on one seed, and what breaks them: batches that are no random draw, a full batch that
is as quick."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainwright.core.claims import ClaimResult
from trainwright.lecture import batch
from trainwright.lecture.batch import (
    MINI,
    NOISE_SIZES,
    TARGET,
    Noise,
    gradient_noise,
    judged_c06,
    rise,
)
from trainwright.lecture.claim import Pace
from trainwright.lecture.descent import Course, Descent, course_of
from trainwright.report.lecture import reading_words


@pytest.fixture(scope="module")
def course():
    with course_of(0) as assembly:
        yield Course(assembly)


class ByClass:
    """An order in which neighbours are of one class: batches that are no random draw."""

    uniform = False
    seed = 0

    def __init__(self, target):
        self.positions = target.argsort(stable=True)

    def epoch(self, number):
        return self.positions


def test_noise_falls_with_the_root_of_the_batch_size_and_not_where_rows_are_sorted(
    course, monkeypatch
):
    monkeypatch.setattr(batch, "NOISE_DRAWS", 80)
    course.back_to_start()
    drawn = gradient_noise(course)
    assert -0.6 < drawn.slope < -0.4
    assert drawn.scale > 1
    by_class = gradient_noise(course, ByClass(course.rows.target))
    assert by_class.slope > -0.3


def test_the_noise_is_that_of_single_gradients(course):
    """sd at size 1 against the covariance of all rows' own gradients, one backward pass each."""
    course.back_to_start()
    rows, module = course.rows, course.assembly.module
    each = []
    for row in range(0, len(rows.target), 3):
        loss = course.assembly.objective(
            module(rows.inputs[0][row : row + 1]), rows.target[row : row + 1]
        )
        each.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
        )
    spread = torch.stack(each).double().var(dim=0, unbiased=False).sum().sqrt()
    assert gradient_noise(course).deviation[0] == pytest.approx(float(spread), rel=0.15)


def test_a_descent_is_repeatable_and_ends_at_the_target(course):
    first = course.descend(MINI, 0.3, target=TARGET, most=20_000)
    assert first == course.descend(MINI, 0.3, target=TARGET, most=20_000)
    assert first.loss[-1] <= TARGET < first.loss[-2]
    assert first.examples == first.read[-1]
    assert course.descend(MINI, 1e-4, target=TARGET, most=2000).examples is None
    lost = course.descend(MINI, 1000.0, target=TARGET, most=20_000)
    assert lost.examples is None
    assert lost.read[-1] < 2000, "what will not come back is given up"


def test_the_quickest_rate_is_the_quickest_of_all(course):
    rates = (0.03, 0.3, 0.1)
    best = course.quickest(MINI, target=TARGET, most=20_000, rates=rates)
    alone = [course.descend(MINI, rate, target=TARGET, most=20_000) for rate in rates]
    assert best.examples == min(one.examples for one in alone if one.examples)


def way(size, examples) -> Descent:
    return Descent(rate=0.1, batch_size=size, examples=examples, read=(0.0, 1.0), loss=(2.0, 1.0))


def test_the_rise_is_one_where_a_larger_batch_saves_no_step_and_none_where_it_is_free():
    flat = [way(size, 1000) for size in (4, 8, 16)]
    steep = [way(size, 10 * size) for size in (100, 200, 400)]
    assert rise([*flat, *steep], high=50) == pytest.approx(0.0)
    assert rise([*flat, *steep], low=50) == pytest.approx(1.0)
    assert rise([*flat, *steep], low=300) == pytest.approx(1.0), "the two nearest at least"


def noises(slope) -> list[Noise]:
    sizes = np.array(NOISE_SIZES, dtype=float)
    return [Noise(deviation=tuple(sizes**slope), slope=slope, scale=64.0)] * 3


def ways(power) -> list[Descent]:
    return [way(size, round(1000 * max(1.0, size / 64) ** power)) for size in batch.SIZES]


@pytest.mark.parametrize(
    ("slope", "power", "verdict"),
    [(-0.5, 0.8, "holds"), (-0.2, 0.8, "differs"), (-0.5, -0.3, "differs")],
)
def test_c05_asks_for_both_of_its_parts(slope, power, verdict):
    seeds = [(noises(slope + jitter), ways(power + jitter)) for jitter in (-0.01, 0.0, 0.01)]
    found = batch._judged_c05([n for n, _ in seeds], [w for _, w in seeds])
    assert found.verdict == verdict
    assert reading_words(ClaimResult(claim="C05", measured=found, seconds=1.0, device=""))


def test_mini_batches_need_fewer_examples_on_digits():
    found = batch.measure_c06(Pace(seeds=1))
    assert found.effect > 3
    assert found.n == 2
    assert reading_words(ClaimResult(claim="C06", measured=found, seconds=1.0, device=""))


def test_c06_differs_where_the_full_batch_is_as_quick_and_waits_for_a_mini_batch_that_arrives():
    pairs = [(way(32, 1000 + k), way(1257, 800 + 2 * k)) for k in range(4)]
    assert judged_c06(pairs).verdict == "differs"
    assert judged_c06([(full, mini) for mini, full in pairs]).verdict == "holds"
    never = [(replace(mini, examples=None), full) for mini, full in pairs]
    assert judged_c06(never).verdict == "undecided"
    late = [(mini, replace(full, examples=None)) for mini, full in pairs]
    found = judged_c06(late)
    assert found.verdict == "holds"
    assert found.values["missed"] == 4
    assert math.isfinite(found.effect)
