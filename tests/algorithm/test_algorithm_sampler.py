"""Orders are pure functions of seed and epoch, and draw what they promise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.sampler import build_order
from trainwright.core.errors import RecipeError

CLASSES = ("rare", "common", "usual")
TARGETS = torch.tensor([0] * 10 + [1] * 700 + [2] * 290)


@given(num=st.integers(1, 300), seed=st.integers(0, 2**62), epoch=st.integers(0, 10**6))
def test_a_uniform_epoch_visits_every_example_once(num, seed, epoch):
    order = build_order(AlgorithmKnobs(), None, num, seed)
    assert torch.equal(order.epoch(epoch).sort().values, torch.arange(num))


@given(sampler=st.sampled_from(["uniform", "balanced"]), seed=st.integers(0, 2**62))
def test_an_epoch_depends_on_seed_and_number_only(sampler, seed):
    knobs = AlgorithmKnobs(sampler=sampler)
    one = build_order(knobs, TARGETS, len(TARGETS), seed)
    other = build_order(knobs, TARGETS, len(TARGETS), seed)
    other.epoch(0)
    torch.rand(3)
    assert torch.equal(one.epoch(4), other.epoch(4))
    assert not torch.equal(one.epoch(4), one.epoch(5))


def counts(order, epochs=20):
    drawn = torch.cat([order.epoch(e) for e in range(epochs)])
    return torch.bincount(TARGETS[drawn], minlength=3), len(drawn)


def within_noise(got, expected_share, total):
    """Five standard deviations of a binomial: one false alarm in two million."""
    sd = (total * expected_share * (1 - expected_share)) ** 0.5
    return abs(float(got) - total * expected_share) < 5 * sd


def test_balanced_draws_every_class_equally_often():
    order = build_order(AlgorithmKnobs(sampler="balanced"), TARGETS, len(TARGETS), 3)
    drawn, total = counts(order)
    assert all(within_noise(count, 1 / 3, total) for count in drawn), drawn


def test_weighted_draws_by_class_weight_and_never_a_class_of_weight_zero():
    knobs = AlgorithmKnobs(sampler="weighted", sampler_weights={"rare": 0, "usual": 2})
    order = build_order(knobs, TARGETS, len(TARGETS), 3, classes=CLASSES)
    drawn, total = counts(order)
    assert drawn[0] == 0
    assert within_noise(drawn[1], 700 / (700 + 2 * 290), total), drawn


@pytest.mark.parametrize(
    ("settings", "targets", "words"),
    [
        ({"sampler": "balanced"}, torch.rand(1000), "one class for each"),
        ({"sampler": "balanced"}, None, "one class for each"),
        ({"sampler": "weighted"}, TARGETS, "set sampler_weights"),
        ({"sampler": "weighted", "sampler_weights": {"comon": 2}}, TARGETS, "'common'"),
        (
            {"sampler": "weighted", "sampler_weights": dict.fromkeys(CLASSES, 0)},
            TARGETS,
            "no example to draw",
        ),
    ],
)
def test_a_sampler_that_does_not_fit_the_data_is_refused_with_the_way_out(settings, targets, words):
    with pytest.raises(RecipeError) as caught:
        build_order(AlgorithmKnobs(**settings), targets, 1000, 0, classes=CLASSES)
    assert words in str(caught.value)
    assert caught.value.problems[0].path == "algorithm.sampler"
