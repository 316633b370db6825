"""Layers in plain lists, tuples and dicts are trained like those that a module sees."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.edit.programs import changed, net, program, refusal
from trainwright.core.errors import TrainwrightError
from trainwright.edit.loop import train
from trainwright.edit.program import Program
from trainwright.edit.surgery.register import register


class Kept(nn.Module):
    """Hidden layers of six units in whatever `keep` makes of three; `walk` runs them."""

    def __init__(self, keep: Callable[[list[Any]], Any], walk: Callable[[Any, Tensor], Tensor]):
        super().__init__()
        self.layers = keep([nn.Linear(6, 6) for _ in range(3)])
        self.walk, self.out = walk, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.walk(self.layers, x))


def in_turn(layers: Any, x: Tensor) -> Tensor:
    for layer in layers:
        x = torch.relu(layer(x))
    return x


def by_index(layers: Any, x: Tensor) -> Tensor:
    for number in range(len(layers)):
        x = x + torch.relu(layers[number](x))
    return in_turn(reversed(layers[:-1]), layers[-1](x))


def nested(layers: Any, x: Tensor) -> Tensor:
    return in_turn(layers[1], in_turn(layers[0], x))


def by_key(layers: Any, x: Tensor) -> Tensor:
    return in_turn([layers[key] for key in layers], x) + layers["a"](x)


def by_items(layers: Any, x: Tensor) -> Tensor:
    return in_turn([layer for _, layer in layers.items()], x)


def pairs(layers: Any, x: Tensor) -> Tensor:
    for down, up in layers["both"]:
        x = torch.relu(up(torch.relu(down(x))))
    return x


def weights(layers: Any, x: Tensor) -> Tensor:
    for weight in layers:
        x = torch.relu(x @ weight)
    return x


def of_weights(layers: list[nn.Linear]) -> list[Tensor]:
    return [layer.weight for layer in layers]


def named(layers: list[Any]) -> dict[str, Any]:
    return dict(zip("abc", layers, strict=True))


KEPT: list[tuple[Any, Any, str, int]] = [
    (list, in_turn, "torch.nn.ModuleList(self.layers)", 8),
    (list, by_index, "torch.nn.ModuleList(self.layers)", 8),
    (tuple, in_turn, "torch.nn.ModuleList(self.layers)", 8),
    (lambda x: [x[:2], x[2:]], nested,
     "torch.nn.ModuleList(torch.nn.ModuleList(each) for each in self.layers)", 8),
    (lambda x: (x[0], (x[1], x[2])), lambda held, x: in_turn(held[1], held[0](x)),
     "torch.nn.ModuleList([self.layers[0], torch.nn.ModuleList(self.layers[1])])", 8),
    (named, by_key, "torch.nn.ModuleDict(self.layers)", 8),
    (named, by_items, "torch.nn.ModuleDict(self.layers)", 8),
    (lambda x: {"both": [(x[0], x[1])]}, pairs,
     "torch.nn.ModuleDict({key: torch.nn.ModuleList(torch.nn.ModuleList(each) for each in each) "
     "for key, each in self.layers.items()})", 6),
    (of_weights, weights, "torch.nn.ParameterList(self.layers)", 5),
    (lambda x: [w.detach().clone().requires_grad_() for w in of_weights(x)], weights,
     "torch.nn.ParameterList(self.layers)", 5),
    (lambda x: named(of_weights(x)), lambda held, x: weights(held.values(), x),
     "torch.nn.ParameterDict(self.layers)", 5),
    (lambda x: x[0].weight.detach().clone().requires_grad_(), lambda held, x: torch.relu(x @ held),
     "torch.nn.Parameter(self.layers)", 3),
]  # fmt: skip


@pytest.mark.parametrize(("keep", "walk", "line", "count"), KEPT)
def test_hidden_layers_are_trained(keep: Any, walk: Any, line: str, count: int) -> None:
    given = program(lambda: Kept(keep, walk))
    after = changed("register_parameters", given)
    assert after.done[-1].lines == (f"self.layers = {line}  # Kept.__init__",)
    few = given.few()
    model, optimizer = after.start(0)
    assert torch.equal(few.call(model), few.call(given.start(0)[0]))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == count
    trained, start = train(after, 0).model.state_dict(), model.state_dict()
    assert [name for name in start if torch.equal(start[name], trained[name])] == []
    assert "holds every parameter" in refusal("register_parameters", after).what


@pytest.mark.parametrize(("keep", "walk", "line", "count"), KEPT)
def test_the_printed_line_written_by_hand_is_what_the_edit_does(
    keep: Any, walk: Any, line: str, count: int
) -> None:
    made, _ = changed("register_parameters", program(lambda: Kept(keep, walk))).start(0)
    by_hand = Kept(keep, walk)
    held = vars(by_hand).pop("layers")
    by_hand.layers = eval(line.replace("self.layers", "held"), {"torch": torch, "held": held})
    assert sorted(by_hand.state_dict()) == sorted(made.state_dict())
    assert len(list(by_hand.parameters())) == count


def test_a_score_that_hidden_layers_kept_low_rises() -> None:
    given = program(lambda: Small(), epochs=12)
    after = changed("register_parameters", given)
    scores = [train(each, 0).score for each in (given, after)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[1] > scores[0] + 0.1


class Small(nn.Module):
    """Everything passes two units that start as noise, of a module that keeps its list itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = Kept(lambda x: [nn.Linear(6, 2)], in_turn), nn.Linear(2, 3)
        nn.init.normal_(self.body.layers[0].weight, std=0.01)
        self.body.out = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))


