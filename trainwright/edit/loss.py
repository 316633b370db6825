"""Which edits change the loss? The pair of head and criterion that fits the targets, signs, shapes
and reductions; answers stay on the scale of the user's targets."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainwright.check.pairing.head import class_axis
from trainwright.check.sample import first_tensor
from trainwright.check.score import threshold
from trainwright.core.facts import TargetKind
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, knob, nothing_to_change, refused
from trainwright.edit.program import Decode, Done, Program
from trainwright.edit.surgical import bare_head


class OnLogits(nn.Module):
    """The criterion that fits targets of a kind, on raw outputs of any shape that holds them.

    indices and one_hot: cross-entropy over classes; zero_one and multi_hot: binary cross-entropy of
    each output; plus_minus_one: log(1 + exp(-y z)); real: squared error, mean over all.
    """

    def __init__(self, kind: TargetKind) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, outputs: Any, targets: Tensor) -> Tensor:
        """Scalar."""
        logits = first_tensor(outputs)
        assert logits is not None, "the network returned no tensor"
        match self.kind:
            case "indices" | "one_hot":
                return _over_classes(logits, targets)
            case "zero_one" | "multi_hot" if logits.numel() != targets.numel():
                return _over_classes(logits, targets.reshape(len(targets)).long())
            case "zero_one" | "multi_hot":
                aligned = targets.reshape(logits.shape).to(logits.dtype)
                return F.binary_cross_entropy_with_logits(logits, aligned)
            case "plus_minus_one":
                return F.soft_margin_loss(logits, targets.reshape(logits.shape).to(logits.dtype))
        return F.mse_loss(logits, targets.reshape(logits.shape).to(logits.dtype))


def _over_classes(logits: Tensor, targets: Tensor) -> Tensor:
    axis = class_axis(tuple(logits.shape), targets)
    if axis is None:
        axis = logits.ndim - 1
    if targets.shape == logits.shape and targets.is_floating_point():
        return -(targets * logits.log_softmax(axis)).sum(axis).mean()
    flat = logits.movedim(axis, -1)
    return F.cross_entropy(flat.reshape(-1, flat.shape[-1]), targets.reshape(-1).long())


class _Linked:
    """Raw outputs as the probabilities that the user's targets are, then what decoded before."""

    def __init__(self, before: Decode) -> None:
        self.before = before

    def __call__(self, outputs: Tensor) -> Tensor:
        return self.before(outputs.sigmoid())


LINES: dict[TargetKind, str] = {
    "indices": "criterion = nn.CrossEntropyLoss()  # the network ends without softmax",
    "one_hot": "criterion = nn.CrossEntropyLoss()  # the network ends without softmax",
    "zero_one": "criterion = nn.BCEWithLogitsLoss()  # the network ends without sigmoid",
    "multi_hot": "criterion = nn.BCEWithLogitsLoss()  # the network ends without sigmoid",
    "plus_minus_one": "criterion = nn.SoftMarginLoss()  # the network ends without activation",
    "real": "criterion = nn.MSELoss()  # the network ends without activation",
}


def fitting_pair(
    program: Program, context: Context, *, name: str = "pair_head_and_loss"
) -> Program:
    """Raw outputs, and the criterion that fits the targets."""
    known, head = program.facts.targets, program.facts.head
    if known is None or head is None:
        raise refused(name, phrase("what the targets are could not be found out"))
    if isinstance(program.loss, OnLogits):
        raise nothing_to_change(name)
    _fits(known.kind, head.num_outputs, known.num_classes, name)
    single = known.kind in ("zero_one", "multi_hot")
    squashed = single and threshold(program.facts) == 0.5 and _one_each(program)
    decode = _Linked(program.decode) if squashed else program.decode
    bare = bare_head(program)
    return bare.after(Done(name=name, lines=(LINES[known.kind],)), loss=OnLogits(known.kind),
                      decode=decode)  # fmt: skip


def _one_each(program: Program) -> bool:
    """Is there one output for each target? (else two classes stand side by side)"""
    head, targets = program.facts.head, program.train.targets
    return head is not None and isinstance(targets, Tensor) and (
        head.num_outputs == max(1, targets[0].numel())
    )  # fmt: skip


def _fits(kind: TargetKind, outputs: int, classes: int, name: str) -> None:
    if kind in ("indices", "one_hot") and outputs < classes:
        raise refused(name, phrase("{outputs} outputs cannot tell {classes} classes apart",
                                   outputs=outputs, classes=classes))  # fmt: skip


def _linear_head(program: Program, context: Context) -> Program:
    bare = bare_head(program)
    if bare is program:
        raise nothing_to_change("linear_head")
    return bare


def _swap_loss(program: Program, context: Context) -> Program:
    return fitting_pair(program, context, name="swap_loss")


def _stable_loss(program: Program, context: Context) -> Program:
    return fitting_pair(program, context, name="stable_loss")


def _surrogate_loss(program: Program, context: Context) -> Program:
    if program.facts.model is not None and program.facts.model.gradient_missing and not (
        program.facts.loss is not None and not program.facts.loss.differentiable
    ):  # fmt: skip
        raise refused("surrogate_loss", phrase("the graph is cut within the network"))
    return fitting_pair(program, context, name="surrogate_loss")


class Mean(nn.Module):
    """A criterion that sums, as a mean over the batch's rows."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        """Scalar."""
        first = first_tensor(outputs)
        rows = len(first) if first is not None and first.ndim else 1
        return self.criterion(outputs, targets) / rows


class Aligned(nn.Module):
    """A criterion that is given targets in the shape of the outputs."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar."""
        return self.criterion(outputs, targets.reshape(outputs.shape))


def _reduce_mean(program: Program, context: Context) -> Program:
    if isinstance(program.loss, Mean | OnLogits):
        raise nothing_to_change("reduce_mean")
    return program.after(Done(name="reduce_mean", lines=("criterion = ...(reduction='mean')",)),
                         loss=Mean(program.loss))  # fmt: skip


def _align_shapes(program: Program, context: Context) -> Program:
    few = program.few()
    with torch.no_grad():
        outputs = first_tensor(few.run(program.make_model(0).eval()))
    targets = few.targets
    if outputs is None or not isinstance(targets, Tensor) or outputs.numel() != targets.numel():
        raise refused("align_shapes", phrase("outputs and targets are not equally many"))
    if outputs.shape == targets.shape:
        raise nothing_to_change("align_shapes")
    return program.after(
        Done(name="align_shapes", lines=("loss = criterion(output, y.reshape(output.shape))",)),
        loss=Aligned(program.loss),
    )


def edits() -> tuple[Edit, ...]:
    """All of this file."""
    auto = knob("loss.name", "auto")
    table: dict[str, Any] = {
        "pair_head_and_loss": (fitting_pair, auto),
        "linear_head": (_linear_head, None),
        "swap_loss": (_swap_loss, auto),
        "stable_loss": (_stable_loss, auto),
        "surrogate_loss": (_surrogate_loss, auto),
        "reduce_mean": (_reduce_mean, auto),
        "align_shapes": (_align_shapes, None),
    }
    return tuple(Edit(name=name, program=program, knobs=knobs)
                 for name, (program, knobs) in table.items())  # fmt: skip
