"""A run can be stopped anywhere, damaged, and gone on with; what it predicts after loading is what
it predicted before."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import trainwright as tw
from trainwright import recipe as recipes
from trainwright.cli.app import run as command
from trainwright.core.errors import LeaseHeld, ModelError, RunFailed, RunNotFound, StoreError
from trainwright.run import messages
from trainwright.run.messages import Compared, Finished, Loaded, Looked, Progressed, Said
from trainwright.store.open import open_store
from trainwright.train import checkpoint

RNG = np.random.default_rng(1)
X = RNG.normal(size=(300, 5)).astype("float32")
QUICK = recipes.edit(recipes.Recipe(), {"baseline_seconds": 0.2})
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 0.5, "sick", "well")


class Net(nn.Module):
    def __init__(self, in_features: int = 5, num_classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, 12), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(12, num_classes)

    def forward(self, x):
        return {"logits": self.head(self.body(x))}


@pytest.fixture
def often(monkeypatch):
    """Checkpoints at every step."""
    monkeypatch.setattr(checkpoint, "FEWEST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)


def whole(**options):
    fast = {"learning_rate": 0.02}
    return tw.fit(X, Y, model=Net, algorithm=fast, budget="60 steps", quiet=True, **options)


def asks_to_stop(at: int, number: int = signal.SIGINT):
    """A listener that sends this process a signal at the first message from step `at` on."""
    sent = []

    def listen(message):
        if isinstance(message, (Progressed, Looked)) and message.step >= at and not sent:
            sent.append(os.kill(os.getpid(), number))

    return listen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_resume_ends_at_the_same_bit(url, number):
    run = whole(store=url, name="stopped", listener=asks_to_stop(20, number))
    assert run.state == "interrupted"
    assert 20 <= run.record.steps < 60
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    gone_on = tw.resume("stopped", store=url, source=X, y=Y, model=Net, quiet=True)
    assert gone_on.state == "finished"
    assert gone_on.weights_sha256 == whole().weights_sha256
    assert gone_on.history["step"].is_sorted()
    assert len(gone_on.history) == len(whole().history)


def test_a_damaged_last_checkpoint_is_passed_over_and_said(url, often):
    whole(store=url, name="hurt", listener=asks_to_stop(20))
    store = open_store(url)
    newest = store.checkpoints("hurt", kind="latest")[0]
    place = next(
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.dirname(url))
        for name in names
        if name == newest.files["state.safetensors"]
    )
    with open(place, "r+b") as file:
        file.truncate(100)
    heard = []
    run = tw.resume("hurt", store=url, source=X, y=Y, model=Net, listener=heard.append)
    assert any(isinstance(m, Said) and m.notice.code == "checkpoint_damaged" for m in heard)
    assert run.weights_sha256 == whole().weights_sha256


def test_a_store_that_fills_up_stops_the_run_and_space_lets_it_go_on(url, often, monkeypatch):
    store = open_store(url)
    put, calls = store.artefacts.put, []

    def full(data):
        calls.append(data)
        if len(calls) > 30:
            raise StoreError("the disk is full", do="make space")
        return put(data)

    monkeypatch.setattr(store.artefacts, "put", full)
    with pytest.raises(RunFailed, match="disk is full") as caught:
        whole(store=store, name="full")
    assert caught.value.exit_code == 3
    assert "resume full" in str(caught.value)
    store.close()
    run = tw.resume("full", store=url, source=X, y=Y, model=Net, quiet=True)
    assert run.weights_sha256 == whole().weights_sha256


def test_no_more_than_two_states_are_kept_on_disk(url, often):
    run = whole(store=url)
    store = open_store(url)
    assert len(store.checkpoints(run.id, kind="latest")) == 2
    named = {d for c in store.checkpoints(run.id) for d in c.files.values()}
    assert set(store.artefacts.sizes()) == named


def test_two_writers_cannot_have_one_run(url):
    whole(store=url, name="mine", listener=asks_to_stop(20))
    first, second = open_store(url), open_store(url)
    first.claim("mine")
    with pytest.raises(LeaseHeld):
        tw.resume("mine", store=second, source=X, y=Y, model=Net, quiet=True)


def test_a_run_that_another_ended_meanwhile_is_not_gone_on_with(url):
    whole(store=url, name="twice", listener=asks_to_stop(20))
    store, other = open_store(url), open_store(url)
    claim = store.claim

    def late(run_id, **options):
        tw.resume("twice", store=other, source=X, y=Y, model=Net, quiet=True)
        return claim(run_id, **options)

    store.claim = late  # the other goes on between our reading of the record and our claim
    with pytest.raises(tw.TrainwrightError, match="nothing to resume"):
        tw.resume("twice", store=store, source=X, y=Y, model=Net, quiet=True)
    assert store.run("twice").weights_sha256 == whole().weights_sha256
    other.claim("twice")  # nobody holds it


def test_a_finished_run_has_nothing_to_resume_and_an_unknown_one_is_not_found(url):
    run = whole(store=url)
    with pytest.raises(tw.TrainwrightError, match="nothing to resume"):
        tw.resume(run.id, store=url, quiet=True)
    with pytest.raises(RunNotFound):
        tw.resume("no-such-run", store=url, quiet=True)


def test_the_parts_of_a_run_add_up_to_its_seconds(url):
    for record in (
        whole(store=url).record,
        whole(store=url, name="stopped", listener=asks_to_stop(20)).record,
        tw.resume("stopped", store=url, source=X, y=Y, model=Net, quiet=True).record,
    ):
        parts = record.seconds_by_part
        assert {"data", "train", "input", "evaluate", "checkpoint"} <= set(parts)
        assert all(seconds >= 0 for seconds in parts.values())
        assert sum(parts.values()) <= record.seconds


def test_what_auto_meant_when_a_run_began_it_means_to_the_end(url, tmp_path, monkeypatch):
    from trainwright.algorithm import resolve as algorithm_rules
    from trainwright.model import resolve as model_rules

    np.savez(tmp_path / "rows.npz", X=X, y=Y)
    rest = {"budget": "60 steps", "quiet": True, "store": url}
    untouched = tw.fit(tmp_path / "rows.npz", name="untouched", **rest)
    tw.fit(tmp_path / "rows.npz", name="moved", listener=asks_to_stop(20), **rest)
    monkeypatch.setitem(algorithm_rules.RATES, "adamw", 0.5)
    monkeypatch.setattr(algorithm_rules, "TABLE_RATES", {})
    monkeypatch.setattr(algorithm_rules, "STEPS_PER_EPOCH", 1)
    monkeypatch.setitem(model_rules._BY_KIND, "features", "linear")
    gone_on = tw.resume("moved", store=url, quiet=True)
    assert gone_on.weights_sha256 == untouched.weights_sha256
    loaded = tw.load("untouched", store=url)
    assert np.array_equal(loaded.predict_proba(X), untouched.predict_proba(X))


def test_live_parts_must_be_given_again(url):
    whole(store=url, name="live", listener=asks_to_stop(20))
    with pytest.raises(tw.TrainwrightError, match=r"data\.source, model\.name"):
        tw.resume("live", store=url, quiet=True)


def test_changed_data_is_not_gone_on_with(url):
    whole(store=url, name="moved", listener=asks_to_stop(20))
    before = open_store(url).run("moved")
    with pytest.raises(tw.TrainwrightError, match="data has changed"):
        tw.resume("moved", store=url, source=X + 1, y=Y, model=Net, quiet=True)
    with pytest.raises(tw.TrainwrightError):
        tw.resume("moved", store=url, source=X[:0], y=Y[:0], model=Net, quiet=True)
    assert open_store(url).run("moved") == before  # a refusal leaves no trace
    gone_on = tw.resume("moved", store=url, source=X, y=Y, model=Net, quiet=True)
    assert gone_on.weights_sha256 == whole().weights_sha256


def test_predictions_after_loading_are_equal_to_the_bit(url):
    run = whole(store=url)
    loaded = tw.load(run.id, store=url, model=Net)
    assert np.array_equal(loaded.predict_proba(X), run.predict_proba(X))
    assert set(loaded.predict(X)) == {"sick", "well"} == set(run.classes)
    assert (loaded.predict(X) == Y).mean() > 0.7
    assert loaded.metrics == run.metrics
    with pytest.raises(ModelError, match="live model"):
        _ = tw.load(run.id, store=url).model


def test_a_tables_predictions_after_loading_are_equal_to_the_bit(url, tmp_path):
    rows = ["age,town,when,left"]
    rows += [f"{20 + i % 50},{'RBO'[i % 3]}{i % 9},2024-01-{i % 28 + 1:02},{'yn'[i % 50 > 20]}"
             for i in range(120)]  # fmt: skip
    source = tmp_path / "people.csv"
    source.write_text("\n".join(rows))
    run = tw.fit(source, budget="5 steps", store=url, recipe=QUICK, quiet=True)
    loaded = tw.load(run.id, store=url)
    assert np.array_equal(loaded.predict_proba(source), run.predict_proba(source))
    assert np.array_equal(loaded.predict(str(source)), run.predict(source))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk of Linux's")
def test_a_disk_that_fills_up_in_the_middle_of_a_run(tmp_path, often, monkeypatch, capsys):
    """On a real full disk: code 3, the earlier checkpoint opens, and space lets it go on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)]
    if subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk")
    save, ballast = checkpoint.Checkpoints.save, disk / "ballast"

    def fill(self, trainee):
        if trainee.step == 10:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        save(self, trainee)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", fill)
    fit = ["fit", "synthetic:xor", "--set", "baselines=false", "--set", "data.num_examples=100",
           "--set", "model.width=32", "--budget", "30 steps"]  # fmt: skip
    store = str(disk / "runs.db")
    try:
        assert command([*fit, "--store", store, "--name", "full"]) == 3
        told = capsys.readouterr().err
        assert "disk is full" in told
        assert "resume full" in told
        assert "Traceback" not in told
        opened = open_store(store)
        saved = opened.checkpoints("full", kind="latest")[0]
        assert saved.step < 30
        assert all(opened.artefacts.get(digest) for digest in saved.files.values())
        opened.close()
        ballast.unlink()
        monkeypatch.setattr(checkpoint.Checkpoints, "save", save)
        assert command(["resume", "full", "--store", store]) == 0
        resumed = open_store(store)
        sha = resumed.run("full").weights_sha256
        resumed.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert command([*fit, "--store", str(tmp_path / "b.db"), "--name", "whole"]) == 0
    assert open_store(tmp_path / "b.db").run("whole").weights_sha256 == sha


