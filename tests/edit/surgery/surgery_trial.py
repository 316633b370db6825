"""One operation on one network, looked at from all sides."""

import copy
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from surgery_patients import PATIENTS, Patient, built
from torch import nn

from trainwright.check.sample import first_tensor
from trainwright.edit.surgery.activation import (
    insert_nonlinearity,
    remove_head_activation,
    replace_activation,
    set_output_range,
)
from trainwright.edit.surgery.anatomy import Anatomy
from trainwright.edit.surgery.dropout import insert_dropout, set_dropout
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.initial import initialise, reset_weights
from trainwright.edit.surgery.norm import insert_norm, replace_norm
from trainwright.edit.surgery.observe import observe
from trainwright.edit.surgery.optimizer import prove_whole, rebuild_optimizer
from trainwright.edit.surgery.permanent import inserted
from trainwright.edit.surgery.record import Edited, fingerprint
from trainwright.edit.surgery.skip import insert_skip

Operation = Callable[[nn.Module, Anatomy, Patient], Edited]
OPERATIONS: Mapping[str, Operation] = {
    "insert_nonlinearity": lambda m, a, p: insert_nonlinearity(m, a, "gelu"),
    "replace_activation": lambda m, a, p: replace_activation(
        m, a, new="relu" if any(each.operation == "rnn_tanh" for each in a.layers) else "silu"
    ),
    "insert_norm batch": lambda m, a, p: insert_norm(m, a, "batch"),
    "insert_norm layer": lambda m, a, p: insert_norm(m, a, "layer"),
    "insert_norm group": lambda m, a, p: insert_norm(m, a, "group"),
    "insert_norm rms": lambda m, a, p: insert_norm(m, a, "rms"),
    "insert_norm instance": lambda m, a, p: insert_norm(m, a, "instance"),
    "insert_norm after": lambda m, a, p: insert_norm(m, a, "layer", "after"),
    "replace_norm": lambda m, a, p: replace_norm(m, "group"),
    "insert_skip": lambda m, a, p: insert_skip(m, a),
    "insert_dropout": lambda m, a, p: insert_dropout(m, a, 0.3),
    "set_dropout": lambda m, a, p: set_dropout(m, a, 0.6),
    "initialise he": lambda m, a, p: initialise(m, a, "he"),
    "initialise xavier": lambda m, a, p: initialise(m, a, "xavier"),
    "initialise orthogonal": lambda m, a, p: initialise(m, a, "orthogonal"),
    "initialise lecun": lambda m, a, p: initialise(m, a, "lecun"),
    "initialise lsuv": lambda m, a, p: initialise(m, a, "lsuv", batch=p.batches[0]),
    "remove_head_activation": lambda m, a, p: remove_head_activation(m, a),
    "set_output_range": lambda m, a, p: set_output_range(m, a, 0.0, 2.0),
    "reset_weights": lambda m, a, p: reset_weights(m, 7),
}
# What does not apply, and why it does not: read off the networks by hand.
NOT_FOR = {
    "insert_nonlinearity": {*PATIENTS} - {"Sequential", "bare parameters"},
    "insert_norm batch": {"LSTM and RNN", "ResNet"},
    "insert_norm layer": {"ResNet"},
    "insert_norm group": {"LSTM and RNN", "ResNet"},
    "insert_norm rms": {"ResNet"},
    "insert_norm instance": {*PATIENTS} - {"shape branch, dict", "U-Net"},
    "insert_norm after": {"functional in a loop", "shared ReLU", "LSTM and RNN", "ResNet"},
    "replace_norm": {*PATIENTS} - {"ResNet"},
    "insert_skip": {"TransformerEncoder", "GPT-2", "ResNet"},
    "insert_dropout": {"LSTM and RNN"},
    "set_dropout": {*PATIENTS}
    - {"Sequential", "functional in a loop", "LSTM and RNN", "TransformerEncoder", "GPT-2", "BERT"},
    "remove_head_activation": {*PATIENTS}
    - {"Sequential", "functional in a loop", "shared ReLU", "U-Net"},
}
APPLICABLE = [(name, operation) for operation in OPERATIONS for name in PATIENTS
              if name not in NOT_FOR.get(operation, ())]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The losses are those before and after five steps of Adam on one batch."""

    edited: Edited
    changed_outputs: bool
    gradients_reach: bool
    loss_before: float
    loss_after: float
    copy_equal: bool
    copy_independent: bool
    pickle_equal: bool
    keys_kept: bool
    undone: bool
    compiled: bool | None = None

    @property
    def wrong(self) -> list[str]:
        checks = {
            "outputs unchanged": self.changed_outputs,
            "no gradient": self.gradients_reach,
            "loss does not fall": self.loss_after < self.loss_before,
            "copy differs": self.copy_equal,
            "copy shares": self.copy_independent,
            "pickle differs": self.pickle_equal,
            "keys renamed": self.keys_kept,
            "not undone": self.undone,
            "does not compile": self.compiled in (None, True),
        }
        return [what for what, fine in checks.items() if not fine]


def outputs(model, batch, *, train: bool = False) -> torch.Tensor:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        found = first_tensor(call(model.train(train), batch))
    assert found is not None
    return found


def score(model, patient: Patient) -> float:
    """The loss as training sees it, the same dropout each time."""
    model = copy.deepcopy(model).train()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return float(patient.loss(call(model, patient.batches[0]), patient.targets))


def reached(model, patient: Patient) -> bool:
    """Every parameter that surgery put in, and that ran on some batch, gets a gradient."""
    model = copy.deepcopy(model).train()
    new, ran = inserted(model), set()
    for module in model.modules():
        own = {id(p) for p in module.parameters(recurse=False)}
        module.register_forward_pre_hook(lambda *_, own=own: ran.update(own & new))
    for batch in patient.batches:
        patient.loss(call(model, batch), patient.targets).backward()
    got = {id(p) for p in model.parameters() if p.grad is not None and p.grad.isfinite().all()}
    return ran <= got and bool(ran) == bool(new)


def train(model, patient: Patient, optimizer, steps: int = 5) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model.train()
        for _ in range(steps):
            optimizer.zero_grad()
            patient.loss(call(model, patient.batches[0]), patient.targets).backward()
            optimizer.step()


def pickled(model):
    held = io.BytesIO()
    torch.save(model, held)
    held.seek(0)
    return torch.load(held, weights_only=False)


def compiles(model, batch) -> bool:
    torch._dynamo.reset()
    try:
        with torch.no_grad():
            call(torch.compile(copy.deepcopy(model).eval(), backend="eager"), batch)
    except Exception:
        return False
    return True


def attempt(name: str, patient: Patient, operation: Operation, *, compile: bool = False) -> Outcome:
    """The operation on a fresh network, with everything that should hold of it.

    Raises TrainwrightError where it does not apply.
    """
    model = built(name).train()
    anatomy = observe(model, list(patient.batches))
    batch = patient.batches[0]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    was, keys = fingerprint(model), list(model.state_dict())
    old = [outputs(model, each, train=t) for each in patient.batches for t in (False, True)]
    model.load_state_dict(built(name).state_dict())  # batch norms counted
    model.train()
    assert fingerprint(model) == was
    edited = operation(model, anatomy, patient)
    anew = rebuild_optimizer(optimizer, model)
    prove_whole(model, (batch, patient.targets), patient.loss, anew)
    twin, read = copy.deepcopy(model), pickled(model)
    now = outputs(model, batch)
    new = [outputs(copy.deepcopy(model), each, train=t)
           for each in patient.batches for t in (False, True)]  # fmt: skip
    before = score(model, patient)
    train(model, patient, anew)
    outcome = Outcome(
        edited=edited, changed_outputs=not all(map(torch.equal, old, new)), gradients_reach=reached(model, patient),
        loss_before=before, loss_after=score(model, patient),
        copy_equal=torch.equal(now, outputs(twin, batch)),
        copy_independent=not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()},
        pickle_equal=torch.equal(now, outputs(read, batch)),
        keys_kept=set(keys) <= set(model.state_dict()),
        undone=False,
        compiled=not compiles(built(name), batch) or compiles(twin, batch) if compile else None,
    )  # fmt: skip
    edited.undo()
    return replace(outcome, undone=fingerprint(model) == was)
