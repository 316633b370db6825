"""Weights start as the formula says, or as the data asks, or as they were drawn before."""

import math

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, TOKENS, built, own
from surgery_trial import outputs
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.initial import initialise, reset_weights
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.record import fingerprint


def wide(activation=nn.ReLU):
    return nn.Sequential(nn.Linear(200, 300), activation(), nn.Linear(300, 100))


WIDE = torch.randn(16, 200, generator=own(9))


@pytest.mark.parametrize(
    ("how", "activation", "sd"),
    [
        ("he", nn.ReLU, math.sqrt(2 / 200)),
        ("he", nn.Tanh, 5 / 3 / math.sqrt(200)),
        ("xavier", nn.ReLU, math.sqrt(2) * math.sqrt(2 / 500)),
        ("lecun", nn.SELU, 1 / math.sqrt(200)),
    ],
)
def test_weights_have_the_sd_of_the_formula_and_biases_are_zero(how, activation, sd):
    model = wide(activation)
    initialise(model, observe(model, [WIDE]), how)
    # 60,000 weights: a standard error of 0.3 %
    assert float(model[0].weight.std().detach()) == pytest.approx(sd, rel=0.02)
    assert not model[0].bias.any()


def test_orthogonal_weights_are_orthogonal_times_the_gain():
    model = wide()
    initialise(model, observe(model, [WIDE]), "orthogonal")
    weight = model[0].weight.double()
    assert torch.allclose(weight.T @ weight, 2 * torch.eye(200, dtype=torch.double), atol=1e-4)


def test_weights_that_lie_the_other_way_round_are_drawn_by_their_true_fan_in():
    model = built("GPT-2")
    initialise(model, observe(model, [TOKENS]), "lecun")
    assert float(model.blocks[0].c_out.weight.std().detach()) == pytest.approx(
        1 / 8, rel=0.1
    )  # fan in 64


def test_recurrent_gates_are_each_orthogonal():
    model = built("LSTM and RNN")
    initialise(model, observe(model, list(PATIENTS["LSTM and RNN"].batches)), "he")
    for gate in model.lstm.weight_hh_l0.chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(10), atol=1e-5)


def test_norms_become_one_and_zero_and_a_padding_row_stays_zero():
    model = built("BERT")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    initialise(model, observe(model, list(PATIENTS["BERT"].batches)), "he")
    assert bool((model.layer[0].norm_1.weight == 1).all())
    assert not model.layer[0].norm_1.bias.any()
    assert not model.words.weight[0].any()
    assert float(model.words.weight[1:].std().detach()) == pytest.approx(1, abs=0.15)


def test_lsuv_gives_every_layer_unit_outputs_on_the_batch():
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
                          nn.Dropout(0.5), nn.BatchNorm1d(64), nn.Linear(64, 5))  # fmt: skip
    initialise(model.eval(), observe(model, [ROWS]), "lsuv", batch=ROWS)
    assert int(model[5].num_batches_tracked) == 0
    assert not model.training
    model[4].p = 0.0
    x = ROWS
    for layer in model.train():
        x = layer(x)
        if isinstance(layer, nn.Linear):
            assert float(x.std().detach()) == pytest.approx(1, abs=0.06)


def test_lsuv_of_bare_parameters():
    model = built("bare parameters")
    initialise(model, observe(model, [ROWS]), "lsuv", batch=ROWS)
    assert float((ROWS @ model.w1).std().detach()) == pytest.approx(1, abs=0.06)
    assert float(outputs(model, ROWS).std()) == pytest.approx(1, abs=0.06)


def test_a_reparametrised_weight_is_given_its_value_through_its_parts():
    model = nn.Sequential(weight_norm(nn.Linear(8, 100)), nn.ReLU(), nn.Linear(100, 2))
    initialise(model, observe(model, [ROWS]), "he")
    assert float(model[0].weight.std().detach()) == pytest.approx(0.5, rel=0.1)


def test_what_is_frozen_keeps_its_weights():
    model = wide()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    edited = initialise(model, observe(model, [WIDE]), "he")
    assert torch.equal(model[0].weight, before)
    assert edited.changed == ("2.weight", "2.bias")


def test_the_same_seed_draws_the_same_weights_and_leaves_torchs_stream_alone():
    made, state = [wide(), wide()], torch.get_rng_state()
    for model in made:
        initialise(model, observe(model, [WIDE]), "he", seed=3)
    assert torch.equal(made[0][0].weight, made[1][0].weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_lsuv_without_a_batch_and_unknown_names_are_refused():
    model = wide()
    anatomy = observe(model, [WIDE])
    with pytest.raises(TrainwrightError, match="needs data"):
        initialise(model, anatomy, "lsuv")
    with pytest.raises(TrainwrightError, match="no initialisation 'hee'"):
        initialise(model, anatomy, "hee")


@pytest.mark.parametrize("name", PATIENTS)
def test_a_fresh_start_keeps_every_tensors_values_in_another_order(name):
    model, twin = built(name), built(name)
    reset_weights(model, 5)
    moved = 0
    for new, old in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(new.flatten().sort().values, old.flatten().sort().values)
        moved += not torch.equal(new, old)
    assert moved > len(list(model.parameters())) / 3
    if hasattr(model, "words"):
        assert not model.words.weight[0].any()


def test_a_fresh_start_keeps_forget_gates_open_and_forgets_running_statistics():
    lstm = nn.LSTM(4, 6)
    with torch.no_grad():
        lstm.bias_ih_l0.copy_(torch.cat([torch.zeros(6), torch.ones(6), torch.zeros(12)]))
    reset_weights(lstm)
    assert bool((lstm.bias_ih_l0[6:12] == 1).all())
    model = built("ResNet").train()
    model(PATIENTS["ResNet"].batches[0])
    assert model.stem[1].running_mean.any()
    edited = reset_weights(model)
    assert not model.stem[1].running_mean.any()
    edited.undo()
    assert model.stem[1].running_mean.any()


def test_another_seed_is_another_start_and_the_same_one_the_same():
    prints = []
    for seed in (1, 1, 2):
        model = built("U-Net")
        reset_weights(model, seed)
        prints.append(fingerprint(model))
    assert prints[0] == prints[1] != prints[2]


def test_a_model_of_constants_has_no_fresh_start():
    model = nn.Linear(3, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    with pytest.raises(TrainwrightError, match="constant"):
        reset_weights(model)