def test_regression_speaks_in_the_users_unit():
    y = 1000 + 50 * X[:, 0]
    run = tw.fit(X, y, model={"name": "mlp", "width": 16}, budget="300 steps", quiet=True)
    assert abs(run.predict(X).mean() - 1000) < 10
    assert run.metrics["test"]["rmse"].value < 25
    with pytest.raises(tw.TrainwrightError, match="no class probabilities"):
        run.predict_proba(X)


def test_an_error_in_the_users_code_is_theirs_and_the_record_is_kept(url):
    class Breaks(Net):
        calls = 0

        def forward(self, x):
            if self.training:
                Breaks.calls += 1
            if Breaks.calls > 5:
                raise ZeroDivisionError("mine")
            return super().forward(x)

    with pytest.raises(ZeroDivisionError, match="mine"):
        tw.fit(X, Y, model=Breaks, budget="60 steps", store=url, name="broken", quiet=True)
    record = open_store(url).run("broken")
    assert record.state == "failed"
    assert record.stopped.code == "crashed"


def test_a_loss_that_leaves_the_numbers_fails_the_run_and_keeps_what_a_replay_needs(url):
    def loss(outputs, target):
        loss.calls += 1
        value = nn.functional.cross_entropy(outputs, target)
        return value / 0 if loss.calls > 40 else value

    loss.calls = 0
    run = tw.fit(X, Y, model=Net, loss=loss, budget="60 steps", store=url, quiet=True,
                 watch=False)  # the check would count as calls  # fmt: skip
    assert run.state == "failed"
    assert run.record.stopped.code == "loss_not_finite"
    store = open_store(url)
    (reading,), _ = store.readings(run.id, kind="non_finite")
    assert len(reading.values["rows"]) > 1
    assert store.checkpoints(run.id, kind="latest")[0].step == reading.step - 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_data_is_read_ends_at_once_and_leaves_no_run(
    url, tmp_path, monkeypatch, number
):
    monkeypatch.setattr(messages, "SOON_SECONDS", 0.0)
    for index in range(40):
        place = tmp_path / "media" / "ab"[index % 2] / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    heard = []

    def listen(message):
        heard.append(message)
        if isinstance(message, Loaded) and not message.over:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        tw.fit(str(tmp_path / "media"), budget="5 steps", store=url, listener=listen)
    assert {type(message) for message in heard} == {Loaded}
    assert open_store(url).runs() == []
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_baselines_ends_at_once_and_resume_judges_anew(url, number):
    def fit(listener=None, store=None):
        return tw.fit(
            "synthetic:xor", recipe=QUICK, data={"num_examples": 100}, model={"width": 8},
            budget="20 steps", store=store, name="judged", listener=listener or messages.nobody,
        )  # fmt: skip

    heard = []

    def listen(message):
        heard.append(message)
        if isinstance(message, Compared):
            os.kill(os.getpid(), number)

    stopped = fit(listen, url)
    assert stopped.state == "interrupted"
    assert stopped.record.stopped.code == "interrupted"
    assert sum(isinstance(message, Compared) for message in heard) == 1
    assert isinstance(heard[-1], Finished)
    assert open_store(url).run("judged").state == "interrupted"
    run = tw.resume("judged", store=url, quiet=True)
    assert run.state == "finished"
    assert run.record.baselines
    assert run.weights_sha256 == fit().weights_sha256 == stopped.weights_sha256


