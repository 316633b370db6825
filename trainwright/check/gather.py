"""What can be known of a training program before its first step? All probes in order, each on a
copy of the model; what fails is named, and everything is left as it was found."""

import copy
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.check.data import input_facts, target_facts
from trainwright.check.network.graph import (
    Pass,
    model_facts,
    rows_of_a_pass,
    run_once,
    seconds_a_row,
)
from trainwright.check.optimizer import optimizer_facts
from trainwright.check.pairing.answers import target_kind
from trainwright.check.pairing.codes import (
    Codes,
    recoded,
    suspected,
    wants_zero_one,
    with_codes,
)
from trainwright.check.pairing.criterion import loss_facts
from trainwright.check.pairing.head import head_facts
from trainwright.check.reference import contradiction_facts, reference_facts
from trainwright.check.sample import Criterion, Sample, sample_from
from trainwright.check.score import final_score
from trainwright.check.subject import Subject, same_random_states, sample_device, unwrapped
from trainwright.core.errors import TrainwrightError
from trainwright.core.facts import Facts, HeadFacts, LossFacts, ModelFacts, TaskKind
from trainwright.core.phrases import phrase

__all__ = ["final_score", "gather", "gather_model", "gather_pairing"]
MOST_OUTPUTS = 60_000  # numbers of the outputs that a criterion is probed with
MOST_PROBED = 256  # rows of the same
Found = TypeVar("Found")


@dataclass(slots=True)
class _Tries:
    """Runs probes; keeps why one failed instead of raising."""

    unseen: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, probe: Callable[[], Found]) -> Found | None:
        try:
            return probe()
        except TrainwrightError:
            raise
        except Exception as error:  # users' modules and criteria may raise anything
            self.unseen[name] = f"{type(error).__name__}: {error}"
            return None


def gather(
    model: nn.Module, data: Any, *, loss: Criterion, optimizer: Optimizer | Sequence[Optimizer]
    | None = None, task: TaskKind | None = None, valid: Any = None, batch_size: int | None = None,
    seconds: float = 1.0, reference: bool = True, weights: Mapping[str, Tensor] | None = None,
) -> Facts:  # fmt: skip
    """Facts of a program. `data` is (X, y), a DataLoader or a list of batches; so is `valid`.
    Without `reference` quick learners are not asked what can be had, only for labels that
    contradict them. `weights` (by name) take the place of the model's own while it is probed.

    `seconds` is a soft limit: with big models fewer draws and learners are tried, and `unseen` says
    so. Training afterwards is bit-equal to training without it.
    Raises TrainwrightError for a model without parameters, data of no known form or on another
    device, and a loss that is not a scalar.
    """
    with warnings.catch_warnings(record=True) as heard, same_random_states():
        warnings.simplefilter("always")
        user = unwrapped(model)
        loss = _own_copy(loss)
        device = sample_device(user)
        sample = sample_from(data, device=device, batch_size=batch_size)
        held = sample_from(valid, device=device) if valid is not None else None
        facts = _gathered(user, sample, held, loss, optimizer, task, seconds, reference, weights)
    return replace(facts, warnings=_told(heard))


