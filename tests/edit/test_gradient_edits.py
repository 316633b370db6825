"""What a forward cuts off gets its gradient back, the outputs stay to the bit; what is stopped on
purpose stays stopped."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.edit.programs import adam, changed, classes, net, program, refusal
from trainwright.edit.loop import train
from trainwright.edit.program import Program
from trainwright.recipe import Recipe

Middle = Callable[[Tensor], Tensor]


class Cut(nn.Module):
    """Two layers with `middle` between them."""

    def __init__(self, middle: Middle) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 16), middle, nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


class Ended(Cut):
    """What `middle` does, it does to the outputs."""

    def forward(self, x: Tensor) -> Tensor:
        return self.middle(self.last(torch.relu(self.first(x))))


# --- what leaves the graph, as people write it ---------------------------------------------------


def by_detach(x: Tensor) -> Tensor:
    return torch.relu(x).detach()


def by_detach_in_place(x: Tensor) -> Tensor:
    return torch.relu(x).detach_()


def by_data(x: Tensor) -> Tensor:
    return torch.relu(x.data)


def by_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(torch.relu(x).detach().cpu().numpy())


def by_numpy_copy(x: Tensor) -> Tensor:
    return torch.from_numpy(torch.relu(x).detach().numpy().astype(np.float64)).float()


def by_new_tensor(x: Tensor) -> Tensor:
    return torch.tensor(torch.relu(x).detach().numpy(), requires_grad=True)


def by_list(x: Tensor) -> Tensor:
    return torch.tensor(torch.relu(x).tolist())


def by_copy(x: Tensor) -> Tensor:
    return torch.relu(x).new_tensor(torch.relu(x).detach())


def by_leaf(x: Tensor) -> Tensor:
    return torch.relu(x).detach().requires_grad_()


LEAVING = [by_detach, by_detach_in_place, by_data, by_numpy, by_numpy_copy, by_new_tensor, by_list,
           by_copy, by_leaf]  # fmt: skip


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
@pytest.mark.parametrize("way", LEAVING)
def test_a_tensor_that_left_the_graph_has_the_gradient_of_one_that_did_not(way: Middle) -> None:
    given = program(lambda: Cut(way))
    mended = changed("reattach_gradient", given)
    whole = program(lambda: Cut(torch.relu))
    assert gradients(given)["first.weight"] is None
    assert same_gradients(mended, whole)
    assert same_outputs(mended, given)


def test_outputs_that_went_over_numpy_are_rejoined() -> None:
    given = program(lambda: Ended(lambda x: torch.from_numpy(x.detach().numpy())), loss=squares)
    mended = changed("reattach_gradient", given)
    assert same_gradients(mended, program(lambda: Ended(lambda x: x), loss=squares))


def test_the_line_says_where_and_what_to_write() -> None:
    mended = changed("reattach_gradient", program(lambda: Cut(by_data)))
    line = by_data.__code__.co_firstlineno + 1
    assert mended.done[-1].lines == (f"# {__file__}:{line}: write x for x.data",)
    over = changed("reattach_gradient", program(lambda: Cut(by_numpy)))
    assert "leave out detach and numpy()" in over.done[-1].lines[0]


# --- what has no slope ---------------------------------------------------------------------------


def hard(x: Tensor) -> Tensor:
    return (x > 0.1).float()


def hard_below(x: Tensor) -> Tensor:
    return x.lt(0.1).to(torch.float32)


def hard_product(x: Tensor) -> Tensor:
    return 1.0 * (x >= 0.1)


def rounded_in_place(x: Tensor) -> Tensor:
    return (3 * x).round_()


def choice(x: Tensor) -> Tensor:
    return F.one_hot(x.argmax(1), x.shape[1]).float()


def choice_of_max(x: Tensor) -> Tensor:
    _, chosen = x.max(dim=1)
    return torch.eye(x.shape[1])[chosen]


def choice_scattered(x: Tensor) -> Tensor:
    return torch.zeros_like(x).scatter_(1, x.argmax(1, keepdim=True), 1.0)


def by_hand(values: Middle, smooth: Middle) -> Middle:
    """The estimator as a person writes it."""
    return lambda x: smooth(x) + (values(x) - smooth(x)).detach()


def softmax(x: Tensor) -> Tensor:
    return x.softmax(1)


def leave(x: Tensor) -> Tensor:
    return x


FLAT: list[tuple[Middle, Middle]] = [
    (torch.round, leave), (torch.floor, leave), (torch.ceil, leave), (torch.trunc, leave),
    (torch.sign, leave), (hard, leave), (hard_below, torch.neg), (hard_product, leave),
    (rounded_in_place, lambda x: 3 * x), (choice, softmax), (choice_of_max, softmax), (choice_scattered, softmax),
]  # fmt: skip


@pytest.mark.parametrize(("flat", "smooth"), FLAT)
def test_a_flat_call_gets_the_straight_through_gradient(flat: Middle, smooth: Middle) -> None:
    given = program(lambda: Cut(lambda x: flat(x)))
    mended = changed("straight_through", given)
    found = gradients(given)["first.weight"]
    assert found is None or not found.any()
    assert same_gradients(mended, program(lambda: Cut(by_hand(flat, smooth))), exact=False)
    assert same_outputs(mended, given)


def test_signs_of_zero_and_infinity_pass_as_they_are() -> None:
    given = program(lambda: Cut(lambda x: torch.cat([x[:, :14], -x[:, :1].abs() * 0, x[:, :1]], 1)
                                .round()))  # fmt: skip
    mended = changed("straight_through", given)
    model, plain = mended.start(0)[0], given.start(0)[0]
    x = given.few().inputs[0].clone()
    x[0, 0] = torch.inf
    inner = [captured(m, x) for m in (model, plain)]
    assert torch.equal(inner[0].nan_to_num(7), inner[1].nan_to_num(7))
    assert torch.equal(inner[0].signbit(), inner[1].signbit())
    assert inner[1].isinf().any()


def test_what_is_flat_and_leaves_the_graph_is_mended_in_both() -> None:
    given = program(lambda: Cut(lambda x: (4 * x).round().detach()))
    mended = changed("straight_through", given)
    smooth = by_hand(lambda x: (4 * x).round(), lambda x: 4 * x)
    assert same_gradients(mended, program(lambda: Cut(smooth)), exact=False)
    assert "for another" not in refusal("reattach_gradient", given).what


def test_what_only_leaves_the_graph_needs_no_estimator() -> None:
    why = refusal("straight_through", program(lambda: Cut(by_detach))).what
    assert "try reattach_gradient" in why


# --- what is left alone --------------------------------------------------------------------------


class Quantised(Cut):
    """A code book with its own straight-through estimator, and a cut somewhere else if `sick`."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__(leave)
        self.sick, self.between = sick, nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h + (h.round() - h).detach()
        h = torch.relu(self.between(h))
        return self.last(h.detach() if self.sick else h)


