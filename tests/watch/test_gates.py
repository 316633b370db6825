"""The gates of recurrent layers, read beside them, are the ones that an unrolled net computes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from trainwright.watch.probes import gates as gates_module
from trainwright.watch.watcher import Watcher

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}


@pytest.fixture
def every_value(monkeypatch):
    """All examples and times are looked at."""
    monkeypatch.setattr(gates_module, "MAX_EXAMPLES", 1000)
    monkeypatch.setattr(gates_module, "MAX_TIMES", 1000)


def _unrolled(cell, x, state, memory=None, projection=None):
    """Flat or not, [time, example, gate times unit], by torch's equations; x [time, example, feature]."""
    flat = []
    for now in x:
        ours = (now @ cell.weight_ih.T + (0 if cell.bias_ih is None else cell.bias_ih)).chunk(
            4 if memory is not None else 3, -1
        )
        theirs = (state @ cell.weight_hh.T + (0 if cell.bias_hh is None else cell.bias_hh)).chunk(
            len(ours), -1
        )
        if memory is not None:
            i, f, g, o = (a + b for a, b in zip(ours, theirs, strict=True))
            sigmoids, tanh = (i, f, o), g
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * memory.tanh()
            state = state if projection is None else state @ projection.T
        else:
            r, z = (a + b for a, b in zip(ours[:2], theirs[:2], strict=True))
            tanh = ours[2] + r.sigmoid() * theirs[2]
            sigmoids = (r, z)
            state = (1 - z.sigmoid()) * tanh.tanh() + z.sigmoid() * state
        values = [s.abs() >= 4 for s in sigmoids] + [tanh.abs() >= 2.6]
        flat.append(torch.cat(values, -1).detach().float())
    return torch.stack(flat)


def _cell(layer, suffix):
    """The weights of one direction of one layer."""
    cell = type("Cell", (), {})()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(layer, f"{name}_{suffix}", None))
    return cell


class Net(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(layer.proj_size or layer.hidden_size * (1 + layer.bidirectional), 1)

    def forward(self, x, start=None):
        out, _ = self.layer(x, start)
        return self.head(out.data if isinstance(out, nn.utils.rnn.PackedSequence) else out)


def _read(model, *inputs):
    """The share that one sampled step reads of the model's layer."""
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Watcher(model, optimizer) as watcher:
        model(*inputs).square().mean().backward()
        optimizer.step()
    assert not watcher.unseen, dict(watcher.unseen)
    history = watcher.history()
    return history.by_layer["saturated_share"][0, history.layers.index("layer")]


def _layer(kind, **options):
    torch.manual_seed(0)
    layer = KINDS[kind](5, 7, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(6)
    return layer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bias": False}])
def test_a_single_layer_is_read_at_all_times_but_the_first(kind, options, every_value):
    layer = _layer(kind, **options)
    x = 2 * torch.randn(6, 4, 5)  # [time, example, feature]
    zero = torch.zeros(4, 7)
    expected = _unrolled(_cell(layer, "l0"), x, zero, zero if kind == "lstm" else None)[1:]
    found = _read(Net(layer), x.transpose(0, 1) if "batch_first" in options else x)
    assert found == pytest.approx(float(expected.mean()), abs=1e-6)
    assert 0.1 < found < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_are_read(kind, every_value):
    layer = _layer(kind, bidirectional=True)
    x, zero = 2 * torch.randn(6, 4, 5), torch.zeros(4, 7)
    memory = zero if kind == "lstm" else None
    there = _unrolled(_cell(layer, "l0"), x, zero, memory)[1:]
    back = _unrolled(_cell(layer, "l0_reverse"), x.flip(0), zero, memory)[1:]
    expected = float(torch.cat([there, back]).mean())
    assert _read(Net(layer), x) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_of_several_layers_the_first_is_gone_through_again(kind, packed, every_value):
    layer = _layer(kind, num_layers=2, dropout=0.5)
    x, zero = 2 * torch.randn(6, 4, 5), torch.zeros(4, 7)
    expected = _unrolled(_cell(layer, "l0"), x, zero, zero if kind == "lstm" else None)
    given = x
    if packed:
        lengths = [6, 4, 3, 1]
        given = pack_padded_sequence(x, lengths)
        expected = torch.cat([expected[:n, k] for k, n in enumerate(lengths)])
    assert _read(Net(layer), given) == pytest.approx(float(expected.mean()), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_read_where_each_still_runs(kind, every_value):
    layer, lengths = _layer(kind), [6, 4, 3, 1]
    x, zero = 2 * torch.randn(6, 4, 5), torch.zeros(4, 7)
    flat = _unrolled(_cell(layer, "l0"), x, zero, zero if kind == "lstm" else None)
    expected = torch.cat([flat[1:n, k] for k, n in enumerate(lengths)]).mean()
    found = _read(Net(layer), pack_padded_sequence(x, lengths))
    assert found == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_projected_state_is_the_one_that_comes_back(num_layers, every_value):
    layer = _layer("lstm", proj_size=3, num_layers=num_layers)
    x, state, memory = 2 * torch.randn(6, 4, 5), torch.zeros(4, 3), torch.zeros(4, 7)
    flat = _unrolled(_cell(layer, "l0"), x, state, memory, layer.weight_hr_l0)
    expected = float(flat[num_layers == 1 :].mean())
    assert _read(Net(layer), x) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_time_is_read_with_the_state_that_was_given(kind):
    layer, x, start = _layer(kind), torch.randn(1, 4, 5), 3 * torch.randn(1, 4, 7)
    given = (start, 2 * start) if kind == "lstm" else start
    expected = _unrolled(_cell(layer, "l0"), x, start[0], start[0] if kind == "lstm" else None)
    assert _read(Net(layer), x, given) == pytest.approx(float(expected.mean()), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_in_a_loop_are_read_at_their_first_times(kind):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = (nn.LSTMCell if kind == "lstm" else nn.GRUCell)(5, 7)

        def forward(self, x):
            state = (x.new_zeros(4, 7), x.new_zeros(4, 7)) if kind == "lstm" else None
            out = []
            for now in x:
                state = self.layer(now, state)
                out.append(state[0] if kind == "lstm" else state)
            return torch.stack(out)

    model, x, zero = Loop(), torch.randn(12, 4, 5), torch.zeros(4, 7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    flat = _unrolled(model.layer, x, zero, zero if kind == "lstm" else None)
    assert _read(model, x) == pytest.approx(float(flat[:8].mean()), abs=1e-6)


def test_long_sequences_are_thinned(monkeypatch):
    seen = []
    monkeypatch.setattr(
        gates_module.Gates,
        "inputs",
        lambda self, x, state, inner=gates_module.Gates.inputs: (
            seen.append(x.shape[:-1].numel()),
            inner(self, x, state),
        )[1],
    )
    for num_layers in (1, 2):
        layer = _layer("lstm", num_layers=num_layers)
        found = _read(Net(layer), torch.randn(100, 70, 5))
        assert np.isfinite(found)
    assert sum(seen) <= 2 * 16 * 8
