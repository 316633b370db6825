"""An edit is undone to the bit whatever happened since, and never leaks out of the forward."""

import copy
import gc
import subprocess
import sys
import threading
import weakref

import pytest
import torch
from surgery_patients import PATIENTS, ROWS, built
from surgery_trial import outputs, pickled, train
from torch import nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack

from trainwright import watch
from trainwright.core.errors import TrainwrightError
from trainwright.edit.surgery.activation import remove_head_activation, replace_activation
from trainwright.edit.surgery.dropout import set_dropout
from trainwright.edit.surgery.initial import initialise
from trainwright.edit.surgery.norm import insert_norm, replace_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.record import copied, fingerprint
from trainwright.edit.surgery.skip import insert_skip


def opened(name):
    model = built(name)
    return model, observe(model, list(PATIENTS[name].batches))


def test_undo_takes_back_what_was_trained_frozen_and_switched_since():
    model = built("ResNet")
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    model.body[0].eval()
    was, held = fingerprint(model), model.fc.weight
    edited = replace_norm(model, "group")
    train(model, PATIENTS["ResNet"], torch.optim.SGD(model.parameters(), 0.1))
    model.eval().requires_grad_(False)
    model.fc.weight = nn.Parameter(torch.zeros(3, 16))
    edited.undo()
    assert fingerprint(model) == was
    assert model.fc.weight is held
    edited.undo()  # a second time does nothing
    assert fingerprint(model) == was


def test_undo_restores_the_values_of_a_model_that_was_converted():
    model, anatomy = opened("Sequential")
    was = fingerprint(model)
    edited = insert_norm(model, anatomy)
    model.to(torch.float64)
    edited.undo()
    assert fingerprint(model) == was


def test_edits_are_undone_from_the_last_to_the_first():
    model, anatomy = opened("Sequential")
    was = fingerprint(model)
    first = initialise(model, anatomy, "he")
    second = insert_norm(model, anatomy)
    with pytest.raises(TrainwrightError, match="edited again since"):
        first.undo()
    second.undo()
    first.undo()
    assert fingerprint(model) == was


def test_an_operation_that_fails_half_way_leaves_nothing():
    model, anatomy = opened("shape branch, dict")
    was = fingerprint(model)
    with pytest.raises(TrainwrightError, match="one number per channel"):
        insert_norm(model, anatomy, "instance", layers=["conv", "flat"])
    assert fingerprint(model) == was


def test_edits_of_one_model_pile_up_in_the_order_in_which_they_were_made():
    model, anatomy = opened("functional in a loop")
    plain = built("functional in a loop")
    replace_activation(model, anatomy, "relu", "gelu")
    replace_activation(model, observe(model, [ROWS]), "gelu", "tanh")
    x = ROWS
    for layer in plain.layers:
        x = torch.tanh(layer(x))
    assert torch.equal(outputs(model, ROWS), F.log_softmax(plain.out(x), 1))


