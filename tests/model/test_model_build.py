"""Built-in networks: shapes, seeds, plainness, and the laws that each part must keep."""

import itertools
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from trainwright.core.errors import ModelError
from trainwright.core.knob import knobs_of, problems_of
from trainwright.core.records import Signature
from trainwright.core.words import known_codes
from trainwright.model.build import build
from trainwright.model.knobs import ModelKnobs
from trainwright.model.layers import ACTIVATIONS, start
from trainwright.model.resolve import resolve, without_effect

ROW = Signature(kind="features", shape=(6,))
MIXED = Signature(kind="features", shape=(4,), cardinalities=(3, 5))
CODES = Signature(kind="features", shape=(0,), cardinalities=(3, 5))
IMAGE = Signature(kind="image", shape=(1, 28, 28))
PHOTO = Signature(kind="image", shape=(3, 96, 80))
MEL = Signature(kind="audio", shape=(40, 63))
WAVE = Signature(kind="audio", shape=(1, 8000))
TEXT = Signature(kind="text", shape=(12,), vocabulary=50)
SIGNATURES = {
    "row": ROW, "mixed": MIXED, "codes": CODES, "image": IMAGE, "photo": PHOTO, "mel": MEL,
    "wave": WAVE, "text": TEXT, "any": Signature(kind="any", shape=(5,)),
}  # fmt: skip