def _told(heard: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """First lines, each once; those that differ in numbers alone come from a doubled batch."""
    lines = [str(w.message).strip().split("\n")[0] for w in heard]
    return tuple({re.sub(r"\d+", "#", line): line for line in reversed(lines)}.values())[::-1]


def _own_copy(loss: Criterion) -> Criterion:
    """A criterion that may count its calls or keep running values is probed as a copy; a plain
    function is what it is."""
    if isinstance(loss, FunctionType):
        return loss
    try:
        return copy.deepcopy(loss)
    except Exception:  # users' objects may refuse
        return loss


def _gathered(
    user: nn.Module, sample: Sample, held: Sample | None, loss: Criterion,
    optimizer: Optimizer | Sequence[Optimizer] | None, task: TaskKind | None, seconds: float,
    reference: bool, weights: Mapping[str, Tensor] | None,
) -> Facts:  # fmt: skip
    tries = _Tries()
    subject = Subject(user, weights)
    try:
        done, head, judged = _outputs_and_loss(tries, subject, sample, loss, seconds)
        if judged is not None and not judged.scalar:
            raise TrainwrightError(
                phrase("the loss is not a scalar"),
                allowed=phrase("one number for a batch"),
                do=phrase("take its mean, or pass a criterion with reduction='mean'"),
            )
        network = None
        if done is not None:
            network = tries.run("model", lambda: _network(tries, user, subject, sample, done, head,
                                                          loss))  # fmt: skip
    finally:
        subject.close()
    shape = tuple(done.outputs.shape) if done is not None else None
    kind = None  # class numbers that a loss takes for numbers are numbers
    if judged is not None and judged.target_kind == "real" and head and head.num_outputs == 1:
        whole = isinstance(sample.targets, Tensor) and target_kind(sample.targets, shape)
        kind = "real" if whole == "indices" else None
    targets = tries.run("targets", lambda: target_facts(sample, held, outputs=shape, task=task,
                                                        kind=kind))  # fmt: skip
    meant = tries.run("loss", lambda: _meant(done, sample, loss, head, judged))
    if meant is not None and targets is not None and judged is not None:
        codes, expects, given = meant.codes, meant.loss.expects, targets
        judged = replace(judged, expects=expects)
        sample, held = recoded(sample, codes), None if held is None else recoded(held, codes)
        targets = tries.run("targets", lambda: with_codes(
            target_facts(sample, held, outputs=shape, kind="zero_one"), given, codes))  # fmt: skip
    score = None
    if targets is not None:
        known = targets if meant is None else replace(targets, kind="zero_one")
        score = tries.run("score", lambda: reference_facts(sample, held, known,
                                                           seconds=0.4 * seconds)
                          if reference else contradiction_facts(sample, known))  # fmt: skip
    return Facts(
        inputs=tries.run("inputs", lambda: input_facts(sample, held)), targets=targets, head=head,
        loss=judged, model=network,
        optimizer=tries.run("optimizer", lambda: optimizer_facts(user, optimizer))
        if optimizer is not None else None,
        score=score, batch_size=sample.batch_size,
        steps_per_epoch=math.ceil(sample.num_examples / max(1, sample.batch_size)),
        unseen=dict(tries.unseen),
    )  # fmt: skip


def _outputs_and_loss(
    tries: _Tries, subject: Subject, sample: Sample, loss: Criterion | None, seconds: float
) -> tuple[Pass | None, HeadFacts | None, LossFacts | None]:
    """One traced pass, then head and criterion by it."""
    each = tries.run("forward", lambda: seconds_a_row(subject, sample))
    if each is None:
        return None, None, None
    rows = sample.rows(rows_of_a_pass(sample, each, 0.1 * seconds))
    done = tries.run("forward", lambda: run_once(subject, rows, loss))
    if done is None:
        return None, None, None
    found = tries.run("head", lambda: head_facts(subject, sample, seconds=0.25 * seconds,
                                                 outputs=done.outputs.detach(),
                                                 row_seconds=each))  # fmt: skip
    subject.restore()
    head = None
    if found is not None:
        head = found[0]
        tries.unseen.update(found[1])
    judged = None
    if loss is not None:
        judged = tries.run("loss", lambda: _judged(done, rows, sample, loss, head))
    return done, head, judged


def _judged(
    done: Pass, rows: Sample, sample: Sample, loss: Criterion, head: HeadFacts | None
) -> LossFacts:
    """The criterion, on so many rows that its prior means something and probing stays quick."""
    raw, first, targets = done.raw, done.outputs, rows.targets
    if raw is not first or not isinstance(targets, Tensor) or first.ndim == 0:
        return loss_facts(loss, raw, first, targets, head)
    most = max(8, min(MOST_PROBED, MOST_OUTPUTS // max(1, first[0].numel())))
    if len(first) > most and len(first) == len(targets):
        raw = first = first[:most].detach()
        targets = targets[:most]
    more = sample.rows(most).targets
    matches = isinstance(more, Tensor) and len(targets) == len(first) < len(more)
    return loss_facts(loss, raw, first, targets, head, more=more if matches else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meant:
    """Two numbers that stand for 0 and 1, and the criterion asked with those."""

    codes: Codes
    loss: LossFacts


def _meant(
    done: Pass | None, sample: Sample, loss: Criterion, head: HeadFacts | None,
    judged: LossFacts | None,
) -> _Meant | None:  # fmt: skip
    """None where targets are what the criterion means by them, as nearly always."""
    codes = suspected(sample, head, judged)
    if codes is None or done is None:
        return None
    other = recoded(sample, codes)
    again = _judged(done, other.rows(len(done.outputs)), other, loss, head)
    return _Meant(codes=codes, loss=again) if wants_zero_one(again) else None


def _network(
    tries: _Tries, user: nn.Module, subject: Subject, sample: Sample, done: Pass,
    head: HeadFacts | None, loss: Criterion | None,
) -> ModelFacts:  # fmt: skip
    rows = sample.rows(min(64, len(done.outputs) if done.outputs.ndim else 8))
    facts, unseen = model_facts(user, subject, rows, done, head=head.kind if head else None,
                                criterion=loss)  # fmt: skip
    tries.unseen.update(unseen)
    return facts


def gather_model(
    model: nn.Module, sample: Sample, *, loss: Criterion | None = None, seconds: float = 0.5
) -> Facts:
    """Facts of network, head and criterion alone, from kept batches and, e.g., a copy of a model
    with its initial weights. Never raises for what a probe meets: see `unseen`."""
    tries = _Tries()
    with warnings.catch_warnings(record=True) as heard, same_random_states():
        warnings.simplefilter("always")
        user = unwrapped(model)
        subject = Subject(user)
        try:
            done, head, judged = _outputs_and_loss(tries, subject, sample, loss, seconds)
            network = None
            if done is not None:
                network = tries.run("model", lambda: _network(tries, user, subject, sample, done,
                                                              head, loss))  # fmt: skip
        finally:
            subject.restore()
    return Facts(
        head=head, loss=judged, model=network, unseen=dict(tries.unseen),
        warnings=_told(heard),
    )  # fmt: skip


def gather_pairing(
    raw: Any, outputs: Tensor, targets: Any, *, loss: Criterion, head: HeadFacts | None = None
) -> LossFacts:
    """Facts of a criterion on outputs that were kept: `raw` as the model returned them."""
    with warnings.catch_warnings(), same_random_states(), torch.no_grad():
        warnings.simplefilter("ignore")
        return loss_facts(loss, raw, outputs, targets, head)
