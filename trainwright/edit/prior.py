"""What is known of an answer before its inputs are seen? How frequent each class is, or the mean of
the targets: put into the training loss, or into the first answers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trainwright.check.pairing.head import class_axis
from trainwright.check.sample import first_tensor
from trainwright.core.facts import Expects, TargetKind
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, nothing_to_change, refused
from trainwright.edit.loss import (
    LINES,
    SINGLE,
    OnLogits,
    paired_for,
    target_kind,
    with_loss,
    written_as,
)
from trainwright.edit.program import Done, Program, unchanged
from trainwright.edit.surgery.bias import start_bias as start_from
from trainwright.edit.surgical import operated

EVEN = 1e-3  # classes whose log priors differ by less are equally frequent [assumed]
UNSEEN = 0.5  # examples that a class without any counts as: it needs a logarithm [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The best answer that is the same for all inputs: `values` [class], [output]. `lines` are how
    a user would write them, the last one an expression."""

    values: tuple[float, ...]
    lines: tuple[str, ...]
    is_even: bool  # as good as none


def log_prior(program: Program, kind: TargetKind, name: str) -> Prior:
    """Logarithms of the classes' shares among the training targets; of zeros and ones the log odds
    of each output. Raises NotApplicable for targets that are neither."""
    targets, head = program.train.targets, program.facts.head
    assert isinstance(targets, Tensor), "targets of a known kind are a tensor"
    assert head is not None
    written = written_as(program, kind)
    if written in SINGLE:
        return _log_odds(targets, name)
    if written not in ("indices", "one_hot"):
        raise refused(name, phrase("the targets are no classes, and no zeros and ones"))
    if written == "one_hot":
        axis = class_axis(tuple(targets.shape), targets) or targets.ndim - 1
        counts = targets.movedim(axis, -1).reshape(-1, targets.shape[axis]).double().sum(0)
        line = "counts = y_train.sum(0)"
    else:
        flat = targets.reshape(-1).long()
        counts = torch.bincount(flat[flat >= 0], minlength=head.num_outputs).double()
        flattened = "" if targets.ndim == 1 else ".flatten()"
        line = f"counts = torch.bincount(y_train{flattened}, minlength={len(counts)})"
    if bool((counts < UNSEEN).any()):
        line += f".clamp(min={UNSEEN})"
    counts = counts.clamp(min=UNSEEN)
    found = (counts / counts.sum()).log()
    return Prior(values=tuple(found.tolist()), lines=(line, "(counts / counts.sum()).log()"),
                 is_even=float(found.max() - found.min()) < EVEN)  # fmt: skip


def _log_odds(targets: Tensor, name: str) -> Prior:
    """Of each output; a yes or no that never occurs counts as half an example."""
    flat = targets.reshape(len(targets), -1).double()
    if not bool(((flat == 0) | (flat == 1)).all()):
        raise refused(name, phrase("the labels are not 0 and 1 yet: try encode_labels"))
    found = torch.logit(flat.mean(0), eps=UNSEEN / len(flat))
    line = f"torch.logit(y_train.float().mean(0), eps={UNSEEN} / len(y_train))"
    return Prior(values=tuple(found.tolist()), lines=(line,),
                 is_even=bool((found.abs() < EVEN).all()))  # fmt: skip


def _mean(program: Program, name: str) -> Prior:
    """Of each output's targets, of those that are numbers."""
    targets, head = program.train.targets, program.facts.head
    assert isinstance(targets, Tensor), "targets of a known kind are a tensor"
    assert head is not None
    flat = targets.reshape(len(targets), -1).double()
    if flat.shape[1] != head.num_outputs:
        raise refused(name, phrase("outputs and targets are not equally many"))
    found = torch.where(torch.isfinite(flat), flat, torch.nan).nanmean(0).nan_to_num()
    return Prior(values=tuple(found.tolist()), lines=("y_train.float().mean(0)",),
                 is_even=bool((found.abs() < EVEN).all()))  # fmt: skip


