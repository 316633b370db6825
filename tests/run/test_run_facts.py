"""Facts of a run are those of its start, are measured when somebody asks, and once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_run_life import Net, X, Y, asks_to_stop
from torch import nn

import trainwright as tw
from trainwright import recipe as recipes
from trainwright.run import facts
from trainwright.run.assemble import assemble
from trainwright.run.facts import facts_of
from trainwright.run.surroundings import own_randomness
from trainwright.store.open import open_store

QUICK = recipes.edit(recipes.Recipe(), {"baseline_seconds": 0.1})


class Calm(nn.Module):
    """Draws random numbers and keeps statistics while it trains."""

    def __init__(self, in_features: int = 5, num_classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(in_features, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(12, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


@pytest.fixture
def measured(monkeypatch):
    """The steps taken at each measurement of facts, and whether it went by a copy."""
    seen = []

    def spy(assembly, module=None, **options):
        seen.append((assembly.trainee.step, module is not None))
        return facts_of(assembly, module, **options)

    monkeypatch.setattr(facts, "facts_of", spy)
    return seen


def fit(**options):
    rest = {"model": Net, "algorithm": {"learning_rate": 0.02}, "budget": "60 steps"}
    return tw.fit(X, Y, **{"quiet": True, **rest, **options})


def of_the_start(known):
    """What training changes, and what no probe's time limit does."""
    layers = [(layer.weight_sd, layer.bias_high) for layer in known.model.layers]
    return layers, known.optimizer, known.inputs, known.targets


def test_nothing_is_measured_before_the_first_step_and_once_in_all(measured):
    fit()
    assert measured == [(60, True)]


def test_rules_that_are_asked_in_between_measure_then(measured, at_once):
    fit()
    assert len(measured) == 1
    assert measured[0][0] < 60


def test_facts_that_are_measured_late_are_those_of_the_start(at_once):
    live = recipes.Live(source=X, target=Y, model=Net)
    recipe = fit().recipe.model_copy(update={"live": live})
    with own_randomness(recipe.seed):
        before = facts_of(assemble(recipe))
    for run in (fit(), fit(budget="3 steps")):
        assert of_the_start(run.record.facts) == of_the_start(before)
        assert run.record.facts.loss.initial == pytest.approx(before.loss.initial, rel=0.05)


@pytest.mark.parametrize("model", [Net, Calm])
def test_measuring_in_the_middle_changes_no_bit(model, at_once, measured):
    watched = fit(model=model)
    assert measured
    assert measured[0][0] < 60
    assert watched.weights_sha256 == fit(model=model, watch=False).weights_sha256


def test_a_network_too_large_to_be_copied_is_measured_at_once(measured, monkeypatch):
    monkeypatch.setattr(facts, "KEPT_START_BYTES", 10)
    run = fit()
    assert measured == [(0, False)]
    monkeypatch.undo()
    assert of_the_start(run.record.facts) == of_the_start(fit().record.facts)


def test_a_resumed_run_keeps_the_facts_it_had(url, measured):
    stopped = fit(store=url, name="stopped", listener=asks_to_stop(20))
    assert stopped.record.facts is not None
    gone_on = tw.resume("stopped", store=url, source=X, y=Y, model=Net, quiet=True)
    assert len(measured) == 1
    assert (
        of_the_start(gone_on.record.facts)
        == of_the_start(stopped.record.facts)
        == of_the_start(fit().record.facts)
    )


def test_facts_that_were_lost_are_measured_of_the_start_and_not_of_the_checkpoint(url):
    stopped = fit(store=url, name="killed", listener=asks_to_stop(20))
    store = open_store(url)
    store.save_run(replace(stopped.record, facts=None))
    store.close()
    gone_on = tw.resume("killed", store=url, source=X, y=Y, model=Net, quiet=True)
    assert of_the_start(gone_on.record.facts) == of_the_start(stopped.record.facts)


def test_a_resumed_run_is_read_at_the_steps_where_it_is(url):
    fit(store=url, name="stopped", listener=asks_to_stop(20))
    at = open_store(url).run("stopped").steps
    tw.resume("stopped", store=url, source=X, y=Y, model=Net, quiet=True)
    store = open_store(url)
    watched, _ = store.readings("stopped", kind="watch")
    assert any(r.step > at for r in watched)
    assert len({r.step for r in watched}) == len(watched)
    losses, _ = store.readings("stopped", kind="loss")
    steps = np.concatenate([r.values["steps"] for r in losses])
    assert steps.tolist() == list(range(1, 61))


