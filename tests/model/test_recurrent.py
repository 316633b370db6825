"""A recurrent network reads what stands in order, remembers it, and never reads padding."""

import numpy as np
import pytest
import torch
from torch import nn

import trainwright as tw
from trainwright.core.errors import ModelError
from trainwright.core.records import Signature
from trainwright.model.build import build
from trainwright.model.knobs import ModelKnobs
from trainwright.model.recurrent import FRAME, read_out
from trainwright.model.resolve import resolve, without_effect

STEPS = Signature(kind="any", shape=(7, 3))
TEXT = Signature(kind="text", shape=(9,), vocabulary=20)
IMAGE = Signature(kind="image", shape=(2, 5, 6))
BANDS = Signature(kind="audio", shape=(4, 11))
WAVE = Signature(kind="audio", shape=(1, 2050))
CELLS = ["rnn", "gru", "lstm"]
each_cell = pytest.mark.parametrize("cell", CELLS)


def made(signature=STEPS, **knobs):
    return build(ModelKnobs(**{"name": "rnn", "width": 8, **knobs}), signature, 3, 0).eval()


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tokens(*rows):
    padded = torch.zeros(len(rows), 9, dtype=torch.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.tensor(row)
    return padded


def test_an_rnn_is_elmans_formula_step_by_step():
    net = made(cell="rnn")
    x, state = numbers(4, 7, 3), torch.zeros(4, 8)
    cells = net.cells
    for step in range(7):
        seen = x[:, step] @ cells.weight_ih_l0.T + cells.bias_ih_l0
        state = torch.tanh(seen + state @ cells.weight_hh_l0.T + cells.bias_hh_l0)
    assert torch.allclose(net(x), net.head(state), atol=1e-6)


@each_cell
@pytest.mark.parametrize("readout", ["last", "average", "max"])
def test_padding_changes_nothing(cell, readout):
    net = made(TEXT, cell=cell, readout=readout)
    rows = [[3, 4, 5], [7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    together = net(tokens(*rows))
    alone = torch.cat([net(torch.tensor([row])) for row in rows])
    assert torch.allclose(together, alone, atol=1e-6)


@each_cell
@pytest.mark.parametrize("readout", ["last", "average", "max"])
def test_a_text_of_padding_only_is_the_zero_state(cell, readout):
    net = made(TEXT, cell=cell, readout=readout)
    empty, full = net(tokens([], [3, 4]))
    assert torch.equal(empty, net.head.bias)
    assert not torch.equal(full, net.head.bias)


@each_cell
def test_order_matters_to_the_last_state(cell):
    net = made(TEXT, cell=cell, readout="last")
    forth, back = net(tokens([3, 4, 5], [5, 4, 3]))
    assert not torch.allclose(forth, back, atol=1e-4)


def test_the_readouts_are_last_mean_and_maximum_of_what_is_there():
    states = torch.tensor([[[1.0], [5.0], [-2.0], [9.0]]])
    there = torch.tensor([[True, True, True, False]])
    found = {how: read_out(states, there, how).item() for how in ("last", "average", "max")}
    assert found == pytest.approx({"last": -2.0, "average": 4 / 3, "max": 5.0})
    whole = {how: read_out(states, None, how).item() for how in ("last", "average", "max")}
    assert whole == pytest.approx({"last": 9.0, "average": 13 / 4, "max": 9.0})


def test_images_are_read_by_rows_and_sound_by_moments_or_frames():
    image = numbers(2, 2, 5, 6)
    rows = made(IMAGE).reading(image)
    assert rows.shape == (2, 5, 12)
    assert torch.equal(rows[0, 3], image[0, :, 3].flatten())
    sound = numbers(2, 4, 11)
    assert torch.equal(made(BANDS).reading(sound)[0, 6], sound[0, :, 6])
    wave = numbers(2, 1, 2050)
    frames = made(WAVE).reading(wave)
    assert frames.shape == (2, 2050 // FRAME, FRAME)
    assert torch.equal(frames[1, 2], wave[1, 0, 2 * FRAME : 3 * FRAME])


def test_auto_reads_the_last_state_and_of_text_the_mean():
    knobs = ModelKnobs(name="rnn")
    assert resolve(knobs, STEPS).readout == "last"
    assert resolve(knobs, TEXT).readout == "average"
    assert (resolve(knobs, STEPS).depth, resolve(knobs, STEPS).width) == (1, 128)


@each_cell
def test_state_to_state_starts_orthogonal_and_biases_at_zero_but_for_the_forget_gate(cell):
    cells = made(cell=cell, depth=2).cells
    for layer in ("l0", "l1"):
        for block in getattr(cells, f"weight_hh_{layer}").split(8):
            assert torch.allclose(block @ block.T, torch.eye(8), atol=1e-5)
        bias = getattr(cells, f"bias_ih_{layer}") + getattr(cells, f"bias_hh_{layer}")
        expected = torch.zeros_like(bias)
        if cell == "lstm":
            expected[8:16] = 1
        assert torch.equal(bias, expected)


def test_the_inits_that_are_asked_for_reach_every_cell():
    constant = made(cell="gru", init="constant", init_value=0.25).cells
    assert all(bool((w == 0.25).all()) for n, w in constant.named_parameters() if "weight" in n)
    torchs = made(cell="gru", init="torch").cells
    assert bool(torchs.bias_ih_l0.any())


def test_dropout_stands_between_layers_and_before_the_head():
    net = made(depth=2, dropout=0.4)
    assert net.cells.dropout == 0.4
    assert isinstance(net.dropout, nn.Dropout)
    assert isinstance(made(depth=2).dropout, nn.Identity)


@pytest.mark.parametrize(
    ("knobs", "way"),
    [
        ({"depth": 0}, "depth = 1"),
        ({"readout": "grid"}, "'last'"),
        ({"cell": "rnn", "activation": "gelu"}, "'tanh'"),
        ({"cell": "rnn", "activation": ("tanh", "relu"), "depth": 2}, "'tanh'"),
    ],
)
def test_what_a_recurrent_network_cannot_be_is_refused_with_the_way_out(knobs, way):
    with pytest.raises(ModelError) as caught:
        made(**knobs)
    assert way in caught.value.do


def test_a_convnet_has_no_last_state():
    with pytest.raises(ModelError, match="no readout 'last'"):
        resolve(ModelKnobs(name="convnet", readout="last"), IMAGE)


def test_tables_and_plain_vectors_are_no_sequences():
    for signature in (Signature(kind="features", shape=(7,)), Signature(kind="any", shape=(7,))):
        with pytest.raises(ModelError, match="rnn does not read") as caught:
            made(signature)
        assert "'mlp'" in caught.value.do


def test_knobs_that_do_nothing_here_are_told():
    def told(signature=STEPS, **knobs):
        return {n.values["knob"] for n in without_effect(ModelKnobs(**knobs), signature)}

    idle = {"norm": "layer", "skip": True, "kernel": 5, "wide": True, "ngrams": 2}
    assert told(name="rnn", cell="rnn", readout="max", dropout=0.1) == set()
    assert told(name="rnn", **idle) == {f"model.{name}" for name in idle}
    assert told(name="rnn", cell="gru", activation="relu") == {"model.activation"}
    assert told(name="rnn", cell="rnn", activation="relu") == set()
    assert told(name="mlp", cell="lstm") == {"model.cell"}


def test_an_array_of_example_time_channel_is_a_sequence_standardised_by_channel():
    dice = np.random.default_rng(0)
    x = dice.normal(size=(600, 6, 2)) * [3.0, 0.01] + [50.0, -2.0]
    y = np.where(x[:, 0, 0] > 50, "high", "low")  # seen first, asked for after the last step
    model = {"name": "rnn", "width": 16}
    run = tw.fit(
        x, y, model=model, budget="150 steps", algorithm={"learning_rate": 0.02}, quiet=True,
        watch=False,
    )  # fmt: skip
    understood = run.record.understanding
    assert understood is not None
    assert understood.signature.shape == (6, 2)
    assert run.record.metrics["test"]["accuracy"].value > 0.9
    assert list(run.predict(x[:40])) == list(run.predict(x[:40].tolist()))
    assert (np.asarray(run.predict(x)) == y).mean() > 0.9


def test_bytes_stay_images_whose_rows_are_read():
    x = np.random.default_rng(0).integers(0, 255, size=(80, 8, 8)).astype("uint8")
    y = (x[:, 0].mean(axis=1) > 127).astype(int)
    run = tw.fit(x, y, model={"name": "rnn", "width": 4}, budget="3 steps", quiet=True, watch=False)
    understood = run.record.understanding
    assert understood is not None
    assert understood.signature.kind == "image"


@pytest.mark.slow
def test_word_order_is_learned_by_an_rnn_and_not_by_a_bag():
    dice = np.random.default_rng(0)
    texts, first = [], []
    for _ in range(1500):
        words = dice.choice(["red", "blue", "cat", "dog", "sun", "tea"], dice.integers(4, 12))
        one, other = dice.choice(len(words), 2, replace=False)
        words = words.astype("U9")
        words[one], words[other] = "alpha", "beta"
        texts.append(" ".join(words))
        first.append("alpha" if one < other else "beta")
    found = {}
    for name in ("rnn", "bag"):
        run = tw.fit(
            texts, first, model={"name": name, "width": 32}, budget="400 steps",
            algorithm={"learning_rate": 5e-3}, quiet=True, watch=False,
        )  # fmt: skip
        found[name] = run.record.metrics["test"]["accuracy"].value
    assert found["rnn"] > 0.97
    assert found["bag"] < 0.8