class Taught(nn.Module):
    """A student beside a teacher whose answers are a target: (answers, the teacher's)."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.student, self.teacher = Cut(by_detach if sick else torch.relu), net()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.student(x), self.teacher(x).detach()


class Unseen(Cut):
    """The first layer works under no_grad."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.first(x)
        return self.last(torch.relu(h))


def distilled(outputs: Any, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], y) + (outputs[0] - outputs[1]).square().mean()


def squares(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - F.one_hot(y, 3)).square().mean()


def test_a_gradient_that_reaches_all_weights_is_left_as_it_is() -> None:
    for given in (program(), program(lambda: Quantised(sick=False))):
        for name in ("reattach_gradient", "straight_through"):
            assert "it is so already" in refusal(name, given).what


def test_a_stop_on_purpose_beside_a_cut_is_no_part_of_the_remedy() -> None:
    given = program(lambda: Quantised(sick=True))
    mended = changed("reattach_gradient", given)
    assert same_gradients(mended, program(lambda: Quantised(sick=False)))
    assert len(mended.done[-1].lines) == 1


def test_a_teacher_stays_a_teacher() -> None:
    well = program(lambda: Taught(sick=False), loss=distilled)
    assert "no call in the forward" in refusal("reattach_gradient", well).what
    sick = program(lambda: Taught(sick=True), loss=distilled)
    mended = changed("reattach_gradient", sick)
    found = gradients(mended)
    assert found["student.first.weight"] is not None
    assert found["teacher.0.weight"] is None


