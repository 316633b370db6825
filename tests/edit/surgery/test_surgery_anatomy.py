"""A dry run finds every layer that runs, what follows it, and leaves the model as it was."""

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, DataBranch, built, own
from torch import nn
from torch.nn import functional as F

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.record import fingerprint


def anatomy_of(name):
    return observe(built(name), list(PATIENTS[name].batches))


@pytest.mark.parametrize("name", PATIENTS)
def test_every_parameter_that_gets_a_gradient_belongs_to_a_layer(name):
    """The oracle is autograd on all batches."""
    model, patient = built(name).train(), PATIENTS[name]
    anatomy = observe(model, list(patient.batches))
    for batch in patient.batches:
        patient.loss(call(model, batch), patient.targets).backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    known = {p for layer in anatomy.layers for p in layer.parameters}
    no_layers = {"places.weight", "b1"}  # rows of a table by slicing, a bias added by +
    assert reached - known <= no_layers
    assert known <= reached


@pytest.mark.parametrize("name", PATIENTS)
def test_looking_changes_nothing(name):
    model = built(name).train()
    before, random = fingerprint(model), torch.get_rng_state()
    observe(model, list(PATIENTS[name].batches))
    assert fingerprint(model) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_what_runs_on_another_batch_is_found_with_several_batches():
    model, few = built("data branch"), observe(built("data branch"), [ROWS + 3])
    assert {each.name for each in few.layers} < {
        each.name for each in observe(model, [ROWS + 3, -ROWS - 3]).layers
    }


def test_activations_are_found_in_modules_functions_methods_and_torchs_own_layers():
    found = {name: [(a.name, bool(a.module)) for a in anatomy_of(name).activations]
             for name in PATIENTS}  # fmt: skip
    assert ("relu", True) in found["shared ReLU"]
    assert ("relu", False) in found["functional in a loop"]
    assert ("relu", False) in found["TransformerEncoder"]
    assert ("relu", False) in found["data branch"]  # x.relu()
    assert ("gelu", True) in found["BERT"]
    assert ("gelu", True) in found["GPT-2"]  # written out by hand


def test_the_softmax_of_attention_is_a_gate_and_the_last_one_makes_the_outputs():
    bert, ends = anatomy_of("BERT"), anatomy_of("functional in a loop")
    assert all(a.is_gate for a in bert.activations if a.name == "softmax")
    assert bert.head_activation is None
    assert ends.head_activation is not None
    assert ends.head_activation.name == "log_softmax"


def test_layers_know_their_shapes_channels_and_fans():
    layers = {each.name: each for each in anatomy_of("U-Net").layers}
    up = layers["up"]
    assert (up.in_shape[1], up.out_shape[1], up.channel_axis) == (8, 4, 1)
    assert layers["down1.0"].fan_in == 9
    assert layers["out"].is_head
    gpt = {each.name: each for each in anatomy_of("GPT-2").layers}
    assert (gpt["blocks.0.c_fc"].fan_in, gpt["blocks.0.c_fc"].fan_out) == (16, 64)
    assert gpt["blocks.0.c_fc"].channel_axis == 2
    assert gpt["blocks.0.c_out"].in_residual


def test_two_layers_without_a_bend_between_are_told():
    layers = {each.name: each for each in anatomy_of("Sequential").layers}
    assert layers["0"].next_linear == ("1",)
    assert layers["1"].next_linear == ()


def test_bare_parameters_are_layers_that_no_hook_reaches():
    layers = anatomy_of("bare parameters").layers
    assert [each.name for each in layers] == ["w1", "w2", "w3"]
    assert not any(each.is_module for each in layers)


class Fused(nn.Module):
    """Layer and non-linearity in one module: a hook on it would come too late."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, generator=own(0)))

    def forward(self, x):
        return F.relu(F.linear(x, self.weight))


def test_a_module_that_also_bends_is_not_hooked_as_a_layer():
    (layer, head) = observe(nn.Sequential(Fused(), nn.Linear(4, 2)), [torch.ones(2, 4)]).layers
    assert (layer.is_module, head.is_module) == (False, True)


def test_blocks_whose_shape_stays_are_named():
    assert [b.name for b in anatomy_of("GPT-2").blocks] == ["blocks.0", "blocks.1"]


def test_a_model_that_fails_on_the_batch_says_so():
    with pytest.raises(TrainwrightError, match="failed on a batch"):
        observe(DataBranch(), [torch.zeros(2, 3)])


@pytest.mark.parametrize("batches", [[], ROWS])
def test_batches_are_a_list(batches):
    with pytest.raises(TrainwrightError, match="no batches"):
        observe(DataBranch(), batches)


def test_a_layer_that_never_ran_is_refused_by_name():
    with pytest.raises(TrainwrightError, match="no layer 'hed' ran") as caught:
        anatomy_of("data branch").layer("hed")
    assert "head" in str(caught.value)