def inputs_of(signature: Signature, rows: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    if signature.kind == "text":
        size = (rows, *signature.shape)
        return (torch.randint(signature.vocabulary, size, generator=generator),)
    numbers = torch.randn(rows, *signature.shape, generator=generator)
    if not signature.cardinalities:
        return (numbers,)
    codes = [torch.randint(c, (rows,), generator=generator) for c in signature.cardinalities]
    return numbers, torch.stack(codes, dim=1)


def made(signature: Signature, seed: int = 0, num_outputs: int = 3, **knobs) -> nn.Module:
    return build(ModelKnobs(**knobs), signature, num_outputs, seed)


@pytest.mark.parametrize("name", ["auto", "linear", "mlp", "convnet", "bag", "rnn"])
@pytest.mark.parametrize("kind", SIGNATURES)
def test_every_model_reads_what_it_says_or_names_those_that_do(kind, name):
    signature = SIGNATURES[kind]
    try:
        module = made(signature, name=name)
    except ModelError as error:
        suggested = error.do.split("'")[1]
        assert made(signature, name=suggested) is not None
        assert suggested in error.allowed
        return
    outputs = module(*inputs_of(signature, 4))
    several = name == "auto" and signature.kind == "features"
    assert outputs.shape == ((4, 4, 3) if several else (4, 3))
    outputs.sum().backward()
    for where, parameter in module.named_parameters():
        assert parameter.grad is not None, where


def test_auto_goes_by_kind():
    wanted = {"row": "mlp", "image": "convnet", "mel": "convnet", "text": "bag", "any": "mlp"}
    assert {k: resolve(ModelKnobs(), SIGNATURES[k]).name for k in wanted} == wanted


@pytest.mark.parametrize("kind", SIGNATURES)
def test_no_auto_is_left_after_resolving_but_the_init(kind):
    plain = resolve(ModelKnobs(), SIGNATURES[kind]).model_dump()
    assert [name for name, value in plain.items() if value == "auto"] == ["init"]
    ModelKnobs(**plain)


def test_resolving_twice_changes_nothing_that_is_built():
    for signature in SIGNATURES.values():
        once = resolve(ModelKnobs(), signature)
        assert resolve(once, signature) == once


@pytest.mark.parametrize("kind", SIGNATURES)
def test_the_seed_alone_decides_the_weights_and_the_global_state_is_untouched(kind):
    first = made(SIGNATURES[kind], seed=7).state_dict()
    torch.manual_seed(123)
    torch.randn(5)
    state = torch.get_rng_state()
    again = made(SIGNATURES[kind], seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = made(SIGNATURES[kind], seed=8).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_plain_mlp_by_name_is_the_textbooks():
    module = made(Signature(kind="features", shape=(64,)), name="mlp", depth=2, width=128)
    assert isinstance(module, nn.Sequential)
    kinds = [type(part).__name__ for part in module]
    assert kinds == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    sizes = [tuple(p.shape) for p in module.parameters()]
    assert sizes == [(128, 64), (128,), (128, 128), (128,), (3, 128), (3,)]


def test_auto_on_a_table_embeds_numbers_and_on_many_numbers_does_not():
    assert resolve(ModelKnobs(), ROW).numeric_embedding == "pbld"
    wide = Signature(kind="features", shape=(500,))
    assert resolve(ModelKnobs(), wide).numeric_embedding == "none"
    assert resolve(ModelKnobs(name="mlp"), ROW).numeric_embedding == "none"


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_without_activation_any_depth_is_one_linear_map(depth):
    module = made(ROW, name="mlp", depth=depth, activation="none", width=32).double()
    x, y = (part[0].double() for part in (inputs_of(ROW, 50), inputs_of(ROW, 50, 1)))
    zero = module(torch.zeros(1, 6, dtype=torch.float64))
    mapped = module(2 * x + 3 * y) - zero
    assert torch.allclose(mapped, 2 * (module(x) - zero) + 3 * (module(y) - zero), atol=1e-5)
    basis = module(torch.eye(6, dtype=torch.float64)) - zero
    assert torch.allclose(module(x), x @ basis + zero, atol=1e-5)


def test_depth_zero_is_a_linear_map():
    assert [type(part) for part in made(ROW, name="mlp", depth=0)] == [nn.Linear]


def test_each_layer_may_have_its_own_activation():
    module = made(ROW, name="mlp", activation=["tanh", "none", "gelu"])
    kinds = [type(part).__name__ for part in module]
    assert kinds == ["Linear", "Tanh", "Linear", "Linear", "GELU", "Linear"]


def test_a_list_of_activations_of_the_wrong_length_says_so():
    with pytest.raises(ValidationError, match="names 1 layers and depth is 2"):
        ModelKnobs(activation=["relu"], depth=2)
    knobs = ModelKnobs(activation=["relu"] * 4)
    assert resolve(knobs, ROW).depth == 4


@pytest.mark.parametrize("name", [a for a in ACTIVATIONS if a != "none"])
def test_activations_equal_torchs_functions(name):
    x = torch.linspace(-4, 4, 41)
    oracle = getattr(torch, name, None) or getattr(functional, name)
    assert torch.allclose(ACTIVATIONS[name]()(x), oracle(x))


ORDERS = {
    "before_activation": ["Linear", "LayerNorm", "ReLU", "Dropout"],
    "after_activation": ["Linear", "ReLU", "LayerNorm", "Dropout"],
    "before_layer": ["LayerNorm", "Linear", "ReLU", "Dropout"],
}


@pytest.mark.parametrize("position", ORDERS)
def test_the_norm_stands_where_it_is_asked_to(position):
    module = made(ROW, name="mlp", depth=1, norm="layer", norm_position=position, dropout=0.2)
    assert [type(part).__name__ for part in module][:-1] == ORDERS[position]


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "group", "rms"])
@pytest.mark.parametrize("kind", ["row", "image", "mel"])
@pytest.mark.parametrize("position", ORDERS)
def test_every_norm_at_every_place_with_and_without_skip(norm, kind, position):
    signature = SIGNATURES[kind]
    if norm == "instance" and kind == "row":
        with pytest.raises(ModelError, match="itself"):
            made(signature, norm=norm)
        return
    if norm == "group" and kind == "row" and position == "before_layer":
        signature = Signature(kind="features", shape=(24,))
    for skip in (False, True):
        module = made(
            signature, norm=norm, norm_position=position, skip=skip, width=16, depth=2, members=1
        )
        outputs = module(*inputs_of(signature, 4))
        assert outputs.shape == (4, 3)
        assert bool(outputs.isfinite().all())