def test_lists_within_hidden_layers_are_registered_too() -> None:
    outer = changed("register_parameters", program(lambda: Kept(lambda x: [Small(), x[0]], shrunk)))
    names = [name for name, _ in outer.start(0)[0].named_parameters()]
    assert "layers.0.body.layers.0.weight" in names
    assert len(names) == 10


def shrunk(layers: Any, x: Tensor) -> Tensor:
    return layers[1](x) + layers[0](x).sum(1, keepdim=True)


def test_what_the_optimiser_was_not_given_comes_with_it() -> None:
    model = Kept(list, in_turn)
    given = program(model, optimizer=torch.optim.SGD([model.out.weight], lr=0.1))
    after = changed("register_parameters", given)
    _, optimizer = after.start(0)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 8
    assert [line for done in after.done for line in done.lines] == [
        "self.layers = torch.nn.ModuleList(self.layers)  # Kept.__init__",
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)",
    ]


# --- what is left alone, and what cannot be done -------------------------------------------------


class Teaching(nn.Module):
    """A frozen teacher, kept out of the parameters by a list."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = [net().requires_grad_(False)], net()

    def forward(self, x: Tensor) -> Tensor:
        return self.student(x) + self.teacher[0](x)


class Known(nn.Module):
    """A list of layers that are attributes as well."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 3)
        self.order = [self.one, self.two]

    def forward(self, x: Tensor) -> Tensor:
        return self.order[1](torch.relu(self.order[0](x)))


class Slotted(nn.Module):
    """Its list lies in a slot."""

    __slots__ = ("layers",)

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "layers", [nn.Linear(6, 6)])
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(in_turn(self.layers, x))


@pytest.mark.parametrize("make", [Teaching, Known, net])
def test_what_is_frozen_or_known_already_stays_where_it_is(make: Any) -> None:
    assert "holds every parameter" in refusal("register_parameters", program(make)).what


@pytest.mark.parametrize(
    ("keep", "walk", "reason"),
    [
        (lambda x: dict(enumerate(x)), lambda held, x: in_turn(held.values(), x),
         "the key '0' is no word"),
        (lambda x: {"block.1": x[0]}, lambda held, x: held["block.1"](x), "the name 'block.1'"),
        (lambda x: {"keys": x[0]}, lambda held, x: held["keys"](x), "the name 'keys'"),
        (lambda x: {"training": x[0]}, lambda held, x: held["training"](x), "already exists"),
        (lambda x: [x[0], "relu"], lambda held, x: held[0](x), "is no module"),
        (lambda x: [x[0].weight, (x[1].weight * 2)], weights, "computed from others"),
        (named, lambda held, x: held.get("a")(x), "'ModuleDict' object has no attribute 'get'"),
    ],
)  # fmt: skip
def test_what_torch_cannot_register_is_refused_with_the_reason(
    keep: Any, walk: Any, reason: str
) -> None:
    assert reason in refusal("register_parameters", program(lambda: Kept(keep, walk))).what


def test_a_slot_is_no_place_for_a_module() -> None:
    with pytest.raises(TrainwrightError, match="'Slotted' keeps it in __slots__"):
        register(Slotted())
    assert refusal("register_parameters", program(Slotted)).what  # torch copies no slots either


def test_what_cannot_be_registered_beside_what_can_is_said() -> None:
    class Both(Kept):
        def __init__(self) -> None:
            super().__init__(list, in_turn)
            self.odd = {1: nn.Linear(6, 3)}

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.odd[1](x)

    after: Program = changed("register_parameters", program(Both))
    assert after.done[-1].lines[1] == "# odd: not registered: the key '1' is no word"