def test_a_second_signal_in_training_ends_at_once_and_is_no_crash(url, often):
    def listen(message):
        if isinstance(message, (Progressed, Looked)) and message.step >= 20:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        whole(store=url, name="impatient", listener=listen)
    record = open_store(url).run("impatient")
    assert (record.state, record.stopped.code) == ("interrupted", "interrupted")
    run = tw.resume("impatient", store=url, source=X, y=Y, model=Net, quiet=True)
    assert run.weights_sha256 == whole().weights_sha256


def test_a_recipe_that_cannot_be_assembled_leaves_no_run_behind(url):
    with pytest.raises(ModelError):
        tw.fit(X, Y, model=nn.Linear(99, 2), store=url, quiet=True)
    assert open_store(url).runs() == []


def test_the_listener_hears_the_end_and_memory_runs_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heard = []
    run = whole(listener=heard.append)
    assert isinstance(heard[-1], Finished)
    assert heard[-1].record == run.record
    assert list(tmp_path.iterdir()) == []


def test_an_instance_is_trained_in_place_and_kept_in_eval_mode():
    model = Net()
    before = model.head.weight.detach().clone()
    run = tw.fit(X, Y, model=model, budget="20 steps", quiet=True)
    assert run.model is model
    assert not model.training
    assert not torch.equal(before, model.head.weight)