class Raises(nn.Module):
    """Fails, or calls itself, on demand."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.error = None
        self.again = False

    def forward(self, x):
        x = F.relu(self.fc(x))
        if self.again:
            self.again = False
            return self(x)
        if self.error is not None:
            raise self.error
        return self.fc(x)


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_no_mode_is_left_behind_when_the_forward_is_broken_off(error):
    model = Raises()
    replace_activation(model, observe(model, [ROWS]), new="tanh")
    model.error = error
    with pytest.raises(type(error)):
        model(ROWS)
    assert _get_current_function_mode_stack() == []
    assert torch.equal(F.relu(ROWS), ROWS.clamp(min=0))


def test_a_model_that_calls_itself_is_changed_once():
    model = Raises()
    edited = replace_activation(model, observe(model, [ROWS]), new="tanh")
    model.again = True
    expected = model.fc(torch.tanh(model.fc(torch.tanh(model.fc(ROWS)))))
    assert torch.equal(model(ROWS), expected)
    edited.undo()
    assert torch.equal(model(ROWS), model.fc(F.relu(model.fc(ROWS))))


def test_threads_each_have_their_own_forward():
    model = Raises()
    replace_activation(model, observe(model, [ROWS]), new="tanh")
    expected, found = model.fc(torch.tanh(model.fc(ROWS))), []

    def run():
        found.extend(torch.equal(model(ROWS), expected) for _ in range(20))
        found.append(torch.equal(F.relu(ROWS), ROWS.clamp(min=0)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 84
    assert all(found)


def test_a_copy_keeps_its_edit_when_the_original_is_undone():
    model, anatomy = opened("functional in a loop")
    edited = replace_activation(model, anatomy, new="tanh")
    now, twin = outputs(model, ROWS), copy.deepcopy(model)
    edited.undo()
    assert torch.equal(outputs(twin, ROWS), now)
    assert not torch.equal(outputs(model, ROWS), now)
    with torch.no_grad():
        twin.layers[0].weight.zero_()
    assert bool(model.layers[0].weight.any())


def test_hooks_of_a_model_read_in_a_new_process_are_not_overwritten(tmp_path):
    """torch counts the handles of hooks anew in each process."""
    model, anatomy = opened("Sequential")
    insert_norm(model, anatomy)
    torch.save(model, tmp_path / "edited.pt")
    script = (
        f"import sys, torch; sys.path[:0] = {sys.path!r}\n"
        f"model = torch.load({str(tmp_path / 'edited.pt')!r}, weights_only=False)\n"
        "[model[0].register_forward_hook(lambda *a: None) for _ in range(200)]\n"
        "print(sum(type(h).__name__ == 'Then' for h in model[0]._forward_hooks.values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_a_model_that_the_user_lets_go_of_is_freed():
    model, anatomy = opened("functional in a loop")
    replace_activation(model, anatomy, new="tanh")
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_an_edited_model_is_watched_and_its_hooks_are_counted_as_before():
    model, patient = built("functional in a loop"), PATIENTS["functional in a loop"]
    insert_norm(model, observe(model, [ROWS]))
    replace_activation(model, observe(model, [ROWS]), new="tanh")
    optimizer = torch.optim.Adam(model.parameters())
    counts = [len(m._forward_hooks) for m in model.modules()]
    with watch(model, optimizer, loss=patient.loss) as watched:
        for _ in range(4):
            optimizer.zero_grad()
            patient.loss(model(ROWS), patient.targets).backward()
            optimizer.step()
    assert [len(m._forward_hooks) for m in model.modules()] == counts
    assert {"layers.0", "layers.0.norm"} <= set(watched.readings["layer"])


@pytest.mark.parametrize(
    "wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel, lambda m: "a model"]
)
def test_what_is_compiled_or_wrapped_or_no_module_is_refused(wrap):
    with pytest.raises(TrainwrightError):
        observe(wrap(built("Sequential")), [ROWS])


class Locked(nn.Module):
    """Holds what cannot be copied."""

    def __init__(self):
        super().__init__()
        self.fc, self.out, self.lock = nn.Linear(8, 8), nn.Linear(8, 2), threading.Lock()

    def forward(self, x):
        with self.lock:
            return self.out(self.fc(x).relu())


def test_a_model_that_cannot_be_copied_is_operated_on_and_says_so():
    model = Locked()
    was = fingerprint(model)
    anatomy = observe(model, [ROWS])
    assert anatomy.cannot_copy
    assert fingerprint(model) == was
    edited = insert_skip(model, anatomy)
    edited.undo()
    assert fingerprint(model) == was
    with pytest.raises(TrainwrightError, match="cannot be deep-copied"):
        copied(model)


def test_a_copy_that_can_be_made_is_made():
    model, anatomy = opened("functional in a loop")
    set_dropout(model, anatomy, 0.0)
    assert torch.equal(outputs(copied(model), ROWS, train=True), outputs(model, ROWS, train=True))


def test_a_pickled_model_goes_on_in_another_folder_with_its_head_left_alone():
    """Where a call stands is noted without the folder."""
    model, anatomy = opened("functional in a loop")
    remove_head_activation(model, anatomy)
    read = pickled(model)
    only = read.forward.rule.only[0]
    assert "/" not in only.site
    assert torch.equal(outputs(read, ROWS), outputs(model, ROWS))
