"""One more hidden layer changes nothing behind a ReLU, learns, and is written as it is made."""

import copy

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, built, own
from surgery_trial import attempt, outputs
from torch import nn

from trainwright.core.errors import TrainwrightError
from trainwright.core.words import use_language
from trainwright.edit.surgery.deeper import insert_layer
from trainwright.edit.surgery.norm import insert_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.permanent import inserted, make_permanent
from trainwright.edit.surgery.record import fingerprint

KEPT = ("functional in a loop", "shared ReLU", "U-Net")  # ReLU: identity at the start
DRAWN = ("BERT", "LSTM tagger")  # tanh
REASONS = {
    "Sequential": "no usual non-linearity", "bare parameters": "no usual non-linearity",
    "LSTM and RNN": "rnn_tanh", "TransformerEncoder": "residual", "GPT-2": "residual",
    "ResNet": "residual", "data branch": "depends on the data",
    "shape branch, dict": "depends on the data",
}  # fmt: skip


def deeper(model, *batches):
    return insert_layer(model, observe(model, list(batches)))


def test_every_network_is_told_apart() -> None:
    assert {*KEPT, *DRAWN, *REASONS} == set(PATIENTS)


@pytest.mark.parametrize("name", [*KEPT, *DRAWN])
def test_a_deeper_network_trains_copies_pickles_and_comes_back_to_the_bit(name):
    found = attempt(name, PATIENTS[name], lambda m, a, p: insert_layer(m, a))
    assert found.wrong == (["outputs unchanged"] if name in KEPT else [])


@pytest.mark.parametrize("name", REASONS)
def test_where_it_is_not_clear_nothing_is_put_in_and_the_reason_said(name):
    model = built(name)
    before = fingerprint(model)
    with pytest.raises(TrainwrightError) as caught:
        deeper(model, *PATIENTS[name].batches)
    assert REASONS[name] in caught.value.what
    assert fingerprint(model) == before


@pytest.mark.parametrize("name", KEPT)
def test_the_printed_lines_make_the_same_network(name):
    model, batch = built(name).eval(), PATIENTS[name].batches[0]
    edit = deeper(model, *PATIENTS[name].batches)
    twin = built(name).eval()
    exec("\n".join(edit.lines), {"torch": torch, "model": twin})
    assert torch.equal(outputs(model, batch), outputs(twin, batch))
    shapes = [sorted(tuple(p.shape) for p in m.parameters()) for m in (model, twin)]
    assert shapes[0] == shapes[1]


def test_the_new_layer_is_drawn_as_its_line_says():
    model = nn.Sequential(nn.Linear(8, 300), nn.Tanh(), nn.Linear(300, 3))
    edit = deeper(model, ROWS)
    weight = model.get_parameter("0.deeper.1.weight")
    sd = 5 / 3 / 300**0.5
    assert float(weight.std().detach()) == pytest.approx(sd, rel=0.02)  # 90,000 weights
    assert f"std={sd:.6g}" in edit.lines[1]
    assert not model.get_parameter("0.deeper.1.bias").any()


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_the_identity_stands_behind_a_norm_and_lines_pile_up_in_order(norm):
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    twin = copy.deepcopy(model)
    lines = list(insert_norm(model, observe(model, [ROWS]), norm).lines)
    before = outputs(model, ROWS)
    for _ in range(2):
        lines += deeper(model, ROWS).lines
    assert torch.equal(outputs(model, ROWS), before)
    exec("\n".join(lines), {"torch": torch, "model": twin})
    assert torch.equal(outputs(twin, ROWS), before)
    assert sum(isinstance(m, nn.Linear) for m in twin.modules()) == 4


@pytest.mark.parametrize(("space", "kernel"), [(1, 3), (2, 2), (3, 1)])
def test_a_convolution_gets_one_of_its_own_kind(space, kernel):
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[space - 1]
    model = nn.Sequential(kind(2, 5, kernel), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(4, 2, *[6] * space, generator=own(0))
    before = outputs(model, x)
    deeper(model, x)
    new = model.get_submodule("0.deeper.1")
    assert type(new) is kind
    assert new.kernel_size == (kernel if kernel % 2 else 3,) * space
    assert torch.allclose(outputs(model, x), before, atol=1e-6)


def test_made_permanent_it_is_known_as_put_in():
    model = built("shared ReLU").eval()
    deeper(model, *PATIENTS["shared ReLU"].batches)
    new, before = inserted(model), outputs(model, PATIENTS["shared ReLU"].batches[0])
    make_permanent(model)
    assert inserted(model) == new
    assert len(new) == 2
    assert torch.equal(outputs(model, PATIENTS["shared ReLU"].batches[0]), before)


class ByFunctions(nn.Module):
    """Bare weights, a function for the non-linearity."""

    def __init__(self):
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(12, 8, generator=own(0)))
        self.w2 = nn.Parameter(torch.randn(3, 12, generator=own(1)))

    def forward(self, x):
        return nn.functional.linear(torch.relu(nn.functional.linear(x, self.w1)), self.w2)


def test_bare_weights_are_followed_by_a_layer_too_and_the_place_is_said():
    model = ByFunctions()
    before = outputs(model, ROWS)
    edit = deeper(model, ROWS)
    assert torch.equal(outputs(model, ROWS), before)
    assert edit.lines[0].startswith("model.w1_deeper = torch.nn.Sequential(torch.nn.ReLU()")
    assert any("w1" in line for line in edit.lines if line.startswith("#"))
    loss = model.train()(ROWS).square().mean()
    loss.backward()
    assert bool(model.get_parameter("w1_deeper.1.weight").grad.any())
    edit.undo()
    assert [name for name, _ in model.named_parameters()] == ["w1", "w2"]


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 3), nn.Linear(12, 2)

    def forward(self, x):
        h = self.trunk(x).relu()
        return self.a(h), self.b(h)


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize("make", [lambda: nn.Linear(8, 3), TwoHeads])
def test_without_a_hidden_layer_or_with_two_heads_it_is_refused(make, language):
    use_language(language)
    with pytest.raises(TrainwrightError) as caught:
        deeper(make(), ROWS)
    assert ("head" if language == "en" else "輸出層") in caught.value.what