def _outputs(program: Program) -> tuple[Tensor, int]:
    """What a fresh network gives for some rows, and the axis of its classes or outputs."""
    few, (model, _) = program.few(), program.start(0)
    with torch.no_grad():
        outputs = first_tensor(few.call(model.eval()))
    assert outputs is not None, "the network returned no tensor"
    axis = class_axis(tuple(outputs.shape), few.targets)
    return outputs, outputs.ndim - 1 if axis is None else axis


def _unweighed(program: Program, name: str) -> None:
    """Raises NotApplicable where batches do not have the classes' own frequencies."""
    if program.habits.balanced:
        raise refused(name, phrase("batches hold all classes equally often already"))


def adjust_logits(program: Program, context: Context) -> Program:
    """Raw outputs, and the fitting loss of outputs + log prior: what the network learns then is
    what tells classes apart beside their frequency, and it answers by that alone, so that the rare
    are not overruled. Source: Menon et al. 2021, arXiv:2007.07314, equation 10, tau = 1."""
    name = "adjust_logits"
    paired, loss = paired_for(program, context, name)
    if loss.prior is not None:
        raise nothing_to_change(name)
    _unweighed(program, name)
    prior = log_prior(program, loss.kind, name)
    if prior.is_even:
        raise nothing_to_change(name)
    outputs, axis = _outputs(paired)
    after = max(0, outputs.ndim - 1 - axis)
    shape = f".reshape({', '.join(['-1', *['1'] * after])})" if after else ""
    *before, value = prior.lines
    lines = (
        LINES[written_as(program, loss.kind)], *before, f"log_prior = {value}",
        f"loss = criterion(outputs + log_prior{shape}, y)  # answers are the outputs alone",
    )  # fmt: skip
    return with_loss(program, paired, loss.but(prior=prior.values), Done(name=name, lines=lines))


def start_bias(program: Program, context: Context) -> Program:
    """The last layer's bias starts at the log priors of the classes (log odds of each yes or no),
    or at the mean of targets that are numbers: the first steps need not teach that the rare is
    rare. Source: Lin et al. 2017, arXiv:1708.02002, section 4.1."""
    name = "start_bias"
    if any(done.name == name for done in program.done):
        raise nothing_to_change(name)
    _unweighed(program, name)
    if isinstance(program.loss, OnLogits) and program.loss.prior is not None:
        raise refused(name, phrase("the loss corrects for how frequent classes are"))
    prior, wanted = _first_answer(program, name)
    if prior.is_even:
        raise nothing_to_change(name)
    _, axis = _outputs(program)
    operation = partial(start_from, values=prior.values, wanted=wanted, written=prior.lines,
                        axis=axis)  # fmt: skip
    return operated(program, name, operation, fed=True)


def _first_answer(program: Program, name: str) -> tuple[Prior, Callable[[Tensor], Tensor]]:
    """The bias, and what the network is to make of it, by what the loss expects."""
    known, head = program.facts.targets, program.facts.head
    if known is None or head is None or not isinstance(program.train.targets, Tensor):
        raise refused(name, phrase("what the targets are could not be found out"))
    kind = target_kind(program, known)
    single = written_as(program, kind) in SINGLE
    match _expected(program):
        case "values":
            return _mean(program, name), unchanged
        case "logits":
            return log_prior(program, kind, name), unchanged
        case "probabilities":
            link = torch.sigmoid if single else partial(torch.softmax, dim=0)
            return log_prior(program, kind, name), link
        case "log_probabilities":
            return log_prior(program, kind, name), partial(torch.log_softmax, dim=0)
    raise refused(name, phrase("what the loss expects of the outputs is neither logits nor values"))


def _expected(program: Program) -> Expects | None:
    """What the loss takes by now."""
    if isinstance(program.loss, OnLogits):
        ends: dict[TargetKind, Expects] = {"real": "values", "plus_minus_one": "margins"}
        return ends.get(program.loss.kind, "logits")
    return program.facts.loss.expects if program.facts.loss is not None else None


def edits() -> tuple[Edit, ...]:
    """Those of this file that change the loss; reasons are spoken when they are asked for."""
    weights = phrase("recipes have no knob for it: set loss.class_weights = 'balanced'")
    return (Edit(name="adjust_logits", program=adjust_logits, instead=weights),)
