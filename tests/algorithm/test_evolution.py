"""A gradient estimated by tries points where the true one points, and only order counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import rankdata

from trainwright.algorithm.evolution import Evolution, centred_ranks, estimated_gradient
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.optimizer import build_optimizers
from trainwright.algorithm.resolve import resolve
from trainwright.core.words import use_language

LOSSES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.0, 1e30]), min_size=2, max_size=12)


@given(LOSSES)
def test_ranks_are_scipys_average_ranks_brought_to_half_on_both_sides(losses):
    expected = (rankdata(losses) - 1) / (len(losses) - 1) - 0.5
    found = centred_ranks(torch.tensor(losses))
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@given(LOSSES)
def test_ranks_sum_to_zero_and_do_not_change_under_a_rising_map(losses):
    given_losses = torch.tensor(losses, dtype=torch.float64)
    found = centred_ranks(given_losses)
    assert found.sum().item() == pytest.approx(0.0, abs=1e-9)
    assert torch.equal(found, centred_ranks(given_losses.sqrt() * 3 + 1))


def test_a_loss_that_is_no_number_counts_as_the_worst():
    found = centred_ranks(torch.tensor([0.1, float("nan"), 0.2, float("inf"), -float("inf")]))
    assert found.tolist() == pytest.approx([-0.25, 0.375, 0.0, 0.375, -0.5])
    assert centred_ranks(torch.tensor([3.0])).tolist() == [0.0]


def test_the_estimate_points_along_the_gradient_of_a_quadratic():
    dice = torch.Generator().manual_seed(0)
    at = torch.randn(20, generator=dice, dtype=torch.float64)
    scale = torch.linspace(0.5, 2.0, 20, dtype=torch.float64)

    def loss(points):
        return (scale * points.square()).sum(dim=-1) / 2

    directions = torch.randn(4000, 20, generator=dice, dtype=torch.float64)
    above, below = loss(at + 0.01 * directions), loss(at - 0.01 * directions)
    found = estimated_gradient(directions, above, below, 0.01)
    assert torch.cosine_similarity(found, scale * at, dim=0) > 0.99


def test_losses_that_are_all_equal_give_no_direction():
    directions = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    assert not estimated_gradient(directions, torch.ones(8), torch.ones(8), 0.1).any()


def test_the_optimiser_is_adam_by_another_name():
    knobs = resolve(AlgorithmKnobs(optimizer="evolution"), num_train=500)
    (found,) = build_optimizers(knobs, torch.nn.Linear(3, 2))
    assert type(found) is Evolution
    assert isinstance(found, torch.optim.Adam)


@pytest.mark.parametrize("num", [1, 700, 10**7])
def test_what_evolution_needs_is_resolved_within_its_bounds(num):
    knobs = resolve(AlgorithmKnobs(optimizer="evolution"), num_train=num)
    assert AlgorithmKnobs.model_validate(knobs.model_dump()) == knobs
    assert isinstance(knobs.population, int)
    assert isinstance(knobs.sigma, float)
    other = resolve(AlgorithmKnobs(), num_train=num)
    assert (other.population, other.sigma) == ("auto", "auto")


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ({"sigma": 0.1}, "optimizer = 'evolution'"),
        ({"population": 8, "optimizer": "sgd"}, "optimizer = 'evolution'"),
        ({"population": 9, "optimizer": "evolution"}, "10"),
        ({"l2": 0.1, "optimizer": "evolution"}, "weight_decay"),
        ({"l1": 0.1, "l1_form": "penalty", "optimizer": "evolution"}, "proximal"),
        ({"precision": "float16", "optimizer": "evolution"}, "bfloat16"),
        ({"nesterov": True, "optimizer": "evolution"}, "nesterov"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused_with_the_way_out(settings, way, language):
    use_language(language)
    with pytest.raises(ValidationError) as caught:
        AlgorithmKnobs(**settings)
    assert way in str(caught.value)
