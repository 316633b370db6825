"""Anyone's loop: watched in two lines, judged, kept in a store, and left as it was."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trainwright as tw
from trainwright.core.errors import StoreError, TrainwrightError
from trainwright.run.recall import recall
from trainwright.store.open import open_store


def data(n=400, features=8):
    own = torch.Generator().manual_seed(0)
    x = torch.randn(n, features, generator=own)
    return x, ((x[:, 0] * x[:, 1]) > 0).long()


def net(head=False):
    torch.manual_seed(1)
    layers = [nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2)]
    return nn.Sequential(*layers, nn.Softmax(1)) if head else nn.Sequential(*layers)


def loop(model, optimizer, loss, steps=120):
    x, y = data()
    own = torch.Generator().manual_seed(2)
    for _ in range(steps):
        rows = torch.randint(0, len(x), (32,), generator=own)
        optimizer.zero_grad()
        value = loss(model(x[rows]), y[rows])
        value.backward()
        optimizer.step()


def codes(diagnosis):
    return [finding.code for finding in diagnosis.findings]


def test_two_lines_name_the_fault_from_the_opening_batches_alone():
    model, criterion = net(head=True), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with tw.watch(model, optimizer, loss=criterion) as w:
        loop(model, optimizer, criterion)
    found = w.diagnose()
    assert codes(found) == ["L301"]
    assert "L301" in str(found)
    assert found.to_json()["findings"][0]["code"] == "L301"


def test_a_bare_function_is_found_to_be_the_loss():
    model = net(head=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with tw.watch(model, optimizer) as w:
        loop(model, optimizer, F.cross_entropy)
    assert codes(w.diagnose()) == ["L301"]


def test_a_healthy_loop_is_told_so_and_its_weights_are_equal_to_the_bit():
    x, y = data()
    plain, watched = net(), net()
    loop(plain, torch.optim.Adam(plain.parameters(), 1e-2), nn.CrossEntropyLoss(), steps=400)
    optimizer, criterion = torch.optim.Adam(watched.parameters(), 1e-2), nn.CrossEntropyLoss()
    with tw.watch(watched, optimizer, loss=criterion, data=(x, y), batch_size=32) as w:
        loop(watched, optimizer, criterion, steps=400)
    assert w.diagnose().healthy
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_was_read_is_kept_in_a_store_and_judged_alike(tmp_path):
    url = str(tmp_path / "runs.db")
    model, criterion = net(head=True), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with tw.watch(model, optimizer, loss=criterion, store=url, name="mine") as w:
        loop(model, optimizer, criterion)
    kept = tw.diagnose("mine", store=url)
    assert codes(kept) == codes(w.diagnose()) == ["L301"]
    run = tw.load("mine", store=url)
    assert run.state == "finished"
    assert run.record.steps == 120
    assert tw.diagnose("mine", store=url, mute=["L301"]).healthy or codes(kept)


def test_what_the_user_told_of_validation_is_recalled_too(tmp_path):
    model, criterion = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    place = open_store(str(tmp_path / "runs.db"))
    with tw.watch(model, optimizer, loss=criterion, store=place, name="mine") as w:
        for loss in (0.7, 0.5, 0.9):
            loop(model, optimizer, criterion, steps=20)
            w.valid(loss=loss)
    readings, _ = place.readings("mine")
    _, again = recall(place.run("mine"), readings)
    live = w.history
    assert (
        again.valid["loss"].values.tolist() == live.valid["loss"].values.tolist() == [0.7, 0.5, 0.9]
    )
    assert again.valid["loss"].steps.tolist() == live.valid["loss"].steps.tolist()
    assert again.steps.tolist() == live.steps.tolist()
    assert again.by_step.keys() == live.by_step.keys()


def test_an_exception_of_the_loop_comes_through_unchanged_and_nothing_is_left_behind(tmp_path):
    url = str(tmp_path / "runs.db")
    model, criterion = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    mine = ValueError("mine")

    def fails(outputs, target):
        fails.calls += 1
        if fails.calls > 50:
            raise mine
        return criterion(outputs, target)

    fails.calls = 0
    with (
        pytest.raises(ValueError, match="mine") as caught,
        tw.watch(model, optimizer, loss=criterion, store=url, name="mine") as w,
    ):
        loop(model, optimizer, fails)
    assert caught.value is mine
    assert w.history.num_steps == 50
    assert tw.load("mine", store=url).state == "failed"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_a_store_that_goes_away_does_not_stop_training(tmp_path):
    url = str(tmp_path / "runs.db")
    model, criterion = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    place = open_store(url)

    def gone(*_, **__):
        raise StoreError("gone", do="wait")

    watching = tw.watch(model, optimizer, loss=criterion, store=place, name="mine")
    watching.attach()
    place.append = gone
    loop(model, optimizer, criterion)
    watching.watcher.detach()
    assert watching.history.num_steps == 120
    assert any("gone" in reason for reason in watching.history.unseen.values())


def test_a_store_that_goes_away_does_not_hide_the_loops_own_exception(tmp_path):
    model, criterion = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    place = open_store(str(tmp_path / "runs.db"))

    def gone(*_, **__):
        raise StoreError("gone", do="wait")

    def interrupted():
        with tw.watch(model, optimizer, loss=criterion, store=place, name="mine"):
            place.save_run = place.append = gone
            loop(model, optimizer, criterion, steps=10)
            raise ValueError("mine")

    with pytest.warns(UserWarning, match="gone"), pytest.raises(ValueError, match="mine"):
        interrupted()


def test_the_first_loss_that_is_no_number_can_be_gone_through_again():
    class LogLoss(nn.Module):
        def forward(self, p, y):
            return -torch.log(p[torch.arange(len(y)), y]).mean()

    model, criterion = net(head=True), LogLoss()
    with torch.no_grad():
        model[2].weight.mul_(3e5)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with tw.watch(model, optimizer, loss=criterion) as w:
        loop(model, optimizer, criterion, steps=30)
    again = w.replay()
    assert again.culprit is not None
    assert again.culprit.name == "log"
    assert again.culprit.line is not None
    assert again.culprit.line.split(":")[0].endswith("test_attach.py")


def test_readings_are_a_table():
    model, criterion = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with tw.watch(model, optimizer, loss=criterion) as w:
        loop(model, optimizer, criterion)
    assert {"step", "layer", "reading", "value"} <= set(w.readings.columns)
    assert w.readings.filter(w.readings["reading"] == "weight_norm").height > 0


def test_wrong_use_is_answered_with_what_to_do():
    model = net()
    with pytest.raises(TrainwrightError, match="no parameters"):
        tw.watch(nn.ReLU(), None)
    with pytest.raises(TrainwrightError, match="none of the model's parameters"):
        tw.watch(model, torch.optim.SGD(net().parameters(), 0.1))
    with pytest.raises(TrainwrightError, match="not a scalar"):
        tw.check(model, data(), loss=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(TrainwrightError, match="budget"):
        tw.watch(model, torch.optim.SGD(model.parameters(), 0.1), budget=2.0)


def test_check_finds_the_fault_before_the_first_step():
    model = net(head=True)
    found = tw.check(model, data(), loss=nn.CrossEntropyLoss(),
                     optimizer=torch.optim.Adam(model.parameters()))  # fmt: skip
    assert codes(found) == ["L301"]
    assert found.steps == 0


def test_a_run_of_ours_is_diagnosed_from_its_record(tmp_path):
    url = str(tmp_path / "runs.db")
    run = tw.fit("sklearn:wine", store=url, name="mine", budget="60 steps", quiet=True,
                 algorithm={"optimizer": "sgd", "learning_rate": 50.0})  # fmt: skip
    assert run.record.layers
    assert "A401" in codes(tw.diagnose("mine", store=url))
    page = run.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "A401" in page
    assert tw.fit("sklearn:wine", budget="20 steps", quiet=True, watch=False).record.facts is None


@pytest.mark.parametrize("module", [False, True], ids=["function", "module"])
def test_a_language_model_that_flattens_for_its_loss_is_judged_position_by_position(module):
    torch.manual_seed(0)
    criterion = nn.CrossEntropyLoss()

    class Bigram(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(12, 12)

        def forward(self, tokens):
            return self.table(tokens).view(-1, 12)

    model, text = Bigram(), torch.randint(12, (400,)).cumsum(0) % 12
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with tw.watch(model, optimizer, loss=criterion if module else None) as w:
        for _ in range(60):
            at = torch.randint(390, (16,))
            x, y = (torch.stack([text[i + k : i + k + 8] for i in at]) for k in (0, 1))
            optimizer.zero_grad()
            outputs = model(x)
            loss = criterion if module else F.cross_entropy
            loss(outputs, y.view(-1)).backward()
            optimizer.step()
    facts = w.facts()
    assert facts.targets is not None
    assert facts.targets.kind == "indices"
    assert facts.targets.task == "sequence"
    assert facts.loss is not None
    assert facts.loss.family == "cross_entropy"


@pytest.mark.parametrize(("rate", "code"), [(60.0, "A401"), (1e-6, "A402")])
def test_steps_taken_by_hand_are_judged_by_what_they_do(rate, code):
    model, criterion = net(), nn.CrossEntropyLoss()
    x, y = data()
    own = torch.Generator().manual_seed(2)
    with tw.watch(model, None, loss=criterion) as w:
        for _ in range(400):
            rows = torch.randint(0, len(x), (32,), generator=own)
            model.zero_grad()
            criterion(model(x[rows]), y[rows]).backward()
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-rate)
    assert codes(w.diagnose()) == [code]
    assert w.history.num_steps == 400


@pytest.mark.parametrize(
    ("optimizer", "loss", "match"),
    [(torch.optim.SGD, None, "as optimiser"), (None, "cross_entropy", "as loss")],
    ids=["a class", "a name"],
)
def test_what_is_no_optimiser_or_criterion_is_refused_in_a_sentence(optimizer, loss, match):
    with pytest.raises(TrainwrightError, match=match):
        tw.watch(net(), optimizer, loss=loss)


def test_numbers_in_a_column_of_their_own_are_not_compared_all_with_all():
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    targets = inputs @ torch.randn(8, 1)
    model = nn.Linear(8, 1)
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.05), nn.MSELoss()
    with tw.watch(model, optimizer, loss=criterion) as w:
        for step in range(40):
            rows = torch.arange(64) + 64 * (step % 4)
            optimizer.zero_grad()
            criterion(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    facts = w.facts().loss
    assert facts is not None
    assert facts.perfect == pytest.approx(0.0, abs=1e-9)
    assert facts.prior == pytest.approx(float(targets.var()), rel=0.2)
