"""A watcher leaves no trace, harms nothing, and says what it cannot see."""

import copy
import io
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from trainwright.core.errors import TrainwrightError
from trainwright.watch import sampled
from trainwright.watch.probes import probe
from trainwright.watch.record import history_from_readings
from trainwright.watch.watcher import Watcher


def _things():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), nn.CrossEntropyLoss()


def _step(model, optimizer, criterion, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(16, 4, generator=generator), torch.randint(0, 3, (16,), generator=generator)
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()


def _traces(*things):
    """All hooks and attributes that hang on modules, optimisers and parameters, and modes."""
    found = [len(_get_current_function_mode_stack())]
    for thing in things:
        parts = list(thing.modules()) if isinstance(thing, nn.Module) else [thing]
        for part in parts:
            found.append(sorted(vars(part)))
            found += [len(v) for k, v in sorted(vars(part).items()) if "hooks" in k]
        if isinstance(thing, nn.Module):
            for p in thing.parameters():
                found += [
                    sorted(vars(p)),
                    len(p._backward_hooks or ()),
                    len(p._post_accumulate_grad_hooks or ()),
                ]
    return found


@pytest.mark.parametrize("num_steps", [0, 1, 3, 60])
def test_detaching_leaves_no_hook_attribute_or_mode_at_whatever_step(num_steps):
    model, optimizer, criterion = _things()
    for seed in range(3):  # hook tables of parameters are made by torch at first use
        _step(model, optimizer, criterion, seed)
    before = _traces(model, optimizer, criterion)
    with Watcher(model, optimizer, loss=criterion) as watcher:
        for seed in range(num_steps):
            _step(model, optimizer, criterion, seed)
    after = _traces(model, optimizer, criterion)
    assert after == before or all(
        a == b for a, b in zip(after, before, strict=True) if not isinstance(a, list)
    )
    assert watcher.num_steps == num_steps
    watcher.detach()  # a second time does nothing


def test_an_exception_in_the_loop_comes_through_unchanged_and_the_record_stays():
    model, optimizer, criterion = _things()
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught, Watcher(model, optimizer, loss=criterion) as watcher:  # noqa: PT012
        for seed in range(4):
            _step(model, optimizer, criterion, seed)
        model(torch.randn(3, 4))
        raise error
    assert caught.value is error
    assert len(watcher.history().steps) == 4
    assert not _get_current_function_mode_stack()


def test_an_exception_within_forward_closes_nothing_that_is_not_ours():
    model, optimizer, criterion = _things()
    with Watcher(model, optimizer, loss=criterion) as watcher:
        with pytest.raises(RuntimeError):
            model(torch.randn(3, 5))
        _step(model, optimizer, criterion)
    assert watcher.num_steps == 1
    assert not _get_current_function_mode_stack()


class Counting(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_modes_of_the_user_begin_and_end_around_ours_in_any_order():
    model, optimizer, criterion = _things()
    mode = Counting()
    with Watcher(model, optimizer, loss=criterion) as watcher:
        _step(model, optimizer, criterion)
        with mode:  # begun while ours is not there, holds a whole step
            _step(model, optimizer, criterion)
        x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
        loss = criterion(model(x), y)  # ours is open
        with mode:  # begun above ours, and the step that closes ours lies within
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert _get_current_function_mode_stack()[-1] is mode
        assert not [m for m in _get_current_function_mode_stack() if isinstance(m, Counting)]
        _step(model, optimizer, criterion)
    assert mode.calls > 0
    assert not _get_current_function_mode_stack()
    assert "layers" in watcher.unseen  # on the step inside `with mode` another mode was there
    assert watcher.num_steps == 4


def test_a_default_device_may_be_set_and_unset_while_watching():
    model, optimizer, criterion = _things()
    with torch.device("cpu"), Watcher(model, optimizer, loss=criterion) as watcher:
        _step(model, optimizer, criterion)
        with torch.device("meta"):
            assert torch.zeros(2).is_meta
        assert torch.zeros(2).device.type == "cpu"
        _step(model, optimizer, criterion)
    assert not watcher.unseen
    assert not _get_current_function_mode_stack()


def test_steps_in_another_thread_than_forwards_are_said_and_do_no_harm():
    model, optimizer, criterion = _things()
    with Watcher(model, optimizer, loss=criterion) as watcher:
        for _ in range(3):
            x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            thread = threading.Thread(target=optimizer.step)
            thread.start()
            thread.join()
    assert watcher.num_steps == 3
    assert "layers" in watcher.unseen
    assert not _get_current_function_mode_stack()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_watched_model_is_an_ordinary_model(again):
    model, optimizer, criterion = _things()
    with Watcher(model, optimizer, loss=criterion) as watcher:
        _step(model, optimizer, criterion)
        twin, twin_criterion = again(model), again(criterion)
        model.zero_grad()
        before = watcher.num_steps
        _step(twin, torch.optim.SGD(twin.parameters(), 0.1), twin_criterion)
        assert watcher.num_steps == before
        assert len(watcher.flight.batches()) == 1
        buffer = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
        copy.deepcopy(optimizer)
    _step(twin, torch.optim.SGD(twin.parameters(), 0.1), twin_criterion)


def test_what_cannot_be_watched_is_refused_in_words():
    model, optimizer, criterion = _things()
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    for bad in (
        lambda: Watcher(nn.ReLU(), optimizer),
        lambda: Watcher(model, other),
        lambda: Watcher(model, optimizer, budget=0),
        lambda: Watcher("model", optimizer),
        lambda: Watcher(model, [criterion]),
    ):
        with pytest.raises(TrainwrightError) as caught:
            bad()
        assert caught.value.allowed
        assert caught.value.do
    with Watcher(model, optimizer), pytest.raises(TrainwrightError, match="watched already"):
        Watcher(model, optimizer).attach()
    with Watcher(model, optimizer):  # the failed one has claimed nothing for good
        pass


def test_a_probe_that_fails_is_unseen_and_training_goes_on(monkeypatch):
    model, optimizer, criterion = _things()
    reference, reference_optimizer, _ = _things()

    def broken(*_, **__):
        raise ValueError("of ours")

    monkeypatch.setattr(probe, "sample", broken)
    monkeypatch.setattr(sampled, "put_outputs", broken)
    with Watcher(model, optimizer, loss=criterion) as watcher:
        for seed in range(5):
            _step(model, optimizer, criterion, seed)
    for seed in range(5):
        _step(reference, reference_optimizer, criterion, seed)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), reference.parameters(), strict=True)
    )
    assert any("of ours" in reason for reason in watcher.unseen.values())
    assert watcher.num_steps == 5


