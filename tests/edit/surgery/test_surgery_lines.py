"""The lines that are printed, typed by a user, make the same network; and so do modules in the
place of hooks."""

import copy

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, built
from surgery_trial import APPLICABLE, OPERATIONS, outputs
from torch import nn

from trainwright.core.errors import TrainwrightError
from trainwright.core.words import use_language
from trainwright.edit.surgery.activation import replace_activation
from trainwright.edit.surgery.dropout import insert_dropout
from trainwright.edit.surgery.norm import insert_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.permanent import make_permanent
from trainwright.edit.surgery.skip import insert_skip

PLACED = [each for each in APPLICABLE if not each[1].startswith(("initialise", "reset"))]


def edited(name, operation):
    """The edited model and the edit."""
    model, patient = built(name).eval(), PATIENTS[name]
    return model, OPERATIONS[operation](model, observe(model, list(patient.batches)), patient)


@pytest.mark.parametrize(("name", "operation"), PLACED)
def test_the_printed_lines_make_the_same_network(name, operation):
    found, edit = edited(name, operation)
    if any(line.startswith("#") for line in edit.lines):
        assert all(len(line) > 20 for line in edit.lines)  # what to change by hand
        return
    model, batch = built(name).eval(), PATIENTS[name].batches[0]
    exec("\n".join(edit.lines), {"torch": torch, "model": model})
    assert torch.equal(outputs(found, batch), outputs(model, batch))


@pytest.mark.parametrize("operation", ["initialise he", "initialise orthogonal"])
@pytest.mark.parametrize("name", PATIENTS)
def test_the_printed_lines_draw_weights_of_the_same_size(name, operation):
    found, edit = edited(name, operation)
    model = built(name)
    exec("\n".join(edit.lines), {"torch": torch, "model": model})
    for one, other in zip(found.parameters(), model.parameters(), strict=True):
        if one.numel() > 200:
            assert float(one.detach().std()) == pytest.approx(float(other.detach().std()), rel=0.3)
        if not one.detach().any():
            assert not other.detach().any()


def test_lines_are_said_in_the_language_spoken():
    _, english = edited("functional in a loop", "replace_activation")
    use_language("zh-Hant")
    _, chinese = edited("functional in a loop", "replace_activation")
    assert english.lines[0].endswith("write silu for relu")
    assert chinese.lines[0].endswith("把 relu 換成 silu")


@pytest.mark.parametrize(("name", "operation"), PLACED)
def test_modules_in_the_place_of_hooks_compute_the_same(name, operation):
    model, _ = edited(name, operation)
    batch, keys = PATIENTS[name].batches[0], set(model.state_dict())
    hooked = copy.deepcopy(model)
    try:
        done = make_permanent(model)
    except TrainwrightError as error:
        assert "no module can stand" in error.what
        return
    assert torch.equal(outputs(model, batch), outputs(hooked, batch))
    assert torch.equal(outputs(model, batch, train=True), outputs(hooked, batch, train=True))
    now = set(model.state_dict())
    assert keys - now == set(done.renamed) | set(done.dropped)
    assert {done.renamed.get(k, k) for k in keys - set(done.dropped)} == now


def test_a_permanent_network_is_made_of_torchs_modules_only():
    model = built("BERT")
    batch = PATIENTS["BERT"].batches[0]
    insert_norm(model, observe(model, [batch]), "layer")
    replace_activation(model, observe(model, [batch]), "gelu", "relu")
    done = make_permanent(model)
    assert done.left == ()
    assert not [m for m in model.modules() if type(m).__module__.startswith("trainwright")]
    assert not any(m._forward_hooks or "forward" in vars(m) for m in model.modules())
    assert done.renamed["pooler.weight"] == "pooler.layer.weight"
    assert "pooler.norm.weight" in model.state_dict()


def test_what_stands_behind_a_call_follows_its_layer_to_the_new_name():
    model = built("functional in a loop")
    insert_dropout(model, observe(model, [ROWS]), 0.5)
    insert_norm(model, observe(model, [ROWS]), "layer")
    before = outputs(model, ROWS, train=True)
    done = make_permanent(model)
    assert done.left == ("forward",)
    assert torch.equal(outputs(model, ROWS, train=True), before)
    assert not torch.equal(outputs(model, ROWS, train=True), outputs(model, ROWS))


def test_hooks_of_one_layer_become_modules_in_their_order():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    insert_skip(model, observe(model, [ROWS]), layers=["0"])
    insert_norm(model, observe(model, [ROWS]), "layer")
    before = outputs(model, ROWS)
    make_permanent(model)
    assert torch.equal(outputs(model, ROWS), before)


def test_after_a_permanent_edit_there_is_no_way_back():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    edit = insert_norm(model, observe(model, [ROWS]))
    make_permanent(model)
    with pytest.raises(TrainwrightError, match="for good"):
        edit.undo()
