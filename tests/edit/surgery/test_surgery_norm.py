"""Norms, skips and dropout do what torch's own layers do, where they were put."""

import copy

import pytest
import torch
from surgery_patients import IMAGES, LENGTHS, PATIENTS, ROWS, SERIES, TOKENS, built, own
from surgery_trial import outputs
from torch import nn
from torch.nn import functional as F

from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.dropout import insert_dropout, set_dropout
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.norm import insert_norm, num_groups, replace_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.skip import insert_skip


def opened(name):
    model = built(name)
    return model, observe(model, list(PATIENTS[name].batches))


def seen_at(model, name, batch):
    """What the module gives, behind its hooks."""
    held = []
    handle = model.get_submodule(name).register_forward_hook(lambda *a: held.append(a[2]))
    with torch.no_grad():
        call(model, batch)
    handle.remove()
    return held[0]


@pytest.mark.parametrize(
    ("kind", "axes"),
    [("batch", (0, 2, 3)), ("layer", (1, 2, 3)), ("instance", (2, 3))],
)
def test_a_norm_behind_a_convolution_has_mean_zero_and_variance_one_over_its_axes(kind, axes):
    model, anatomy = opened("U-Net")
    insert_norm(model, anatomy, kind)
    found = seen_at(model.train(), "down2.0", IMAGES)
    assert torch.allclose(found.mean(axes), torch.zeros(()), atol=1e-4)
    assert torch.allclose(found.var(axes, unbiased=False), torch.ones(()), atol=0.05)


def test_batch_norm_of_sequences_counts_every_position_as_an_example():
    model, anatomy = opened("GPT-2")
    insert_norm(model, anatomy, "batch")
    found = seen_at(model.train(), "blocks.0.c_fc", TOKENS)
    assert torch.allclose(found.mean((0, 1)), torch.zeros(64), atol=1e-4)


def test_a_norm_behind_a_recurrent_layer_leaves_the_packing_and_the_state():
    model, anatomy = opened("LSTM tagger")
    before = seen_at(model, "lstm", (TOKENS, LENGTHS))
    insert_norm(model, anatomy, "layer", layers=["lstm"])
    packed, state = seen_at(model, "lstm", (TOKENS, LENGTHS))
    assert torch.equal(packed.batch_sizes, before[0].batch_sizes)
    assert torch.equal(state[0], before[1][0])
    assert torch.allclose(packed.data, F.layer_norm(before[0].data, (12,)), atol=1e-6)


def test_a_norm_after_stands_behind_the_non_linearity():
    model, anatomy = opened("data branch")
    insert_norm(model, anatomy, "layer", "after", layers=["first"])
    plain = built("data branch")
    h = F.layer_norm(torch.tanh(plain.first(ROWS)), (12,))
    branch = plain.one if h.sum() > 0 else plain.two
    assert torch.allclose(model(ROWS), plain.head(branch(h).relu()), atol=1e-6)


def test_a_norm_after_needs_a_bend_of_its_own():
    model, anatomy = opened("shared ReLU")
    with pytest.raises(TrainwrightError, match="no non-linearity of its own"):
        insert_norm(model, anatomy, "layer", "after", layers=["a"])


def test_bare_parameters_get_a_norm_under_their_own_name():
    model, anatomy = opened("bare parameters")
    edited = insert_norm(model, anatomy, "layer", layers=["w2"])
    assert edited.changed == ("w2_norm",)
    h = F.relu(ROWS @ model.w1 + model.b1)
    expected = F.linear(F.layer_norm(h @ model.w2, (12,)), model.w3)
    assert torch.allclose(model(ROWS), expected, atol=1e-6)
    assert "w2_norm.weight" in model.state_dict()


class Chain(nn.Sequential):
    """A Sequential that holds a bare parameter too."""

    def __init__(self):
        super().__init__(nn.Linear(8, 8), nn.ReLU())
        self.weight = nn.Parameter(torch.randn(8, 8, generator=own(0)))

    def forward(self, x):
        return super().forward(x @ self.weight)


def test_a_part_is_not_put_where_it_would_become_a_link_of_the_chain():
    model = Chain()
    with pytest.raises(TrainwrightError, match="lie in a container"):
        insert_norm(model, observe(model, [ROWS]), "layer", layers=["weight"])
    assert len(model) == 2


