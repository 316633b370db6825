"""C07: a linear stack is its product, a stack with ReLU is not, and each part of the rule can fail."""

import pytest
import torch
from torch import nn

from trainwright.core.claims import ClaimResult
from trainwright.lecture.linearity import (
    ARMS,
    SETTINGS,
    SHAPES,
    Outcome,
    collapse,
    collapse_error,
    judged,
)
from trainwright.lecture.training import recipe_of, trained
from trainwright.report.lecture import reading_words


def stack(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    parts = [nn.Linear(3, 16), *between, nn.Linear(16, 16, bias=False), *between, nn.Linear(16, 2)]
    return nn.Sequential(*parts)


def test_the_product_of_the_layers_gives_the_stacks_outputs():
    net = stack()
    weight, bias = collapse(net)
    points = torch.randn(50, 3)
    torch.testing.assert_close(
        net(points).double(), points.double() @ weight.T + bias, rtol=1e-5, atol=1e-5
    )
    assert collapse_error(net) < 1e-5


@pytest.mark.parametrize("between", [nn.ReLU(), nn.Tanh(), nn.LeakyReLU(0.9)])
def test_with_a_nonlinearity_between_it_does_not(between):
    assert collapse_error(stack(between)) > 1e-2


def outcomes(**changed) -> list[Outcome]:
    """Three seeds on each shape, a little apart."""
    return [
        Outcome(shape=shape, error=changed.get("error", 1e-7),
                accuracy={"linear": 0.5 + 0.002 * seed, "stack": 0.501 + changed.get("gain", 0.0),
                          "relu": changed.get("relu", 0.99) - 0.001 * seed})
        for seed in range(3) for shape in SHAPES
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [({}, "holds"), ({"error": 1e-3}, "differs"), ({"gain": 0.2}, "differs"),
     ({"relu": 0.6}, "differs"), ({"relu": 0.951}, "undecided")],
    ids=["all parts", "no product", "a stack that learns more", "ReLU that does not solve", "near"],
)  # fmt: skip
def test_each_part_can_fail(changed, verdict):
    found = judged(outcomes(**changed))
    assert found.verdict == verdict
    assert reading_words(ClaimResult(claim="C07", measured=found, seconds=1.0, device=""))


def test_on_xor_a_trained_stack_is_one_map_and_relu_solves():
    runs = {
        arm: trained(recipe_of({**SETTINGS, "data.source": "synthetic:xor", **settings}, 0))
        for arm, settings in ARMS.items()
    }
    assert collapse_error(runs["stack"].module) < 1e-5
    assert collapse_error(runs["relu"].module) > 1e-2
    assert abs(runs["stack"].metric("accuracy") - runs["linear"].metric("accuracy")) < 0.1
    assert runs["relu"].metric("accuracy") > 0.95
