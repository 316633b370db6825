"""Each edit of the loss changes what it says, of programs and of recipes, and nothing else."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.edit.programs import changed, classes, net, numbers, program, refusal, turned
from trainwright.edit.loop import train
from trainwright.edit.program import Program
from trainwright.recipe import Recipe, edit

FITTING = ["pair_head_and_loss", "swap_loss", "stable_loss", "surrogate_loss"]


def softmaxed() -> nn.Module:
    return net(end=nn.Softmax(-1))


def raw(given: Program) -> Tensor:
    """[example, output] what the network gives for some rows."""
    with torch.no_grad():
        return given.start(0)[0](given.few().inputs[0])


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Broadcasts without a word."""
    return ((outputs - targets) ** 2).mean()


def hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of wrong answers: no gradient leads through it."""
    wrong = (outputs.argmax(-1) != targets).float().mean()
    return wrong + 0 * outputs.sum()


# --- the pair of head and loss -------------------------------------------------------------------


@pytest.mark.parametrize("name", FITTING)
def test_classes_get_raw_outputs_and_their_cross_entropy(name: str) -> None:
    given = program(softmaxed)
    after = changed(name, given)
    assert torch.allclose(raw(given).sum(-1), torch.ones(32))
    assert not torch.allclose(raw(after).sum(-1), torch.ones(32))
    few = after.few()
    expected = F.cross_entropy(raw(after), few.targets)
    assert float(after.loss(raw(after), few.targets)) == pytest.approx(float(expected))
    assert after.done[0].name == "linear_head"
    assert "it is so already" in refusal(name, after).what


def test_what_was_squashed_twice_is_learned_once_it_is_not() -> None:
    given = program(softmaxed, epochs=3)
    was, now = train(given, 0), train(changed("pair_head_and_loss", given), 0)
    assert now.losses[-1] < was.losses[-1] - 0.1


def test_yes_and_no_get_the_loss_on_logits_and_answers_stay_probabilities() -> None:
    X, y = classes()
    yes = (y == 1).float()[:, None]
    given = program(lambda: net(1, end=nn.Sigmoid()), data=(X, yes), loss=nn.BCELoss())
    after = changed("pair_head_and_loss", given)
    few = after.few()
    expected = F.binary_cross_entropy_with_logits(raw(after), few.targets)
    assert float(after.loss(raw(after), few.targets)) == pytest.approx(float(expected))
    assert torch.allclose(after.decode(raw(after)), raw(given), atol=1e-6)


def test_one_hot_rows_get_a_cross_entropy_instead_of_squared_errors() -> None:
    X, y = classes()
    given = program(data=(X, F.one_hot(y, 3).float()), loss=nn.MSELoss())
    after = changed("swap_loss", given)
    few = after.few()
    expected = F.cross_entropy(raw(after), few.targets.argmax(-1))
    assert float(after.loss(raw(after), few.targets)) == pytest.approx(float(expected), rel=1e-5)
    assert after.done[-1].lines[0].startswith("criterion = nn.CrossEntropyLoss()")


def test_numbers_get_squared_errors_of_equal_shapes() -> None:
    X, y = numbers()
    given = program(lambda: net(1), data=(X, y[:, 0]), loss=nn.L1Loss())
    after = changed("swap_loss", given)
    outputs = raw(after)
    few = after.few()
    by_hand = ((outputs[:, 0] - few.targets) ** 2).mean()
    assert float(after.loss(outputs, few.targets)) == pytest.approx(float(by_hand))


def test_too_few_outputs_cannot_be_paired() -> None:
    X, y = classes()

    def any_loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.square().mean()

    few = program(lambda: net(2), data=(X, y), loss=any_loss)
    assert "cannot tell 3 classes apart" in refusal("pair_head_and_loss", few).what
    several = program(lambda: net(2), data=(X, F.one_hot(y, 3).float()), loss=any_loss)
    assert "cannot be computed" in refusal("pair_head_and_loss", several).what


def test_two_classes_side_by_side_are_told_apart_as_more_would_be() -> None:
    X, y = classes()
    given = program(lambda: net(2), data=(X, y % 2), loss=nn.CrossEntropyLoss())
    after = changed("pair_head_and_loss", given)
    assert after.done[-1].lines[0].startswith("criterion = nn.CrossEntropyLoss()")
    assert after.decode is given.decode
    assert "CrossEntropyLoss(label" in changed("robust_loss", given).done[-1].lines[0]


def test_a_sure_wrong_answer_costs_a_finite_loss() -> None:
    given = program(softmaxed, loss=lambda p, y: F.nll_loss(torch.log(p), y))
    after = changed("stable_loss", given)
    sure, wrong = torch.tensor([[500.0, -500.0, 0.0]]), torch.tensor([1])
    assert torch.isinf(given.loss(sure.softmax(-1), wrong))
    assert float(after.loss(sure, wrong)) == pytest.approx(1000.0)


def test_a_loss_without_a_gradient_gets_one_that_has() -> None:
    given = program(loss=hits)
    after = changed("surrogate_loss", given)
    norms = []
    for of in (given, after):
        model, few = of.start(0)[0], of.few()
        of.loss(model(few.inputs[0]), few.targets).backward()
        norms.append(float(sum(p.grad.abs().sum() for p in model.parameters())))
    assert norms[0] == 0
    assert norms[1] > 0


def test_a_cut_within_the_network_is_not_mended_by_a_loss() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.relu(self.first(x)).detach())

    assert "cut within the network" in refusal("surrogate_loss", program(Cut)).what


# --- head, sign of shapes, reduction -------------------------------------------------------------


@pytest.mark.parametrize("end", [nn.ReLU(), nn.Sigmoid(), nn.Tanh()])
def test_outputs_leave_the_range_that_an_activation_held_them_in(end: nn.Module) -> None:
    given = program(lambda: net(1, end=end), data=numbers(), loss=nn.MSELoss())
    after = changed("linear_head", given)
    model = given.start(0)[0]
    with torch.no_grad():
        by_hand = model[2](model[1](model[0](given.few().inputs[0])))
        assert torch.equal(raw(after), by_hand)
        assert torch.equal(raw(given), end(by_hand))
    assert after.loss is given.loss
    assert "it is so already" in refusal("linear_head", after).what


def test_a_sum_becomes_a_mean_over_the_rows() -> None:
    given = program(loss=nn.CrossEntropyLoss(reduction="sum"))
    after = changed("reduce_mean", given)
    few = given.few()
    outputs = raw(given)
    mean = float(F.cross_entropy(outputs, few.targets))
    assert float(after.loss(outputs, few.targets)) == pytest.approx(mean, rel=1e-5)
    assert float(given.loss(outputs, few.targets)) == pytest.approx(32 * mean, rel=1e-5)
    assert "it is so already" in refusal("reduce_mean", after).what
    assert "it is so already" in refusal("reduce_mean", program()).what


def test_each_output_is_compared_with_its_own_target_alone() -> None:
    X, y = numbers()
    given = program(lambda: net(1), data=(X, y[:, 0]), loss=squared)
    after = changed("align_shapes", given)
    targets = given.few().targets
    perfect = targets[:, None]  # the outputs of a network that knows
    assert float(after.loss(perfect, targets)) == 0
    assert float(given.loss(perfect, targets)) > float(targets.var())
    assert "it is so already" in refusal("align_shapes", after).what
    same = program(lambda: net(1), data=(X, y), loss=squared)
    assert "it is so already" in refusal("align_shapes", same).what
    assert "not equally many" in refusal("align_shapes", program()).what


# --- recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear_head", "align_shapes"])
def test_what_a_recipe_always_does_needs_no_edit(name: str) -> None:
    assert "recipes do so by themselves" in refusal(name, Recipe()).do


@pytest.mark.parametrize("name", [*FITTING, "reduce_mean"])
def test_a_recipe_goes_back_to_the_loss_of_its_task(name: str) -> None:
    assert turned(name, {"loss.name": "hinge"}) == {"loss.name": "auto"}
    odd = {"loss.name": "huber", "loss.huber_delta": 3.0}
    assert turned(name, odd) == {"loss.name": "auto", "loss.huber_delta": 1.0}
    assert "it is so already" in refusal(name, edit(Recipe(), {})).what
