"""A step of a stored run that is taken again is the one that training took."""

import math

import numpy as np
import pytest
import torch

import trainwright as tw
from trainwright.cli.app import run as command
from trainwright.core.errors import TrainwrightError
from trainwright.recipe import Live
from trainwright.run import replay as replay_module
from trainwright.run.messages import Progressed, nobody
from trainwright.run.recall import recall
from trainwright.run.replay import take_again
from trainwright.store.open import open_store
from trainwright.train import checkpoint

STEPS = 40


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "table.csv"
    X = np.random.default_rng(0).normal(size=(300, 4))
    rows = [",".join(f"{v:.5f}" for v in x) + f",{'yes' if x[0] * x[1] > 0 else 'no'}" for x in X]
    path.write_text("\n".join(["a,b,c,d,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def stored(table, tmp_path_factory):
    """A store with a run that has dropout and a checkpoint at each step, and one that blew up."""
    url = str(tmp_path_factory.mktemp("store") / "runs.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "FEWEST_SECONDS", 0.0)
        patch.setattr(checkpoint, "COST_SHARE", 1e9)
        patch.setattr(checkpoint, "KEPT", 1000)
        options = {"target": "label", "store": url, "quiet": True}
        tw.fit(table, name="fine", model={"dropout": 0.3}, budget=f"{STEPS} steps", **options)
        tw.fit(table, name="boom", budget=f"{STEPS} steps", **options,
               algorithm={"optimizer": "sgd", "learning_rate": 1000.0})  # fmt: skip
    return url


def again(url, run, step=None, listener=nobody):
    store = open_store(url, create=False)
    readings, _ = store.readings(run)
    return take_again(store.run(run), store, readings, step=step, live=Live(), listener=listener)


@pytest.fixture
def begun(monkeypatch):
    """Steps that were taken when training began anew."""
    found, make = [], replay_module._StopBefore
    monkeypatch.setattr(
        replay_module, "_StopBefore",
        lambda step, wanted, taken: found.append(taken) or make(step, wanted, taken),
    )  # fmt: skip
    return found


@pytest.mark.parametrize("step", [1, 2, 17, STEPS])
def test_the_loss_is_the_one_that_training_had_to_the_bit(stored, begun, step):
    store = open_store(stored)
    readings, _ = store.readings("fine")
    losses = recall(store.run("fine"), readings)[1].loss
    (at,) = np.flatnonzero(losses.steps == step)
    found = again(stored, "fine", step)
    assert found.step == step
    assert found.replayed.loss == losses.values[at]
    assert found.replayed.culprit is None
    assert found.replayed.error is None
    assert 0 <= found.row < 300
    assert begun == [step - 1]  # from the checkpoint just before


def test_without_its_checkpoints_a_step_is_computed_from_the_start(stored, begun):
    expected = again(stored, "fine", 17)
    store = open_store(stored)
    kept = store.checkpoints("fine", kind="latest")
    for one in kept:
        store.delete_checkpoint(one)
    heard = []
    found = again(stored, "fine", 17, heard.append)
    for one in kept:
        store.save_checkpoint("fine", step=one.step, kind="latest", files=one.files)
    assert found == expected
    assert begun == [16, 0]
    assert isinstance(heard[0], Progressed)
    assert heard[0].total_steps == 17


def test_a_run_that_blew_up_names_operation_layer_and_example(stored):
    found = again(stored, "boom")
    (reading,), _ = open_store(stored).readings("boom", kind="non_finite")
    assert found.step == reading.step
    assert not math.isfinite(found.replayed.loss)
    culprit = found.replayed.culprit
    assert culprit is not None
    assert culprit.direction == "forward"
    assert culprit.layer
    assert culprit.num_bad > 0
    assert math.isfinite(culprit.input_high)
    assert abs(culprit.input_high) > 1e30
    assert found.row in reading.values["rows"]


def test_the_command_says_it_in_a_table_and_as_json(stored, capsys):
    assert command(["replay", "boom", "--store", stored]) == 0
    culprit = again(stored, "boom").replayed.culprit
    said = capsys.readouterr().out
    assert culprit.name in said
    assert culprit.layer in said
    assert command(["replay", "fine", "--store", stored, "--step", "5", "--json"]) == 0
    assert f'"loss": {again(stored, "fine", 5).replayed.loss}' in capsys.readouterr().out


@pytest.mark.parametrize("step", [0, -1, STEPS + 1, 10_000])
def test_a_step_that_was_not_taken_is_refused_with_those_that_were(stored, step):
    with pytest.raises(TrainwrightError, match=f"did not take step {step}") as caught:
        again(stored, "fine", step)
    assert f"1 to {STEPS}" in str(caught.value)
    assert "--step" in str(caught.value)


def test_a_healthy_run_is_asked_which_step(stored):
    with pytest.raises(TrainwrightError, match="which step") as caught:
        again(stored, "fine")
    assert f"1 to {STEPS}" in str(caught.value)


def test_a_run_from_live_objects_says_that_its_own_loop_can_do_it(tmp_path):
    url = str(tmp_path / "runs.db")
    X = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    tw.fit(X, (X[:, 0] > 0).astype(int), budget="5 steps", store=url, name="live", quiet=True)
    with pytest.raises(TrainwrightError, match="live objects") as caught:
        again(url, "live", 3)
    assert "w.replay()" in str(caught.value)


def test_nothing_is_written_and_the_random_stream_is_left_alone(stored):
    store = open_store(stored)
    before, stream = store.run("fine"), torch.get_rng_state()
    counts = len(store.readings("fine")[0]), len(store.checkpoints("fine"))
    again(stored, "fine", 9)
    assert store.run("fine") == before
    assert (len(store.readings("fine")[0]), len(store.checkpoints("fine"))) == counts
    assert torch.equal(stream, torch.get_rng_state())