NORM_ORACLES = {
    "batch": lambda x: functional.batch_norm(x, None, None, training=True),
    "layer": lambda x: functional.layer_norm(x, x.shape[1:]),
    "instance": functional.instance_norm,
    "group": lambda x: functional.group_norm(x, 8),
    "rms": lambda x: functional.rms_norm(x.movedim(1, -1), (x.shape[1],)).movedim(-1, 1),
}


@pytest.mark.parametrize("norm", NORM_ORACLES)
def test_norms_in_a_convnet_equal_torchs_functions(norm):
    module = made(IMAGE, norm=norm, width=16)
    x = torch.randn(3, 16, 5, 5)
    assert torch.allclose(module.get_submodule("norm_1")(x), NORM_ORACLES[norm](x), atol=1e-4)


def test_dropout_is_inverted_in_training_and_silent_in_evaluation():
    module = made(ROW, name="mlp", dropout=0.5, depth=1, width=4000)
    (x,) = inputs_of(ROW, 1)
    module.eval()
    assert torch.equal(module(x), module(x))
    hidden = module[:2](x)
    module.train()
    dropped = module[:3](x)
    alive = dropped != 0
    assert torch.allclose(dropped[alive], 2 * hidden[alive])
    assert abs(float(alive[hidden > 0].float().mean()) - 0.5) < 0.05


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "selu", "tanh", "none"])
def test_the_automatic_init_keeps_the_signals_size_through_depth(activation):
    module = made(
        Signature(kind="features", shape=(512,)),
        name="mlp", depth=10, width=512, activation=activation,
    )  # fmt: skip
    with torch.no_grad():
        hidden = module[:-1](torch.randn(256, 512))
    low = 0.2 if activation == "tanh" else 0.5  # tanh shrinks slowly under Xavier's gain of 1
    assert low < float(hidden.square().mean().sqrt()) < 2


INIT_VARIANCE = {"he": 2 / 400, "xavier": 2 / 1000, "lecun": 1 / 400, "normal": 0.05**2}


@pytest.mark.parametrize("init", INIT_VARIANCE)
def test_inits_have_the_variance_of_their_formula(init):
    knobs = ModelKnobs(init=init, init_sd=0.05) if init == "normal" else ModelKnobs(init=init)
    layer = start(nn.Linear(400, 600), "relu", knobs)
    assert float(layer.weight.detach().var()) == pytest.approx(INIT_VARIANCE[init], rel=0.03)
    assert float(layer.bias.detach().abs().sum()) == 0


def test_orthogonal_constant_and_torch_inits():
    layer = start(nn.Linear(30, 20), "none", ModelKnobs(init="orthogonal"))
    assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(20), atol=1e-5)
    layer = start(nn.Linear(30, 20), "relu", ModelKnobs(init="constant", init_value=0.3))
    assert bool((layer.weight == 0.3).all())
    layer = nn.Linear(30, 20)
    before = layer.weight.clone()
    assert torch.equal(start(layer, "relu", ModelKnobs(init="torch")).weight, before)


def test_a_deep_network_with_skips_begins_as_its_input_plus_something():
    module = made(ROW, name="mlp", depth=3, width=6, skip=True, init="constant")
    (x,) = inputs_of(ROW, 4)
    assert torch.equal(module[:-1](x), x)  # zero weights: the shortcut alone is left