@pytest.mark.parametrize("new", ["group", "layer"])
def test_batch_norms_are_replaced_with_their_own_parameters_and_one_example_is_enough(new):
    model, _ = opened("ResNet")
    keys = list(model.state_dict())
    with torch.no_grad():
        model.stem[1].weight.uniform_(0.5, 2, generator=own(1))
    replace_norm(model, new)
    assert list(model.state_dict()) == keys
    x = torch.randn(1, 8, 4, 4, generator=own(2))
    stem = model.stem[1]
    oracle = nn.GroupNorm(4 if new == "group" else 1, 8)
    oracle.load_state_dict({"weight": stem.weight, "bias": stem.bias})
    assert torch.allclose(stem.train()(x), oracle(x), atol=1e-6)
    assert int(stem.num_batches_tracked) == 0
    one, all_of_it = outputs(model, IMAGES[:1], train=True), outputs(model, IMAGES, train=True)
    assert torch.allclose(one[0], all_of_it[0], atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "most", "least", "expected"),
    [(64, 32, 2, 32), (48, 32, 2, 24), (12, 32, 8, 1), (16, 32, 8, 2), (7, 32, 2, 1)],
)
def test_groups_are_of_equal_size_and_not_too_small(channels, most, least, expected):
    assert num_groups(channels, most, least) == expected


def test_a_skip_adds_the_input():
    model, anatomy = opened("shape branch, dict")
    insert_skip(model, anatomy)
    plain = built("shape branch, dict")
    h = F.elu(plain.flat(ROWS))
    assert torch.allclose(model(ROWS)["logits"], plain.head(F.elu(plain.mix(h) + h)), atol=1e-6)


def test_a_skip_adds_an_input_that_is_given_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.out(self.fc(input=x).relu())

    model = Named()
    insert_skip(model, observe(model, [ROWS]))
    assert torch.equal(
        model(ROWS), model.out((F.linear(ROWS, *model.fc.parameters()) + ROWS).relu())
    )


def test_a_skip_around_a_recurrent_layer_adds_to_its_first_output():
    model, anatomy = opened("LSTM and RNN")
    insert_skip(model, anatomy)
    plain = built("LSTM and RNN").eval()
    h, _ = plain.lstm(SERIES)
    given = plain.rnn(h)[0] + h
    assert torch.allclose(outputs(model, SERIES), plain.head(given[:, -1]), atol=1e-6)


def test_a_block_gets_a_skip_when_it_is_named():
    model, anatomy = opened("GPT-2")
    before = seen_at(model.eval(), "blocks.0", TOKENS)
    given = model.wte(TOKENS) + model.wpe(torch.arange(7))
    insert_skip(model, anatomy, layers=["blocks.0"])
    assert torch.allclose(seen_at(model, "blocks.0", TOKENS), before + given, atol=1e-6)


def test_a_layer_of_another_shape_gets_no_skip():
    model, anatomy = opened("Sequential")
    with pytest.raises(TrainwrightError, match=r"'0' makes \[16, 12\] of \[16, 8\]"):
        insert_skip(model, anatomy, layers=["0"])


def test_dropout_is_on_in_training_and_off_in_judging():
    model, anatomy = opened("data branch")
    before = outputs(model, ROWS), outputs(model, ROWS, train=True)
    insert_dropout(model, anatomy, 0.5)
    assert torch.equal(outputs(model, ROWS), before[0])
    assert not torch.equal(outputs(model, ROWS, train=True), before[1])
    assert not {k for k in model.state_dict() if "dropout" in k}


def test_one_dropout_serves_a_non_linearity_that_several_layers_share():
    for name in ("shared ReLU", "functional in a loop"):
        model, anatomy = opened(name)
        insert_dropout(model, anatomy, 0.3)
        assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 1


@pytest.mark.parametrize("name", ["Sequential", "functional in a loop", "TransformerEncoder",
                                  "GPT-2", "BERT", "LSTM and RNN"])  # fmt: skip
def test_without_dropout_training_and_judging_give_the_same(name):
    """Modules, functions, recurrent layers, attention."""
    batch = PATIENTS[name].batches[0]
    model, anatomy = opened(name)
    assert not torch.allclose(outputs(model, batch, train=True), outputs(model, batch), atol=1e-5)
    set_dropout(model, anatomy, 0.0)
    assert torch.allclose(outputs(model, batch, train=True), outputs(model, batch), atol=1e-5)


def test_a_function_drops_out_at_the_new_rate():
    """Measured on 20,000 numbers: the standard error is 0.003."""

    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return F.dropout(torch.ones(20_000), 0.5, self.training), self.fc(x)

    model = Drops()
    set_dropout(model, observe(model, [ROWS]), 0.2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ones, _ = model.train()(ROWS)
    assert float((ones == 0).float().mean()) == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 7])
def test_a_rate_is_a_share(rate):
    model, anatomy = opened("Sequential")
    for use in (insert_dropout, set_dropout):
        with pytest.raises(TrainwrightError, match="not possible"):
            use(model, anatomy, rate)


def test_parts_are_of_the_layers_precision():
    model = copy.deepcopy(built("Sequential")).double()
    insert_norm(model, observe(model, [ROWS.double()]), "layer")
    assert outputs(model, ROWS.double()).dtype == torch.float64
