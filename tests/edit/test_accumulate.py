"""Gradients of four batches make one step, and as many examples are seen as before."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.edit.programs import changed, program, refusal, turned
from trainwright.edit.loop import train
from trainwright.recipe import Recipe, edit


def descent(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Steps that are proportional to the gradient."""
    return torch.optim.SGD(parameters, lr=0.1)


def test_a_step_is_that_of_four_times_the_batch() -> None:
    given = program(optimizer=descent)  # six batches of 32
    after, larger = changed("accumulate", given), changed("larger_batch", given)
    assert (after.habits.accumulate, after.habits.batch_size) == (4, 32)
    one, other = (train(each, 0, steps=1) for each in (after, larger))
    assert one.losses[0] == pytest.approx(other.losses[0], rel=1e-5)
    for name, value in one.model.state_dict().items():
        assert torch.allclose(value, other.model.state_dict()[name], atol=1e-6)
    assert after.done[-1].lines[0] == "(loss / 4).backward()  # each batch"
    assert (train(after, 0).losses == train(after, 0).losses).all()


@pytest.mark.parametrize(("epochs", "most", "steps"), [(4, None, 6), (4, 21, 6), (9, None, 14)])
def test_as_many_examples_are_seen_as_before_and_a_limit_of_steps_is_a_quarter(
    epochs: int, most: int | None, steps: int
) -> None:
    counted: list[int] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        counted.append(len(targets))
        return nn.functional.cross_entropy(outputs, targets)

    given = program(loss=loss, epochs=epochs).turned(most_steps=most)
    after = changed("accumulate", given)
    seen: list[int] = []
    for each in (given, after):
        counted.clear()
        assert len(train(each, 0).losses) == each.num_steps
        seen.append(sum(counted))
    assert after.num_steps == steps
    assert 0 <= seen[1] - seen[0] < 4 * 32  # less than one step more


def test_a_training_set_of_too_few_batches_is_refused() -> None:
    six = changed("accumulate", program())
    assert "has 6 batches, and 16 are asked for" in refusal("accumulate", six).what
    two = program(batch_size=100)
    assert "has 2 batches, and 4 are asked for" in refusal("accumulate", two).what
    facts = replace(program().facts, steps_per_epoch=3)
    assert "has 3 batches, and 4 are asked for" in refusal("accumulate", Recipe(), facts=facts).what
    facts = replace(facts, steps_per_epoch=4)
    assert turned("accumulate", {}, facts=facts) == {"algorithm.accumulate": 4}


def test_an_optimiser_that_calls_for_its_batch_again_is_refused() -> None:
    given = program(optimizer=lambda p: torch.optim.LBFGS(p, lr=0.1))
    assert "LBFGS calls for one batch several times" in refusal("accumulate", given).what


def test_a_longer_training_is_still_to_be_had_and_a_recipes_knob_has_its_bound() -> None:
    after = changed("accumulate", program())
    assert changed("train_longer", after).num_steps == 2 * after.num_steps
    most = edit(Recipe(), {"algorithm.accumulate": 50_000})
    assert "does not fit here" in refusal("accumulate", most).what