@given(pool=st.integers(1, 4), depth=st.integers(0, 5), side=st.integers(3, 33), skip=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_convnet_of_any_depth_fits_an_image_of_any_size(pool, depth, side, skip):
    signature = Signature(kind="image", shape=(2, side, side + 1))
    module = made(signature, pool=pool, depth=depth, skip=skip, width=4)
    assert module(*inputs_of(signature, 2)).shape == (2, 3)


def test_padding_changes_nothing_in_a_bag():
    tokens = torch.tensor([[5, 9, 3, 0, 0, 0]])
    for ngrams in (1, 2):
        module = made(TEXT, ngrams=ngrams).eval()
        assert torch.allclose(module(tokens), module(tokens[:, :3]), atol=1e-6)


def test_without_pairs_order_does_not_matter_and_with_pairs_it_does():
    tokens = torch.tensor([[5, 9, 3, 7]])
    one, two = made(TEXT, ngrams=1).eval(), made(TEXT, ngrams=2).eval()
    assert torch.allclose(one(tokens), one(tokens.flip(1)), atol=1e-6)
    assert not torch.allclose(two(tokens), two(tokens.flip(1)), atol=1e-4)


def test_a_text_of_padding_only_is_finite():
    for name in ("bag", "linear"):
        outputs = made(TEXT, name=name)(torch.zeros(2, 12, dtype=torch.int64))
        assert bool(outputs.isfinite().all())


def test_an_unseen_category_starts_as_nothing():
    module = made(CODES, name="mlp")
    zero = torch.zeros(1, 2, dtype=torch.int64)
    assert float(module.input(torch.zeros(1, 0), zero).detach().abs().sum()) == 0


def test_columns_do_not_share_their_categories_vectors():
    module = made(CODES, name="mlp")
    vectors = [
        module.input.categories(torch.tensor([code]))
        for code in itertools.product(range(1, 3), range(1, 5))
    ]
    assert len({tuple(v.flatten().tolist()) for v in vectors}) == 8


def test_the_linear_model_on_categories_is_a_linear_map_of_the_one_hot_row():
    module = made(MIXED, name="linear")
    nn.init.normal_(module.table.weight)
    numbers, codes = inputs_of(MIXED, 20)
    hot = [functional.one_hot(codes[:, i], c) for i, c in enumerate(MIXED.cardinalities)]
    oracle = torch.cat(hot, dim=1).float() @ module.table.weight + module.linear(numbers)
    assert torch.allclose(module(numbers, codes), oracle, atol=1e-5)


def test_periodic_vectors_equal_their_formula():
    for kind in ("pbld", "plr"):
        module = made(ROW, name="mlp", numeric_embedding=kind, embedding_width=5)
        embedding = module.input.numbers
        (x,) = inputs_of(ROW, 3)
        angle = 2 * torch.pi * embedding.frequency[2] * x[1, 2]
        if kind == "pbld":
            learned = (angle + embedding.phase[2]).cos() @ embedding.weight[2]
            oracle = torch.cat([x[1, 2].reshape(1), learned + embedding.bias[2, 0]])
        else:
            waves = torch.cat([angle.cos(), angle.sin()])
            oracle = (waves @ embedding.weight[2] + embedding.bias[2, 0]).relu()
        assert torch.allclose(embedding(x)[1].reshape(6, 5)[2], oracle, atol=1e-5)


@pytest.mark.parametrize("members", [1, 4])
def test_wide_adds_a_linear_map_of_the_embedded_row_that_starts_at_nothing(members):
    inputs = inputs_of(MIXED, 5)
    plain = made(MIXED, name="mlp", members=members, input_scale=True).eval()
    wide = made(MIXED, name="mlp", members=members, input_scale=True, wide=True).eval()
    assert torch.equal(wide(*inputs), plain(*inputs))
    with torch.no_grad():
        torch.nn.init.normal_(wide.wide.weight)
        linear = wide.input(*inputs) @ wide.wide.weight.T
        expected = plain(*inputs) + (linear if members == 1 else linear.unsqueeze(1))
        assert torch.allclose(wide(*inputs), expected, atol=1e-6)


def test_wide_is_for_numbers_in_tables_where_nothing_was_asked_for():
    assert resolve(ModelKnobs(), ROW, regression=True).wide is True
    assert resolve(ModelKnobs(), ROW).wide is False
    assert resolve(ModelKnobs(name="mlp"), ROW, regression=True).wide is False
    assert resolve(ModelKnobs(wide=False), ROW, regression=True).wide is False


@pytest.mark.parametrize("embedding", ["none", "pbld"])
def test_each_member_is_a_network_of_its_own(embedding):
    module = made(MIXED, members=4, numeric_embedding=embedding).eval()
    numbers, codes = inputs_of(MIXED, 5)
    outputs = module(numbers, codes)
    assert outputs.shape == (5, 4, 3)
    row = module.input(numbers, codes)
    for i in range(4):
        hidden = module.body(row * module.factor[i])
        oracle = hidden @ module.head.weight[i] + module.head.bias[i]
        assert torch.allclose(outputs[:, i], oracle, atol=1e-5)
    with torch.no_grad():
        module.head.weight[2] += 1
    changed = (module(numbers, codes) != outputs).flatten(2).any(dim=2).any(dim=0)
    assert changed.tolist() == [False, False, True, False]


def test_gradients_of_a_small_network_are_its_slopes():
    module = made(MIXED, width=5, depth=2, dropout=0.0, activation="tanh").double()
    numbers, codes = inputs_of(MIXED, 3)
    x = numbers.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: module(z, codes), (x,))