def test_a_sink_that_fails_is_said_once_and_gets_what_it_missed_when_it_works_again():
    model, optimizer, criterion = _things()
    got, works = [], [False]

    def sink(readings):
        if not works[0]:
            raise OSError("no such host")
        got.extend(readings)

    with Watcher(model, optimizer, loss=criterion, sink=sink) as watcher:
        for seed in range(6):
            _step(model, optimizer, criterion, seed)
        assert "no such host" in watcher.unseen["sink"]
        works[0] = True
        watcher.valid(loss=0.5)
    history, again = watcher.history(), history_from_readings(got, watcher.layers, num_steps=6)
    assert len(history.steps) == 6
    np.testing.assert_array_equal(again.steps, history.steps)
    assert again.layers == history.layers
    for name, values in history.by_layer.items():
        np.testing.assert_allclose(again.by_layer[name], values, rtol=1e-6)
    for name, values in history.by_step.items():
        np.testing.assert_array_equal(again.by_step[name], values)
    np.testing.assert_allclose(again.loss.values, history.loss.values, rtol=1e-6)
    assert list(again.valid["loss"].values) == [0.5]


def test_an_optimiser_that_turns_up_later_counts_the_steps_from_then_on():
    model, optimizer, criterion = _things()
    with Watcher(model, None, loss=criterion) as watcher:
        _step(model, optimizer, criterion)
        watcher.adopt(optimizer)
        watcher.adopt(optimizer)
        for seed in range(4):
            _step(model, optimizer, criterion, seed)
    assert watcher.num_steps == 4
    assert len(watcher.history().steps) == 4


def test_the_opening_batches_are_copies_with_what_came_of_them():
    model, optimizer, _ = _things()
    x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
    with Watcher(model, optimizer) as watcher:
        first = x.clone()
        expected = copy.deepcopy(model)(x).detach()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        x.zero_()
    batch = watcher.kept[0]
    assert torch.equal(batch.inputs[0], first)
    assert torch.equal(batch.targets, y)
    assert torch.allclose(batch.outputs, expected)
    assert Watcher(model, optimizer, sample_bytes=10).kept == ()


def test_our_own_loop_is_seen_without_hooks_of_the_optimiser():
    model, optimizer, criterion = _things()

    class Rows:
        rows = torch.arange(16)

    watcher = Watcher(model, optimizer).attach()
    import inspect

    plain = inspect.unwrap(type(optimizer).step)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for p in model.parameters():
            p.grad = None
        loss = criterion(model(x), y)
        loss.backward()
        with torch.no_grad():
            plain(optimizer)
        watcher.after_step(loss.detach(), 0.1, (Rows(),))
    watcher.detach()
    history = watcher.history()
    assert list(history.steps) == [1, 2, 3, 4, 5]
    assert np.isfinite(history.by_layer["update_norm"]).all()
    assert (history.by_layer["update_norm"] > 0).all()
    assert list(history.by_step["learning_rate"]) == [0.1] * 5
    assert [f.step for f in watcher.flight.batches()] == [1, 2, 3, 4, 5]
    assert torch.equal(watcher.flight.batches()[0].rows, torch.arange(16))


def test_a_compiled_model_is_seen_by_its_weights_and_the_rest_is_said():
    model, optimizer, criterion = _things()
    compiled = torch.compile(model, backend="eager")
    breaks = torch._dynamo.utils.counters["graph_break"].copy()
    with Watcher(compiled, optimizer, loss=criterion) as watcher:
        frames = []
        for seed in range(25):
            _step(compiled, optimizer, criterion, seed)
            frames.append(torch._dynamo.utils.counters["frames"]["total"])
    assert frames[1:] == frames[:1] * 24  # compiled once
    assert torch._dynamo.utils.counters["graph_break"] == breaks
    history = watcher.history()
    assert history.layers == ("0", "1", "3")
    assert np.isfinite(history.by_layer["gradient_norm"]).all()
    assert "output_mean" not in history.by_layer
    assert "compiled" in watcher.unseen["layers"]


def test_a_net_of_a_thousand_layers_is_watched_layer_by_layer():
    torch.manual_seed(0)
    model = nn.Sequential(*[m for _ in range(1000) for m in (nn.Linear(4, 4), nn.Tanh())])
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Watcher(model, optimizer) as watcher:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(5, 4)).square().mean().backward()
            optimizer.step()
    history = watcher.history()
    assert len(history.layers) == 1000
    assert np.isfinite(history.by_layer["saturated_share"]).all()
    assert not watcher.unseen
