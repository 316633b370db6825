"""How good are the trained model's answers? Scores like those of the quick learners, and the
criterion in eval mode on rows that it learned from."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.check.pairing.head import class_axis
from trainwright.check.reference import reference_facts
from trainwright.check.sample import Sample, first_tensor, sample_from
from trainwright.check.subject import Subject, same_random_states, sample_device, unwrapped
from trainwright.core.facts import Facts, ScoreFacts

MOST_BATCHES = 64  # on which the criterion is asked


def final_score(
    model: nn.Module, data: Any, valid: Any, facts: Facts, *, loss: Callable[..., Any] | None = None
) -> ScoreFacts:  # fmt: skip
    """Scores of the trained model in eval mode, beside what `facts.score` knows already.

    Accuracy by the largest output; with one output by the threshold that head and criterion imply;
    all bits right for several labels; R2 (floored at -99) for numbers. Nothing of the model or of
    the random states changes.
    """
    assert facts.targets is not None
    model = unwrapped(model)
    device = sample_device(model)
    with same_random_states():
        subject = Subject(model)
        try:
            module = subject.restore().eval()
            train = sample_from(data, device=device, batch_size=facts.batch_size)
            held = sample_from(valid, device=device) if valid is not None else None
            known = facts.score or reference_facts(train, held, facts.targets)
            own, recalls = model_score(module, train, facts)
            own_loss = None if loss is None else eval_loss(module, train, loss)
            other = None
            if held is not None:
                other, recalls = model_score(module, held, facts)
        finally:
            subject.restore()
    return replace(
        known, train=own, valid=other, recalls=recalls, num_train=train.num_rows,
        num_valid=held.num_rows if held is not None else 0, train_loss=own_loss,
    )  # fmt: skip


@torch.no_grad()
def model_score(
    module: nn.Module, sample: Sample, facts: Facts
) -> tuple[float | None, tuple[float, ...]]:  # fmt: skip
    """(accuracy or R2, recalls by class) of a module as it is."""
    assert facts.targets is not None
    parts = []
    for rows in np.array_split(np.arange(sample.num_rows), max(1, sample.num_rows // 256)):
        parts.append(first_tensor(sample.pick(rows).run(module)))
    outputs = torch.nan_to_num(torch.cat([p for p in parts if p is not None]).double().cpu(),
                               posinf=0.0, neginf=0.0)  # fmt: skip
    targets = sample.targets.detach().cpu()
    task, kind, codes = facts.targets.task, facts.targets.kind, facts.targets.codes
    if task == "regression":
        if outputs.numel() != targets.numel():
            return None, ()
        goal = targets.double()
        error = float(((outputs.reshape(goal.shape) - goal) ** 2).mean())
        return max(-99.0, 1 - error / (float(goal.var(unbiased=False)) + 1e-12)), ()
    one_each = outputs.numel() == targets.numel()
    if task == "multilabel" or ((kind in ("zero_one", "plus_minus_one") or codes) and one_each):
        said = (outputs > threshold(facts)).reshape(len(outputs), -1)
        yes = targets > (0.5 if codes is None else sum(codes) / 2)
        right = said == yes.reshape(len(targets), -1)
        score = float(right.all(1).double().mean())
        if task == "multilabel":
            return score, ()
        return score, _recalls(said[:, 0].long(), yes.reshape(-1).long(), 2)
    axis = class_axis(tuple(outputs.shape), targets)
    if axis is None:
        return None, ()
    said = outputs.argmax(axis)
    real = targets.argmax(axis) if kind == "one_hot" else targets.reshape(said.shape)
    known = real >= 0
    return float((said == real)[known].double().mean()), _recalls(
        said[known], real[known].long(), min(facts.targets.num_classes, 1000))  # fmt: skip


@torch.no_grad()
def eval_loss(module: nn.Module, sample: Sample, loss: Callable[..., Any]) -> float | None:
    """Mean of the criterion over at most MOST_BATCHES batches, as the module is; None where it
    cannot be had."""
    size, total = max(1, min(sample.batch_size, sample.num_rows)), []
    for start in range(0, min(sample.num_rows, MOST_BATCHES * size) - size + 1, size):
        rows = sample.pick(np.arange(start, start + size))
        try:
            total.append(float(loss(rows.run(module), rows.targets)))
        except Exception:  # a criterion of other arguments, or of training only
            return None
    return float(np.mean(total)) if total else None


def threshold(facts: Facts) -> float:
    """Where one output changes sides: 0 for logits and margins, 1/2 for probabilities."""
    head, loss, targets = facts.head, facts.loss, facts.targets
    if head is not None and head.kind in ("sigmoid", "softmax", "constant"):
        return 0.5
    if targets is not None and targets.kind == "plus_minus_one":
        return 0.0
    if loss is not None and loss.expects in ("logits", "margins"):
        return 0.0
    return 0.5


def _recalls(said: Tensor, real: Tensor, num_classes: int) -> tuple[float, ...]:
    """Share of each class that was recognised; NaN for classes that do not occur."""
    found = []
    for number in range(num_classes):
        of_class = real == number
        found.append(float((said[of_class] == number).double().mean()) if bool(of_class.any())
                     else float("nan"))  # fmt: skip
    return tuple(found)