def test_looks_at_the_validation_split_are_told_at_their_step(url):
    run = fit(store=url, name="looked")
    from trainwright.run.recall import recall

    _, history = recall(run.record, run.readings())
    assert history.valid["loss"].steps[-1] == 60


def test_what_cannot_be_measured_stops_no_training(monkeypatch):
    def breaks(*args, **options):
        raise ZeroDivisionError("probe")

    monkeypatch.setattr(facts, "gather", breaks)
    run = fit()
    assert run.state == "finished"
    assert run.record.facts.unseen == {"facts": "ZeroDivisionError: probe"}
    assert run.record.facts.optimizer is not None


def test_no_rule_is_asked_while_steps_are_timed(at_once, measured, monkeypatch):
    monkeypatch.setattr("trainwright.train.plan.PACE_STEPS", 40)
    fit(budget="2s")
    assert measured[0][0] >= 45


def test_an_interrupt_that_will_not_wait_measures_nothing(url, measured):
    def listen(message):
        if getattr(message, "step", 0) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(store=url, name="twice", listener=listen)
    assert not measured
    assert open_store(url).run("twice").state == "interrupted"


# --- what own runs show to the rules ---------------------------------------------------------------


def test_steps_that_brought_nothing_better_are_noted_in_a_healthy_run():
    run = tw.fit("sklearn:iris", budget="300 steps", recipe=QUICK, quiet=True)
    found = tw.diagnose(run)
    assert found.healthy
    (note,) = found.notes
    assert note.values["best"] == run.record.chosen_step < 150
    assert f"of step {run.record.chosen_step} of 300" in str(found)
    assert "M208" not in str(found).split("note")[0]


@pytest.mark.parametrize("share", [0.0, 0.35])
def test_wrong_labels_are_seen_in_a_run(share, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 900)
    x = rng.normal(size=(900, 8)) + 4 * np.eye(8)[y]
    wrong = rng.random(900) < share
    y = np.where(wrong, (y + rng.integers(1, 4, 900)) % 4, y)
    np.savez(tmp_path / "rows.npz", X=x.astype("float32"), y=y)
    found = tw.diagnose(tw.fit(tmp_path / "rows.npz", budget="60 steps", recipe=QUICK, quiet=True))
    assert ("D104" in [f.code for f in found.findings]) == (share > 0)
    assert "D104" not in [one.code for one in found.unseen]


def test_a_sorted_file_does_not_look_like_one_of_one_class(tmp_path):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 1500)
    x = rng.normal(size=(3000, 6)).astype("float32") + 2 * y[:, None]
    np.savez(tmp_path / "sorted.npz", X=x, y=y)
    run = tw.fit(tmp_path / "sorted.npz", budget="60 steps", recipe=QUICK, quiet=True)
    assert min(run.record.facts.targets.counts) > 400
    assert tw.diagnose(run).healthy


def test_a_picked_batch_goes_where_the_network_is(tmp_path):
    inputs, target = facts._some(_Split(), torch.device("meta"))
    assert inputs.device.type == target.device.type == "meta"


class _Split:
    def __len__(self):
        return 5

    def pick(self, positions):
        from trainwright.data.batch import Batch

        return Batch(inputs=(torch.zeros(len(positions), 2),), target=torch.zeros(len(positions)),
                     rows=positions)  # fmt: skip


def test_a_short_runs_diagnosis_knows_how_long_it_was():
    run = fit(budget="8 steps")
    found = tw.diagnose(run)
    assert 0 < found.seconds < run.record.seconds
    assert "in the first steps" in str(found)
    assert found.to_json()["seconds"] == found.seconds


def test_a_watched_loops_diagnosis_knows_how_long_it_was():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tw.watch(model, optimizer, loss=nn.functional.cross_entropy) as w:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.zeros(4, 5))["logits"].sum().backward()
            optimizer.step()
        during = w.diagnose().seconds
    after = w.diagnose().seconds
    assert 0 < during <= after == w.diagnose().seconds