def test_weights_that_the_optimiser_was_not_given_need_no_gradient() -> None:
    model = Cut(by_detach)
    given = program(model, optimizer=torch.optim.SGD(model.last.parameters(), lr=0.1))
    assert "it is so already" in refusal("reattach_gradient", given).what


def test_no_grad_is_for_a_person_to_take_away() -> None:
    why = refusal("reattach_gradient", program(lambda: Unseen(leave))).what
    assert "torch.no_grad() keeps 'first.bias, first.weight'" in why
    assert "test_gradient_edits.py" in why


def test_values_that_numpy_changed_are_not_rejoined() -> None:
    def doubled(x: Tensor) -> Tensor:
        return torch.from_numpy(np.tanh(x.detach().numpy()))

    given = program(lambda: Cut(doubled))
    assert "nothing of the same values has one" in refusal("reattach_gradient", given).what
    assert "nothing of the same values has one" in refusal("straight_through", given).what


def test_numbers_of_classes_have_no_slope() -> None:
    given = program(
        lambda: Ended(lambda x: x.argmax(1, keepdim=True).float().requires_grad_()),
        loss=lambda o, y: (o.squeeze(1) - y).square().mean(),
    )
    assert "numbers of classes" in refusal("straight_through", given).what
    assert "another remedy's case" in refusal("reattach_gradient", given).what


def test_a_cut_in_the_loss_is_not_the_networks() -> None:
    given = program(loss=lambda o, y: F.cross_entropy(o.detach().requires_grad_(), y))
    assert "no call in the forward" in refusal("reattach_gradient", given).what


@pytest.mark.parametrize("name", ["reattach_gradient", "straight_through"])
def test_a_recipe_has_nothing_to_mend(name: str) -> None:
    assert "cut no gradient" in refusal(name, Recipe()).do


# --- in use --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "way"), [("reattach_gradient", by_numpy), ("straight_through", choice)]
)
def test_a_mended_network_learns_what_it_could_not(name: str, way: Middle) -> None:
    given = program(lambda: Narrow(way), data=classes(), optimizer=adam, epochs=12)
    mended = changed(name, given)
    model = train(mended, 0).model
    start = mended.start(0)[0]
    assert not torch.equal(model.get_parameter("first.weight"), start.get_parameter("first.weight"))
    before, after = train(given, 0).score, train(mended, 0).score
    assert before is not None
    assert after is not None
    assert after > before + 0.1


class Narrow(nn.Module):
    """All that the head sees goes through three units that start as noise."""

    def __init__(self, middle: Middle) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 3), middle, nn.Linear(3, 3)
        nn.init.normal_(self.first.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


def test_a_mended_network_is_copied_like_any_other() -> None:
    mended = changed("reattach_gradient", program(lambda: Cut(by_numpy)))
    model = mended.start(0)[0]
    twin = copy.deepcopy(model)
    few = mended.few()
    mended.loss(few.run(twin), few.targets).backward()
    assert twin.get_parameter("first.weight").grad is not None
    assert model.get_parameter("first.weight").grad is None


# --- what is compared ----------------------------------------------------------------------------


def gradients(given: Program) -> dict[str, Tensor | None]:
    model, few = given.start(0)[0], given.few()
    loss = given.loss(few.call(model), few.targets)
    names, tensors = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, tensors, allow_unused=True), strict=True))


def same_gradients(one: Program, other: Program, *, exact: bool = True) -> bool:
    """`exact`: to the bit; what is added up in another order is close."""
    found, wanted = gradients(one), gradients(other)
    assert found.keys() == wanted.keys()
    same = torch.equal if exact else torch.allclose
    return all(f is not None and w is not None and w.any() and same(f, w)
               for f, w in zip(found.values(), wanted.values(), strict=True))  # fmt: skip


def same_outputs(one: Program, other: Program) -> bool:
    few = other.few()
    with torch.no_grad():
        blind = [few.call(each.start(0)[0]) for each in (one, other)]
    seen = [few.call(each.start(0)[0]) for each in (one, other)]
    return torch.equal(*blind) and torch.equal(*seen) and torch.equal(seen[0], blind[0])


def captured(model: nn.Module, x: Tensor) -> Tensor:
    """What goes into the last layer."""
    held: list[Tensor] = []
    handle = model.get_submodule("last").register_forward_pre_hook(lambda _, i: held.append(i[0]))
    model(x)
    handle.remove()
    return held[0].detach()