def test_a_turned_knob_without_effect_is_told_in_both_languages():
    notices = without_effect(ModelKnobs(name="linear", width=64, kernel=5), ROW)
    assert [n.values["knob"] for n in notices] == ["model.width", "model.kernel"]
    assert without_effect(ModelKnobs(width=64), ROW) == ()
    for language in ("en", "zh-Hant"):
        assert "notice.model_knob_without_effect" in known_codes(language)


def test_an_unknown_model_is_answered_with_the_nearest():
    with pytest.raises(ValidationError) as caught:
        ModelKnobs(name="convnets")
    (problem,) = problems_of(caught.value, ModelKnobs, "model.")
    assert "did you mean 'convnet'" in problem.what
    with pytest.raises(ModelError, match="own code as pkg"):
        made(ROW, name="pkg.mod:Net")


@pytest.mark.parametrize(
    "knobs",
    [
        {"depth": -1},
        {"width": 0},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"activation": "rleu"},
        {"activation": []},
        {"kernel": 4},
        {"init_sd": 0.1},
        {"init": "he", "init_value": 1.0},
        {"widht": 3},
    ],
)
def test_knobs_out_of_bounds_are_refused(knobs):
    with pytest.raises(ValidationError) as caught:
        ModelKnobs(**knobs)
    assert problems_of(caught.value, ModelKnobs, "model.")


def test_every_knob_says_what_and_why_and_may_be_written_as_its_default():
    for info in knobs_of(ModelKnobs):
        assert info.doc.endswith("."), info.path
        assert "[" in info.why, info.path
        ModelKnobs(**{info.path: info.default})


def test_the_knobs_need_no_torch():
    code = "import sys, trainwright.model.resolve; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pooling_at_once_is_pooling_last_for_a_rising_activation():
    module = made(IMAGE, norm="none", width=8, depth=2)
    (x,) = inputs_of(IMAGE, 3)
    kinds = [type(part).__name__ for part in module]
    assert kinds[:4] == ["Conv2d", "MaxPool2d", "ReLU", "Conv2d"]
    late = functional.max_pool2d(module.conv_1(x).relu(), 2)
    assert torch.equal(module[:3](x), late)


def test_a_large_image_and_raw_sound_are_shrunk_at_the_first_step():
    assert resolve(ModelKnobs(), PHOTO).stride == 2
    assert resolve(ModelKnobs(), IMAGE).stride == 1
    assert tuple(made(WAVE).conv_1.weight.shape) == (64, 1, 79)
    assert made(WAVE, kernel=3).conv_1.kernel_size == (47,)


@pytest.mark.parametrize(("readout", "cells"), [("average", 1), ("max", 1), ("grid", 9)])
def test_the_head_reads_what_the_readout_leaves(readout, cells):
    module = made(IMAGE, readout=readout, width=8, depth=2).eval()
    assert module.head.in_features == 16 * cells
    x = torch.randn(2, 16, 14, 14)
    left = x
    for part in list(module)[-3 if readout != "average" else -2 : -1]:
        left = part(left)
    oracle = {
        "average": x.mean((2, 3)),
        "max": x.amax((2, 3)),
        "grid": functional.adaptive_max_pool2d(x, 3).flatten(1),
    }[readout]
    assert torch.allclose(left, oracle, atol=1e-6)
